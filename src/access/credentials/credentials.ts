import type { Request } from 'express';
import { AmbiguousCredentials, InvalidCredentials } from '../access.errors.js';
import type { SessionCookieNames } from './session-tokens.js';

/** What a request shows to say who sends it. */
export type Credential =
  | { kind: 'session'; token: string; fromCookie: boolean; hasLegacyName?: boolean }
  | { kind: 'clerk'; token: string }
  | { kind: 'api-key'; key: string }
  | undefined;

/**
 * An explicit header beats the ambient cookie, and a wrong one never falls through to it.
 *
 * @throws {AmbiguousCredentials} for two headers at once
 * @throws {InvalidCredentials} for a header we cannot read
 */
export function readCredential(request: Request, cookieNames: SessionCookieNames): Credential {
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
    // A JWT has three parts, our signed token two.
    return token.split('.').length === 3 ? { kind: 'clerk', token } : { kind: 'session', token, fromCookie: false };
  }
  const cookie = readCookie(request.headers.cookie, cookieNames.current);
  if (cookie !== undefined) return { kind: 'session', token: cookie, fromCookie: true };
  const legacy = cookieNames.legacy === undefined ? undefined : readCookie(request.headers.cookie, cookieNames.legacy);
  return legacy === undefined ? undefined : { kind: 'session', token: legacy, fromCookie: true, hasLegacyName: true };
}

export function readCookie(header: string | undefined, name: string): string | undefined {
  for (const part of header?.split(';') ?? []) {
    const equals = part.indexOf('=');
    if (equals !== -1 && part.slice(0, equals).trim() === name) return part.slice(equals + 1).trim();
  }
  return undefined;
}
