import { readCookie, sessionCookieNames } from './session-cookies.js';

describe('sessionCookieNames', () => {
  it('uses a name that only this host can set over https', () => {
    expect(sessionCookieNames('https://api.example.com')).toEqual({
      current: '__Host-better-auth.session_token',
      legacy: '__Secure-better-auth.session_token',
    });
    expect(sessionCookieNames('http://localhost:3000')).toEqual({ current: 'better-auth.session_token', legacy: undefined });
  });
});

describe('readCookie', () => {
  it.each([
    ['session=a', 'a'],
    ['other=1; session=a; more=2', 'a'],
    ['session=a=b==', 'a=b=='],
    [' session = a ', 'a'],
    ['session=first; session=second', 'first'],
    ['session=', ''],
    ['xsession=a', undefined],
    ['session', undefined],
    [';;;', undefined],
    ['', undefined],
    [undefined, undefined],
  ])('reads %s as %s', (header, value) => {
    expect(readCookie(header, 'session')).toBe(value);
  });
});
