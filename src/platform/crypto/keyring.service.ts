import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts stored values with AES-256-GCM, as `<key id>.<base64url>`. `context` is authenticated too: a ciphertext
 * moved to another column cannot be decrypted.
 */
@Injectable()
export class Keyring {
  private readonly newest: { id: string; key: KeyObject };
  private readonly keys: Map<string, KeyObject>;

  constructor(config: Config) {
    const keys = config.encryptionKeys.map(({ id, key }) => ({ id, key: createSecretKey(key) }));
    this.newest = keys[0]!;
    this.keys = new Map(keys.map(({ id, key }) => [id, key]));
  }

  encrypt(text: string, context: string): string {
    return `${this.newest.id}.${this.seal(Buffer.from(text), context).toString('base64url')}`;
  }

  encryptBytes(bytes: Buffer, context: string): Buffer {
    return Buffer.concat([Buffer.from(`${this.newest.id}.`), this.seal(bytes, context)]);
  }

  /** @throws {Error} when the key left ENCRYPTION_KEYS, or the ciphertext was changed or moved */
  decrypt(ciphertext: string, context: string): string {
    const id = ciphertext.slice(0, Math.max(0, ciphertext.indexOf('.')));
    return this.open(id, Buffer.from(ciphertext.slice(id.length + 1), 'base64url'), context).toString();
  }

  decryptBytes(ciphertext: Buffer, context: string): Buffer {
    const id = ciphertext.subarray(0, Math.max(0, ciphertext.indexOf('.'))).toString();
    return this.open(id, ciphertext.subarray(id.length + 1), context);
  }

  /** The same text under the newest key. */
  renew(ciphertext: string, context: string): string {
    return this.encrypt(this.decrypt(ciphertext, context), context);
  }

  renewBytes(ciphertext: Buffer, context: string): Buffer {
    return this.encryptBytes(this.decryptBytes(ciphertext, context), context);
  }

  /** An HMAC under a key that is derived for the context, as `<key id>.<base64url>`. */
  sign(text: string, context: string): string {
    return `${this.newest.id}.${macOf(this.newest.key, text, context).toString('base64url')}`;
  }

  isSignature(signature: string, text: string, context: string): boolean {
    const key = this.keys.get(signature.slice(0, Math.max(0, signature.lastIndexOf('.'))));
    if (key === undefined) return false;
    const given = Buffer.from(signature.slice(signature.lastIndexOf('.') + 1), 'base64url');
    const expected = macOf(key, text, context);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  get newestKeyId(): string {
    return this.newest.id;
  }

  private seal(bytes: Buffer, context: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.newest.key, nonce);
    cipher.setAAD(Buffer.from(`${this.newest.id}.${context}`));
    return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  }

  private open(id: string, sealed: Buffer, context: string): Buffer {
    const key = this.keys.get(id);
    if (key === undefined) throw new Error(`ENCRYPTION_KEYS has no key "${id}", which stored data needs`);
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(`${id}.${context}`));
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    return Buffer.concat([decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  }
}

function macOf(key: KeyObject, text: string, context: string): Buffer {
  const derived = Buffer.from(hkdfSync('sha256', key, '', `tenantry signature ${context}`, 32));
  return createHmac('sha256', derived).update(text).digest();
}
