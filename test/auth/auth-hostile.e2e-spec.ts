import { request as httpRequest } from 'node:http';
import { startTestApp, type TestApp } from '../support/app.js';
import { PASSWORD, type SignedInPerson, signUp } from '../support/people.js';
import { until } from '../support/until.js';

const ROUTES = {
  POST: [
    'sign-up/email',
    'sign-in/email',
    'sign-in/social',
    'link-social',
    'sign-out',
    'send-verification-email',
    'request-password-reset',
    'reset-password',
    'change-password',
    'change-email',
    'verify-email',
    'verify-email/reject',
    'change-email/confirm',
  ],
  GET: ['callback/google', 'callback/github', 'callback/nobody', 'error', 'verify-email', 'reset-password/token', 'change-email/confirm'],
};

/** These routes also accept the form of our own page. */
const FORM_ROUTES = new Set(['verify-email', 'verify-email/reject', 'change-email/confirm']);

const BODIES: [string, string][] = [
  ['nothing', ''],
  ['invalid JSON', '{"email":'],
  ['null', 'null'],
  ['a number', '7'],
  ['a string', '"text"'],
  ['an empty array', '[]'],
  [
    'an array of bodies',
    JSON.stringify([{ email: 'list@example.com', name: 'List', password: PASSWORD, newPassword: PASSWORD, token: 'x' }]),
  ],
  [
    'wrong types',
    JSON.stringify({ email: {}, name: [], password: 1, token: {}, provider: [], newEmail: 1, currentPassword: {}, newPassword: [] }),
  ],
  ['nulls', JSON.stringify({ email: null, name: null, password: null, token: null, provider: null, newEmail: null, newPassword: null })],
  ['prototype keys', '{"__proto__":{"email":"a@example.com"},"constructor":{"prototype":{}},"email":"a@example.com"}'],
  ['deep nesting', `${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`],
  [
    'NUL characters',
    JSON.stringify({ email: 'a\0@example.com', token: '\0', name: '\0', password: 'a\0bcdefgh', newPassword: 'a\0bcdefgh' }),
  ],
  ['lone surrogates', '{"email":"a@example.com","name":"\\ud800","password":"\\udfff longer","token":"\\ud800"}'],
];

describe('hostile requests to the auth routes', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let token: string;
  beforeAll(async () => {
    t = await startTestApp({
      TRUSTED_ORIGINS: 'https://app.example.com',
      GOOGLE_CLIENT_ID: 'google-client',
      GOOGLE_CLIENT_SECRET: 'google-secret',
      GITHUB_CLIENT_ID: 'github-client',
      GITHUB_CLIENT_SECRET: 'github-secret',
    });
    person = await signUp(t);
    token = person.token;
  });
  afterAll(() => t.close());

  /** Expects a success, a redirect or a client error as a problem, never a server error. */
  const expectSound = (what: string, { status, type, body }: { status: number; type: string; body: string }) => {
    expect(`${what}: ${status}`).toMatch(/: [234]\d\d$/);
    if (status < 400) return;
    expect(`${what}: ${type}`).toContain('application/problem+json');
    expect(JSON.parse(body)).toMatchObject({ status, code: expect.stringMatching(/^[a-z_]+$/), requestId: expect.stringMatching(/./) });
  };

  /** Sends a request over a plain socket, because supertest and fetch would normalize it. */
  const send = (
    method: string,
    path: string,
    headers: Record<string, string | string[]>,
    body = '',
  ): Promise<{ status: number; type: string; body: string }> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(t.url);
      const request = httpRequest({
        hostname,
        port,
        method,
        path,
        headers: { 'content-length': String(Buffer.byteLength(body)), ...headers },
      });
      request.on('error', reject);
      request.on('response', (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => (text += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode!, type: String(response.headers['content-type']), body: text }));
      });
      request.end(body);
    });

  it.each(BODIES)('with a body of %s get a problem', async (name, body) => {
    for (const path of ROUTES.POST) {
      if (path === 'sign-out') continue;
      const answer = await send('POST', `/v1/auth/${path}`, { 'content-type': 'application/json', authorization: `Bearer ${token}` }, body);
      expectSound(`${path} ${body.slice(0, 40)}`, answer);
      // class-transformer drops the two prototype keys, and the rest is valid.
      if (name !== 'prototypes') expect(answer.status).toBeGreaterThanOrEqual(400);
    }
  });

  it.each([
    'application/x-www-form-urlencoded',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/json; charset=latin1',
    'application/xml',
    'nonsense',
    ';;;',
  ])('with the media type %s are rejected', async (type) => {
    for (const path of ROUTES.POST) {
      const answer = await send('POST', `/v1/auth/${path}`, { 'content-type': type }, 'email=a%40example.com');
      expectSound(path, answer);
      const isForm = type === 'application/x-www-form-urlencoded' && FORM_ROUTES.has(path);
      expect([path, answer.status]).toEqual([path, isForm ? 400 : 415]);
    }
  });

  it.each([
    ['authorization', 'Bearer'],
    ['authorization', 'Bearer '],
    ['authorization', 'Bearer .'],
    ['authorization', 'Bearer ..'],
    ['authorization', 'Bearer a.b.c.d'],
    ['authorization', 'Bearer %E0%A4%A.%E0%A4%A'],
    ['authorization', 'Bearer ' + 'x'.repeat(8000)],
    ['authorization', 'Bearer eyJhbGciOiJub25lIn0.e30.'],
    ['authorization', 'Basic YTpi'],
    ['authorization', '\u00ff\u00fe'],
    ['cookie', 'better-auth.session_token=%E0%A4%A'],
    ['cookie', 'better-auth.session_token='],
    ['cookie', '=;=;;;,,;"'],
    ['cookie', `better-auth.session_token=${'x'.repeat(8000)}`],
    ['cookie', 'better-auth.session_token=a.b; better-auth.session_token=c.d; better-auth.state=%00; better-auth.dont_remember=%ff'],
    ['cookie', '__proto__=1; better-auth.session_data=%7B%7D; constructor=x'],
    ['user-agent', '\u00e9'.repeat(3000)],
    ['x-forwarded-for', '999.999.999.999, ::::'],
    ['origin', 'null'],
    ['origin', '://'],
    ['referer', 'http://['],
    ['sec-fetch-site', 'cross-site'],
    ['host', 'evil.example'],
  ])('with the invalid header %s (%#) get a problem', async (name, value) => {
    for (const method of ['POST', 'GET'] as const)
      for (const path of ROUTES[method]) {
        const body =
          method === 'POST'
            ? JSON.stringify({ email: 'nobody@example.com', password: PASSWORD, provider: 'google', token: 'x', newPassword: PASSWORD })
            : '';
        const headers = {
          ...(method === 'POST' && { 'content-type': 'application/json' }),
          cookie: 'better-auth.session_token=x',
          origin: 'http://localhost:3000',
        };
        expectSound(`${path} ${name}`, await send(method, `/v1/auth/${path}`, { ...headers, [name]: value }, body));
      }
  });

  it.each([
    '',
    '?',
    '?token=',
    '?token=a&token=b',
    '?token[a]=b',
    '?token=%00',
    '?token=%ff',
    '?token=%ED%A0%80',
    `?token=${'x'.repeat(7000)}`,
    '?token=eyJhbGciOiJub25lIn0.eyJlbWFpbCI6ImFAZXhhbXBsZS5jb20ifQ.',
    '?state=a&code=b',
    '?state=a&state=b&code=c',
    '?state=%00&code=%00',
    '?code=x',
    '?error=access_denied&error_description=%3Cscript%3E&state=x',
    '?error=a&error=b',
    '?callbackURL=',
    '?token=x&callbackURL=/ok',
    '?callbackURL=a&callbackURL=b',
    '?__proto__=x&constructor=y',
    '?unknown=field',
  ])('with an invalid query (%#) get a redirect or a problem', async (query) => {
    for (const path of ROUTES.GET) expectSound(`${path}${query}`, await send('GET', `/v1/auth/${path}${query}`, {}));
  });

  it.each([
    'reset-password/%00',
    'reset-password/%ff',
    'reset-password/%ED%A0%80',
    `reset-password/${'x'.repeat(7000)}`,
    'callback/%00',
    'callback/%2e%2e',
    'callback/__proto__',
    'callback/constructor',
  ])('with an invalid path (%#) get a problem or a redirect', async (path) => {
    expectSound(path, await send('GET', `/v1/auth/${path}?callbackURL=/ok&state=x&code=y`, {}));
  });

  it.each([
    'get-session',
    'list-sessions',
    'revoke-session',
    'revoke-sessions',
    'revoke-other-sessions',
    'update-user',
    'delete-user',
    'delete-user/callback',
    'list-accounts',
    'unlink-account',
    'refresh-token',
    'get-access-token',
    'account-info',
    'set-password',
    'verify-password',
    'update-session',
    'ok',
    'reference',
    'forget-password',
  ])('cannot reach %s of Better Auth', async (path) => {
    for (const method of ['GET', 'POST'])
      for (const variant of [path, `${path}/`, `sign-in/../${path}`, `.//${path}`]) {
        const answer = await send(
          method,
          `/v1/auth/${variant}`,
          { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          method === 'POST' ? '{}' : '',
        );
        expect([variant, answer.status]).toEqual([variant, 404]);
      }
  });

  it('with a trailing slash use the same route with the same rules', async () => {
    const body = JSON.stringify({ email: 'a@example.com', password: PASSWORD });
    for (const path of ['sign-in/email', 'sign-in/email/']) {
      const answer = await send('POST', `/v1/auth/${path}`, { 'content-type': 'application/json' }, body);
      expect([path, answer.status, JSON.parse(answer.body).code]).toEqual([path, 401, 'wrong_credentials']);
      const refused = await send('POST', `/v1/auth/${path}`, { 'content-type': 'application/json' }, '{"email":"nobody"}');
      expect([path, refused.status, JSON.parse(refused.body).code]).toEqual([path, 400, 'invalid_request']);
    }
  });

  it.each([
    'https://evil.example',
    '//evil.example',
    '/\\evil.example',
    'https://app.example.com@evil.example',
    'https://app.example.com.evil.example',
    'javascript:alert(1)',
    'data:text/html,x',
    'http://localhost:3000.evil.example',
    'http://localhost:3001',
    'blob:http://localhost:3000/x',
  ])('are not redirected to %s', async (target) => {
    const { auth, email } = person;
    const bodies: [string, Record<string, unknown>][] = [
      ['sign-up/email', { name: 'N', email: `x${Math.random()}@example.com`, password: PASSWORD, callbackURL: target }],
      ['sign-in/email', { email, password: PASSWORD, callbackURL: target }],
      ['sign-in/social', { provider: 'google', callbackURL: target }],
      ['sign-in/social', { provider: 'google', newUserCallbackURL: target }],
      ['sign-in/social', { provider: 'google', errorCallbackURL: target }],
      ['link-social', { provider: 'github', callbackURL: target }],
      ['link-social', { provider: 'github', errorCallbackURL: target }],
      ['send-verification-email', { email, callbackURL: target }],
      ['request-password-reset', { email, redirectTo: target }],
      ['change-email', { newEmail: 'new@example.com', currentPassword: PASSWORD, callbackURL: target }],
    ];
    for (const [path, body] of bodies) {
      const answer = await t.http.post(`/v1/auth/${path}`).set(auth).send(body);
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, 'untrusted_redirect']);
    }
    for (const path of ['verify-email?token=x&', 'reset-password/token?']) {
      const answer = await t.http.get(`/v1/auth/${path}callbackURL=${encodeURIComponent(target)}`);
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, 'untrusted_redirect']);
      expect(answer.headers['location']).toBeUndefined();
    }
  });

  it('leave no failing entry in the outbox', async () => {
    const waiting = () => t.db.rows('SELECT kind, attempts, last_error FROM outbox WHERE done_at IS NULL');
    await until(
      async () => (await waiting()).length === 0,
      async () => JSON.stringify(await waiting()),
    );
  });
});
