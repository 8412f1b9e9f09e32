import type { Request } from 'express';
import { InvalidRequest } from '../../platform/problems/problems.errors.js';
import type { InvalidField } from '../../platform/problems/problem.js';

const PLAIN = /^[A-Za-z0-9_-]{1,200}$/;

/**
 * Returns the path of the matched route below `/v1/auth`, for Better Auth. Better Auth parses the URL again, and the
 * path that was sent could then lead elsewhere (`..\`, `%2e%2e/`). So parameters must be plain words.
 * @throws {InvalidRequest} naming the parameter
 */
export function forwardedPath({ route, params }: Pick<Request, 'route' | 'params'>, basePath: string): string {
  const { path } = route as { path: string };
  const errors: InvalidField[] = [];
  const forwarded = path.slice(basePath.length).replaceAll(/:(\w+)/g, (_, name: string) => {
    const value = String(params[name]);
    if (!PLAIN.test(value))
      errors.push({ path: `params.${name}`, message: `${name} must be 1 to 200 letters, digits, hyphens or underscores` });
    return value;
  });
  if (errors.length > 0) throw new InvalidRequest({ errors });
  return forwarded;
}
