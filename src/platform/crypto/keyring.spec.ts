import fc from 'fast-check';
import { loadConfig } from '../config/config.js';
import { Keyring } from './keyring.service.js';

const keyringOf = (...ids: string[]) =>
  new Keyring(
    loadConfig({
      DATABASE_URL: 'postgres://localhost/none',
      AUTH_SECRET: 'x'.repeat(32),
      ENCRYPTION_KEYS: ids.map((id) => `${id}:${Buffer.alloc(32, id).toString('base64')}`).join(','),
    }),
  );

const UNAUTHENTIC = /unable to authenticate data/;

describe('Keyring', () => {
  const keyring = keyringOf('new', 'old');

  it('decrypts every text that it encrypted', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (text, context) => {
        expect(keyring.decrypt(keyring.encrypt(text, context), context)).toBe(text);
      }),
    );
  });

  it('starts with the id of the newest key, and never encrypts a text the same way twice', () => {
    const [one, two] = [keyring.encrypt('text', 'c'), keyring.encrypt('text', 'c')];
    expect(one).toMatch(/^new\.[\w-]+$/);
    expect(one).not.toBe(two);
    expect(keyring.newestKeyId).toBe('new');
  });

  it('decrypts with older keys, and re-encrypts with the newest', () => {
    const old = keyringOf('old').encrypt('text', 'c');
    expect(keyring.decrypt(old, 'c')).toBe('text');
    const renewed = keyring.renew(old, 'c');
    expect(renewed).toMatch(/^new\./);
    expect(keyringOf('new').decrypt(renewed, 'c')).toBe('text');
  });

  it('names the missing key', () => {
    const old = keyringOf('old').encrypt('text', 'c');
    expect(() => keyringOf('new').decrypt(old, 'c')).toThrow('ENCRYPTION_KEYS has no key "old"');
  });

  it('refuses a ciphertext that was moved to another context', () => {
    expect(() => keyring.decrypt(keyring.encrypt('text', 'one'), 'two')).toThrow(UNAUTHENTIC);
  });

  it('refuses a ciphertext that carries the id of another key', () => {
    const [, sealed] = keyringOf('old').encrypt('text', 'c').split('.');
    expect(() => keyring.decrypt(`new.${sealed}`, 'c')).toThrow(UNAUTHENTIC);
  });

  it('refuses a ciphertext with any bit changed or any byte cut off', () => {
    const sealed = Buffer.from(keyring.encrypt('a text', 'c').slice(4), 'base64url');
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const changed = Buffer.from(sealed);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => keyring.decrypt(`new.${changed.toString('base64url')}`, 'c')).toThrow(UNAUTHENTIC);
    }
    for (let length = 0; length < sealed.length; length += 1)
      expect(() => keyring.decrypt(`new.${sealed.subarray(0, length).toString('base64url')}`, 'c')).toThrow();
  });

  it('refuses text that is not a ciphertext', () => {
    for (const text of ['', '.', 'new', 'new.', 'plain text', 'new.%%%']) expect(() => keyring.decrypt(text, 'c')).toThrow();
  });
});
