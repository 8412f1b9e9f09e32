import { createHmac, hash, type KeyObject, timingSafeEqual } from 'node:crypto';

/** What is stored instead of a session token: whoever reads the table can sign in nobody. */
export function hashSessionToken(token: string): string {
  return hash('sha256', token, 'base64url');
}

/**
 * Reads a session token that Better Auth signed: `token.base64(HMAC-SHA256(secret, token))`, in a cookie
 * percent-encoded. The signature keeps made-up tokens from ever reaching the database.
 */
export function readSignedToken(signed: string, secret: string | KeyObject): string | undefined {
  const text = decode(signed);
  const dot = text.lastIndexOf('.');
  if (dot < 1) return undefined;
  const token = text.slice(0, dot);
  // As text: decoding would let other spellings of the same signature through.
  const given = Buffer.from(text.slice(dot + 1));
  const wanted = Buffer.from(createHmac('sha256', secret).update(token).digest('base64'));
  return given.length === wanted.length && timingSafeEqual(given, wanted) ? token : undefined;
}

export function signSessionToken(token: string, secret: string): string {
  return `${token}.${createHmac('sha256', secret).update(token).digest('base64')}`;
}

/** What the names of Better Auth's cookies begin with. */
export interface CookiePrefixes {
  current: string;
  /** Of versions before 0.2, over https only. Such a cookie is read for sessions of that time and never set. */
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

/** The `Set-Cookie` line that removes a cookie of the legacy name. */
export function expiredCookie(name: string): string {
  return `${name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax; Secure`;
}

function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // Not percent-encoded after all: the signature decides.
    return text;
  }
}
