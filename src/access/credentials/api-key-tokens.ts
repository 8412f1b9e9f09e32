import { createHash, randomInt } from 'node:crypto';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_LENGTH = 40;
const SHOWN_LENGTH = 6;

/**
 * Makes a key like `tnt_live_…`: the product and environment in front let secret scanners, and people,
 * see at once what leaked.
 */
export function createApiKey(isProduction: boolean): { key: string; prefix: string; hash: string } {
  const start = `tnt_${isProduction ? 'live' : 'test'}_`;
  const secret = Array.from({ length: SECRET_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  const key = `${start}${secret}`;
  return { key, prefix: `${start}${secret.slice(0, SHOWN_LENGTH)}`, hash: hashApiKey(key) };
}

/** What is stored instead of a key. */
export function hashApiKey(key: string): string {
  return createHash('sha256').update(key).digest('base64url');
}
