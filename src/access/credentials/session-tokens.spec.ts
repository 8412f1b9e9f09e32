import fc from 'fast-check';
import { hashSessionToken, readSignedToken, signSessionToken } from './session-tokens.js';

const SECRET = 'a secret that is long enough to be one';

describe('session tokens', () => {
  it('are read from a signed value, plain and percent-encoded as in a cookie', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: fc.constantFrom(...'abcXYZ019-_') }), (token) => {
        const signed = signSessionToken(token, SECRET);
        expect(readSignedToken(signed, SECRET)).toBe(token);
        expect(readSignedToken(encodeURIComponent(signed), SECRET)).toBe(token);
      }),
    );
  });

  it('are refused with another secret, another token, or a signature that was changed', () => {
    const signed = signSessionToken('token', SECRET);
    const [token, signature] = signed.split('.') as [string, string];
    expect(readSignedToken(signed, `${SECRET}!`)).toBeUndefined();
    expect(readSignedToken(`other.${signature}`, SECRET)).toBeUndefined();
    const bytes = Buffer.from(signature, 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3]! ^= 1 << (bit & 7);
      expect(readSignedToken(`${token}.${changed.toString('base64')}`, SECRET)).toBeUndefined();
    }
  });

  it('are refused in any other shape, without an exception', () => {
    fc.assert(fc.property(fc.string(), (text) => expect(readSignedToken(text, SECRET)).toBeUndefined()));
    for (const text of ['', '.', '..', 'token', 'token.', '.signature', '%', '%E0%A4%A.%E0%A4%A', `.${'A'.repeat(43)}=`])
      expect(readSignedToken(text, SECRET)).toBeUndefined();
  });

  it('have a stable hash that differs from the token', () => {
    expect(hashSessionToken('token')).toBe('PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A');
    expect(hashSessionToken('token')).toMatch(/^[\w-]{43}$/);
    expect(hashSessionToken('token')).not.toBe(hashSessionToken('tokem'));
  });
});
