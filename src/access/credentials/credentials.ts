import { parseCookie } from 'cookie';
import type { Request } from 'express';
import { AmbiguousCredentials, InvalidCredentials } from '../access.errors.js';
import type { SessionCookieNames } from './session-cookies.js';

export type Credential =
  | { kind: 'session'; token: string; fromCookie: boolean; hasLegacyName?: boolean }
  | { kind: 'clerk'; token: string }
  | { kind: 'api-key'; key: string }
  | undefined;

/**
 * A header takes precedence over a cookie. A malformed header is refused and never falls back to the cookie.
 * @throws {AmbiguousCredentials} when both headers are sent
 * @throws {InvalidCredentials} when a header is malformed
 */
export function readCredential(request: Pick<Request, 'headers'>, cookieNames: SessionCookieNames): Credential {
  const { authorization } = request.headers;
  const key = request.headers['x-api-key'];
  if (authorization !== undefined && key !== undefined) throw new AmbiguousCredentials();
  if (key !== undefined) {
    if (typeof key !== 'string' || key === '') throw new InvalidCredentials();
    return { kind: 'api-key', key };
  }
  if (authorization !== undefined) {
    const token = /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
    if (token === undefined) throw new InvalidCredentials();
    // A JWT has three parts; our signed token has two.
    return token.split('.').length === 3 ? { kind: 'clerk', token } : { kind: 'session', token, fromCookie: false };
  }
  const cookies = parseCookie(request.headers.cookie ?? '');
  const current = cookies[cookieNames.current];
  if (current !== undefined) return { kind: 'session', token: current, fromCookie: true };
  const legacy = cookieNames.legacy === undefined ? undefined : cookies[cookieNames.legacy];
  return legacy === undefined ? undefined : { kind: 'session', token: legacy, fromCookie: true, hasLegacyName: true };
}
