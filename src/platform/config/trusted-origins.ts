/** Normalizes an origin or `https://*.example.com` (one label). Undefined for anything else, such as `https://*.com`. */
export function originPattern(text: string): string | undefined {
  const isWildcard = text.includes('*');
  if (isWildcard && !/^https:\/\/\*\.[^*]+$/i.test(text)) return undefined;
  const url = URL.parse(isWildcard ? text.replace('*', 'x') : text);
  if (url === null || !/^https?:$/.test(url.protocol)) return undefined;
  if (!isWildcard) return url.origin;
  const [, ...parents] = url.hostname.split('.');
  const namesOnlyAnOrigin = url.href === `${url.origin}/`;
  if (!namesOnlyAnOrigin || parents.length < 2 || parents.includes('')) return undefined;
  return url.origin.replace('//x.', '//*.');
}

/** The one test for an origin from outside: CORS, cookies, redirects, Better Auth and Clerk all use it. */
export function isTrustedOrigin(trusted: readonly string[], origin: string): boolean {
  if (origin.includes('*')) return false;
  if (trusted.includes(origin)) return true;
  const parent = /^https:\/\/[a-z0-9_-]+\.([a-z0-9._-]+(?::\d+)?)$/.exec(origin)?.[1];
  return parent !== undefined && trusted.includes(`https://*.${parent}`);
}
