import { startTestApp, type TestApp } from '../support/app.js';
import { PASSWORD, signUp } from '../support/people.js';

describe('clients that sign in', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  const signInWith = async (headers: Record<string, string>) => {
    const { email } = await signUp(t);
    return t.http.post('/v1/auth/sign-in/email').set(headers).send({ email, password: PASSWORD });
  };

  it('may use Node’s fetch, which sends Sec-Fetch-Mode without Origin', async () => {
    const { email } = await signUp(t);
    const answer = await fetch(`${t.url}/v1/auth/sign-in/email`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ email, password: PASSWORD }),
    });
    expect(answer.status).toBe(200);
    const me = await fetch(`${t.url}/v1/users/me`, { headers: { authorization: `Bearer ${answer.headers.get('set-auth-token')}` } });
    expect(me.status).toBe(200);
  });

  it('are rejected in a browser on an untrusted page', async () => {
    const fromElsewhere = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors', origin: 'https://evil.example' };
    expect((await signInWith(fromElsewhere)).body.code).toBe('untrusted_origin');
    expect((await signInWith({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).body.code).toBe('untrusted_origin');
    expect((await signInWith({ origin: 'https://evil.example' })).body.code).toBe('untrusted_origin');
  });

  it('read the same headers in a browser on a trusted page as on every other route', async () => {
    const origin = 'http://localhost:3000';
    const answer = await signInWith({ 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'cors', origin });
    expect(answer.status).toBe(200);
    const elsewhere = await t.http.get('/health/live').set({ origin });
    expect(answer.headers['access-control-expose-headers']).toBe(elsewhere.headers['access-control-expose-headers']);
    expect(answer.headers['access-control-expose-headers']).toContain('X-Request-Id');
  });
});
