import { parseCookie, stringifySetCookie } from 'cookie';

export interface CookiePrefixes {
  current: string;
  /** Set by versions before 0.2 over https. Such a cookie is read for sessions of that time and never set. */
  legacy?: string;
}

/** Browsers accept a `__Host-` cookie only from this very host over https; other subdomains cannot set one. */
export function cookiePrefixes(publicUrl: string): CookiePrefixes {
  return publicUrl.startsWith('https:') ? { current: '__Host-better-auth', legacy: '__Secure-better-auth' } : { current: 'better-auth' };
}

export interface SessionCookieNames {
  current: string;
  legacy?: string;
}

export function sessionCookieNames(publicUrl: string): SessionCookieNames {
  const { current, legacy } = cookiePrefixes(publicUrl);
  return { current: `${current}.session_token`, legacy: legacy && `${legacy}.session_token` };
}

/** Returns the decoded value of the first cookie with this name in a `Cookie` header. */
export function readCookie(header: string | undefined, name: string): string | undefined {
  return header === undefined ? undefined : parseCookie(header)[name];
}

/** Builds the `Set-Cookie` line of a cookie that scripts cannot read and other sites do not send along with a POST. */
export function setCookieLine(name: string, value: string, options: { maxAge: number; secure: boolean }): string {
  return stringifySetCookie({ name, value, ...options, path: '/', httpOnly: true, sameSite: 'lax' });
}

export function expiredCookieLine(name: string): string {
  return setCookieLine(name, '', { maxAge: 0, secure: true });
}
