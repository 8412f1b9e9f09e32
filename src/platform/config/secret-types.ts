import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { z } from 'zod';
import { list } from './value-types.js';

/** A secret that encrypts stored data; `id` is written beside each ciphertext. */
export interface EncryptionKey {
  id: string;
  /** 32 bytes. */
  key: Buffer;
}

/** `name=value` pairs with percent-encoded values, as OpenTelemetry writes headers. */
export const headerLines = list.transform((entries, context): Record<string, string> => {
  try {
    return Object.fromEntries(entries.map(headerOf));
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    context.addIssue({ code: 'custom', message: 'must be name=value pairs, with percent-encoded values' });
    return {};
  }
});

/** @throws {URIError} */
function headerOf(entry: string): [name: string, value: string] {
  const [, name, value] = /^([\w-]+)=(.+)$/.exec(entry) ?? [];
  if (name === undefined || value === undefined) throw new URIError();
  return [name.toLowerCase(), decodeURIComponent(value)];
}

export const secretText = (minLength: number, hint = '') => z.string().min(minLength, `must be at least ${minLength} characters${hint}`);

export const encryptionKeys = list
  .transform((entries, context): EncryptionKey[] => {
    const keys = entries.map((entry) => {
      const [id = '', encoded = ''] = entry.split(':');
      const key = Buffer.from(encoded, 'base64');
      if (!/^[A-Za-z0-9_-]{1,32}$/.test(id) || key.length !== 32) {
        context.addIssue({ code: 'custom', message: 'must be id:key pairs, each key 32 bytes in base64 (openssl rand -base64 32)' });
      }
      return { id, key };
    });
    // A ciphertext names its key by the id: with two keys of one id, half of them would not decrypt.
    if (new Set(keys.map(({ id }) => id)).size < keys.length) context.addIssue({ code: 'custom', message: 'must not use an id twice' });
    return keys;
  })
  .pipe(z.array(z.custom<EncryptionKey>()).min(1, 'must hold at least one id:key pair'));

/** On one line with `\n` written out, as many environments need it, or on several. */
export const publicKey = z
  .string()
  .transform((pem) => pem.replaceAll('\\n', '\n'))
  .refine(isPublicKey, 'must be a public key in PEM');

function isPublicKey(pem: string): boolean {
  try {
    createPublicKey(pem);
    return true;
  } catch {
    return false;
  }
}

export const clerkSecretKey = z.string().regex(/^sk_[A-Za-z0-9_]+$/, 'must be a secret key: sk_test_… or sk_live_…');

/** Secrets as providers show them: `whsec_` and base64. Several, while one replaces another. */
export const webhookSecrets = list.transform((secrets, context): KeyObject[] =>
  secrets.map((secret) => {
    const encoded = secret.replace(/^whsec_/, '');
    const key = Buffer.from(encoded, 'base64');
    const isBase64 = key.toString('base64').replace(/=+$/, '') === encoded.replace(/=+$/, '');
    if (!isBase64 || key.length < 16) context.addIssue({ code: 'custom', message: 'must be signing secrets: whsec_ and base64' });
    return createSecretKey(key);
  }),
);

/** Polar signs with the characters of the secret or, on newer endpoints, with its decoded base64, and does not say which. */
export const polarSecrets = list.transform((secrets, context): KeyObject[] =>
  secrets.flatMap((secret) => {
    if (secret.length < 16) context.addIssue({ code: 'custom', message: 'must be signing secrets of at least 16 characters' });
    const decoded = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    const keys = decoded.length < 16 ? [Buffer.from(secret)] : [Buffer.from(secret), decoded];
    return keys.map((key) => createSecretKey(key));
  }),
);
