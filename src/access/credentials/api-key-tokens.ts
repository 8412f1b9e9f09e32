import { createHash, randomInt } from 'node:crypto';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_LENGTH = 40;
const SHOWN_LENGTH = 6;

/** Creates a key like `tnt_live_…`. The prefix lets secret scanners recognise a leaked key. */
export function createApiKey(isProduction: boolean): { key: string; prefix: string; hash: string } {
  const start = `tnt_${isProduction ? 'live' : 'test'}_`;
  const secret = Array.from({ length: SECRET_LENGTH }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
  const key = `${start}${secret}`;
  return { key, prefix: `${start}${secret.slice(0, SHOWN_LENGTH)}`, hash: hashApiKey(key) };
}

export function hashApiKey(key: string): string {
  return createHash('sha256').update(key).digest('base64url');
}
