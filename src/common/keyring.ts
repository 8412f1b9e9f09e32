import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Config, type EncryptionKey } from '../config/config.js';

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts what is stored and must be read again (AES-256-GCM). A ciphertext is `<key id>.<base64url>`;
 * the key id is authenticated with it, and so is `context`, so that a ciphertext moved to another
 * column does not open there.
 */
@Injectable()
export class Keyring {
  private readonly newest: EncryptionKey;
  private readonly keys: Map<string, Buffer>;

  constructor(config: Config) {
    this.newest = config.encryptionKeys[0]!;
    this.keys = new Map(config.encryptionKeys.map(({ id, key }) => [id, key]));
  }

  encrypt(text: string, context: string): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.newest.key, nonce);
    cipher.setAAD(Buffer.from(`${this.newest.id}.${context}`));
    const sealed = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()]);
    return `${this.newest.id}.${sealed.toString('base64url')}`;
  }

  /**
   * @throws {Error} when the key is gone from ENCRYPTION_KEYS, or the ciphertext was changed or moved
   */
  decrypt(ciphertext: string, context: string): string {
    const id = keyIdOf(ciphertext);
    const key = this.keys.get(id);
    if (key === undefined) throw new Error(`ENCRYPTION_KEYS has no key "${id}", which stored data needs`);
    const sealed = Buffer.from(ciphertext.slice(id.length + 1), 'base64url');
    const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, NONCE_BYTES), { authTagLength: TAG_BYTES });
    decipher.setAAD(Buffer.from(`${id}.${context}`));
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES));
    return decipher.update(sealed.subarray(NONCE_BYTES, -TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
  }

  /** The same text under the newest key. */
  renew(ciphertext: string, context: string): string {
    return this.encrypt(this.decrypt(ciphertext, context), context);
  }

  get newestKeyId(): string {
    return this.newest.id;
  }
}

function keyIdOf(ciphertext: string): string {
  return ciphertext.slice(0, Math.max(0, ciphertext.indexOf('.')));
}
