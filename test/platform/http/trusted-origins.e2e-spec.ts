import { startTestApp, type TestApp } from '../../support/app.js';
import { PASSWORD, signUp, type SignedInPerson } from '../../support/people.js';

const PREVIEW = 'https://pr-7.preview.example.com';
const HOSTILE = [
  'https://preview.example.com',
  'https://.preview.example.com',
  'https://a.b.preview.example.com',
  'https://xpreview.example.com',
  'https://evil.test/.preview.example.com',
  'https://evil.test#.preview.example.com',
  'https://pr-7.preview.example.com.evil.test',
  'https://pr-7.preview.example.com:8443',
  'http://pr-7.preview.example.com',
  'https://*.preview.example.com',
];

describe('TRUSTED_ORIGINS=https://*.preview.example.com', () => {
  let t: TestApp;
  let person: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({
      TRUSTED_ORIGINS: 'https://*.preview.example.com',
      GOOGLE_CLIENT_ID: 'id',
      GOOGLE_CLIENT_SECRET: 'secret',
    });
    person = await signUp(t);
  });
  afterAll(() => t.close());

  describe('CORS', () => {
    const preflight = (origin: string) =>
      t.http
        .options('/v1/users/me')
        .set({ origin, 'access-control-request-method': 'PATCH', 'access-control-request-headers': 'content-type' });

    it('allows the preflight of a matching origin, and lets browsers cache it', async () => {
      const { headers } = await preflight(PREVIEW).expect(204);
      expect(headers).toMatchObject({
        'access-control-allow-origin': PREVIEW,
        'access-control-allow-credentials': 'true',
        'access-control-max-age': '7200',
        vary: expect.stringContaining('Origin'),
      });
    });

    it('exposes the name of a downloaded file to scripts', async () => {
      const { headers } = await t.http
        .get('/v1/users/me')
        .set({ ...person.auth, origin: PREVIEW })
        .expect(200);
      expect(headers['access-control-allow-origin']).toBe(PREVIEW);
      expect(headers['access-control-expose-headers']).toContain('Content-Disposition');
    });

    it.each(HOSTILE)('allows nothing to %s', async (origin) => {
      for (const { headers } of [await preflight(origin), await t.http.get('/v1/users/me').set({ origin })]) {
        expect(headers['access-control-allow-origin']).toBeUndefined();
        expect(headers['vary']).toContain('Origin');
      }
    });
  });

  describe('a change with a cookie', () => {
    const rename = (origin: string) => t.http.patch('/v1/users/me').set({ cookie: person.cookie, origin }).send({ name: 'Renamed' });
    const signIn = (origin: string) =>
      t.http.post('/v1/auth/sign-in/email').set({ cookie: person.cookie, origin }).send({ email: person.email, password: PASSWORD });

    it('is accepted from a matching origin, on our routes and those of Better Auth', async () => {
      await rename(PREVIEW).expect(200);
      await signIn(PREVIEW).expect(200);
    });

    it.each(HOSTILE)('is rejected from %s', async (origin) => {
      expect((await rename(origin).expect(403)).body.code).toBe('untrusted_origin');
      expect((await signIn(origin).expect(403)).body.code).toBe('untrusted_origin');
    });
  });

  describe('a redirect', () => {
    const social = (callbackURL: string) => t.http.post('/v1/auth/sign-in/social').send({ provider: 'google', callbackURL });
    const reset = (redirectTo: string) => t.http.post('/v1/auth/request-password-reset').send({ email: person.email, redirectTo });

    it('may lead to a matching origin', async () => {
      await social(`${PREVIEW}/welcome?a=b`).expect(200);
      await reset(`${PREVIEW}/choose`).expect(200);
    });

    it.each(HOSTILE)('may not lead to %s', async (origin) => {
      expect((await social(`${origin}/welcome`).expect(403)).body.code).toBe('untrusted_redirect');
      expect((await reset(`${origin}/choose`).expect(403)).body.code).toBe('untrusted_redirect');
    });

    it('is rejected when only another URL of the request is trusted', async () => {
      const answer = await t.http
        .post('/v1/auth/sign-in/social')
        .set('origin', PREVIEW)
        .send({ provider: 'google', callbackURL: `${PREVIEW}/a`, errorCallbackURL: 'https://a.b.preview.example.com/' })
        .expect(403);
      expect(answer.body.code).toBe('untrusted_redirect');
    });
  });
});
