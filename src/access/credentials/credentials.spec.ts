import { AmbiguousCredentials, InvalidCredentials } from '../access.errors.js';
import { readCredential } from './credentials.js';

const read = (headers: Record<string, string>) => readCredential({ headers }, { current: 'session', legacy: 'old' });

describe('readCredential', () => {
  it('finds no credential in a request without one', () => {
    expect(read({})).toBeUndefined();
    expect(read({ cookie: 'other=1' })).toBeUndefined();
  });

  it('distinguishes a session token from a Clerk token by its number of parts', () => {
    expect(read({ authorization: 'Bearer token.signature' })).toEqual({ kind: 'session', token: 'token.signature', fromCookie: false });
    expect(read({ authorization: 'bearer   a.b.c  ' })).toEqual({ kind: 'clerk', token: 'a.b.c' });
  });

  it('prefers the header to the cookie', () => {
    expect(read({ authorization: 'Bearer a.b', cookie: 'session=c.d' })).toMatchObject({ token: 'a.b', fromCookie: false });
    expect(read({ cookie: 'session=c.d' })).toEqual({ kind: 'session', token: 'c.d', fromCookie: true });
  });

  it('reads the legacy name only where the current one is missing', () => {
    expect(read({ cookie: 'old=a.b' })).toEqual({ kind: 'session', token: 'a.b', fromCookie: true, hasLegacyName: true });
    for (const cookie of ['old=a.b; session=c.d', 'session=c.d; old=a.b'])
      expect(read({ cookie })).toEqual({ kind: 'session', token: 'c.d', fromCookie: true });
    expect(read({ cookie: 'old=a.b; session=' })).toEqual({ kind: 'session', token: '', fromCookie: true });
  });

  it.each(['', 'Bearer', 'Bearer ', 'Basic YTpi', 'Bearer a b', 'token'])(
    'does not fall through from the header "%s" to the cookie',
    (authorization) => {
      expect(() => read({ authorization, cookie: 'session=c.d' })).toThrow(InvalidCredentials);
    },
  );

  it('refuses two headers at once', () => {
    expect(() => read({ authorization: 'Bearer a.b', 'x-api-key': 'key' })).toThrow(AmbiguousCredentials);
  });
});
