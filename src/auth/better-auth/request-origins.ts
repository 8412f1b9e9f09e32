import { isTrustedOrigin } from '../../platform/config/trusted-origins.js';

/**
 * Better Auth's `*` also matches several labels. So it gets exact origins only: those configured, and those that this
 * request names (its page, its redirects) and `isTrustedOrigin` accepts.
 */
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
  // It asks a second time once it has read the body; the first answer still counts then.
  if (request.body === null || request.bodyUsed) return [];
  const body: unknown = await request.clone().json();
  return typeof body === 'object' && body !== null ? Object.values(body).filter((value) => typeof value === 'string') : [];
}
