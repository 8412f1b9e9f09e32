import { isTrustedOrigin } from '../../platform/config/trusted-origins.js';

/** Returns exact origins, because Better Auth's `*` also matches several labels: configured ones, and trusted ones of this request. */
export function trustedOriginsOf(trusted: readonly string[]): string[] | ((request?: Request) => Promise<string[]>) {
  const exact = trusted.filter((origin) => !origin.includes('*'));
  if (exact.length === trusted.length) return exact;
  return async (request) => {
    if (request === undefined) return exact;
    const named = [...namedInHeaders(request), ...new URL(request.url).searchParams.values(), ...(await namedInBody(request))];
    const origins = named.flatMap((text) => URL.parse(text)?.origin ?? []);
    return [...exact, ...origins.filter((origin) => isTrustedOrigin(trusted, origin))];
  };
}

function namedInHeaders({ headers }: Request): string[] {
  return [headers.get('origin'), headers.get('referer')].filter((value) => value !== null);
}

async function namedInBody(request: Request): Promise<string[]> {
  // Better Auth asks again after it has read the body, and keeps the first result.
  if (request.body === null || request.bodyUsed) return [];
  const body: unknown = await request.clone().json();
  return typeof body === 'object' && body !== null ? Object.values(body).filter((value) => typeof value === 'string') : [];
}
