import { createHmac, hash, type KeyObject, timingSafeEqual } from 'node:crypto';

/** The database stores only this hash, so a leaked table signs nobody in. */
export function hashSessionToken(token: string): string {
  return hash('sha256', token, 'base64url');
}

/**
 * Reads a session token signed by Better Auth: `token.base64(HMAC-SHA256(secret, token))`, possibly percent-encoded.
 * The signature keeps made-up tokens away from the database.
 */
export function readSignedToken(signed: string, secret: string | KeyObject): string | undefined {
  const text = decode(signed);
  const dot = text.lastIndexOf('.');
  if (dot < 1) return undefined;
  const token = text.slice(0, dot);
  // Compared as text: decoding base64 would accept other spellings of the same signature.
  const actual = Buffer.from(text.slice(dot + 1));
  const expected = Buffer.from(createHmac('sha256', secret).update(token).digest('base64'));
  return actual.length === expected.length && timingSafeEqual(actual, expected) ? token : undefined;
}

export function signSessionToken(token: string, secret: string): string {
  return `${token}.${createHmac('sha256', secret).update(token).digest('base64')}`;
}

function decode(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    // Not percent-encoded: the signature check decides.
    return text;
  }
}
