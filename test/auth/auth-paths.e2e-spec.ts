import { request as httpRequest } from 'node:http';
import { readOperations } from '../support/api.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type SignedInPerson, signUp } from '../support/people.js';

/** Better Auth routes that we do not serve, because they list sessions, return provider tokens or change a user. */
const HIDDEN = ['list-sessions', 'get-session', 'list-accounts', 'account-info', 'delete-user/callback', 'ok', 'error'];

/** Every known spelling of "one folder up" that some URL parser resolves. */
const UP = [
  '..\\',
  '..%5c',
  '..%5C',
  '%2e%2e\\',
  '%2E%2e%5c',
  '.%2e\\',
  '%2e.%5C',
  '..%2f',
  '%2e%2e%2f',
  '%2e%2e/',
  '.%2E%2F',
  '..;\\',
  '..;%2f',
  '..%09\\',
  '..\\.\\',
  '..%5c..%5cauth%5c',
  '..%252f',
  '%252e%252e%255c',
  '..%ef%bc%8f',
];

describe('the paths that reach Better Auth', () => {
  let t: TestApp;
  let person: SignedInPerson;
  /** The routes below /v1/auth with a path parameter, without that parameter. */
  let withParameter: string[];
  beforeAll(async () => {
    t = await startTestApp({ GOOGLE_CLIENT_ID: 'id', GOOGLE_CLIENT_SECRET: 'secret', TRUSTED_ORIGINS: 'https://app.example.com' });
    person = await signUp(t);
    const operations = await readOperations(t.url);
    withParameter = operations
      .filter(({ path, pathParameters }) => path.startsWith('/v1/auth/') && pathParameters.length > 0)
      .map(({ path }) => path.slice(0, path.indexOf('{')));
  });
  afterAll(() => t.close());

  /** Sends a path unchanged: fetch and supertest would resolve it. */
  const get = (path: string, method = 'GET'): Promise<{ status: number; location: string; body: string }> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(t.url);
      const request = httpRequest({ hostname, port, method, path, headers: { ...person.auth } });
      request.on('error', reject);
      request.on('response', (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.on('end', () => resolve({ status: response.statusCode!, location: String(response.headers['location']), body }));
      });
      request.end();
    });

  it('include every route with a parameter', () => {
    expect(withParameter.toSorted()).toEqual(['/v1/auth/callback/', '/v1/auth/reset-password/']);
  });

  it.each(UP)('never reach another route through a parameter: %s', async (up) => {
    for (const start of withParameter)
      for (const hidden of HIDDEN)
        for (const path of [`${start}${up}${hidden}`, `${start}google%5c${up}${up}${hidden}`, `${start}${up}${hidden}/`]) {
          const { status, body } = await get(`${path}?callbackURL=/ok`);
          // Rejected by parameter or not found, but never passed on.
          expect([path, status]).toEqual([path, status === 400 ? 400 : 404]);
          expect(JSON.parse(body).code).toBe(status === 400 ? 'invalid_request' : 'route_not_found');
        }
  });

  it.each(['.', '..', '%2e', '%2e%2e', '.%2E', 'a%20b', 'a%0ab', 'a;b', 'a:b', 'a%3fb', 'a%23b', 'a%25b', 'x'.repeat(201)])(
    'reject the parameter %s by name',
    async (value) => {
      for (const start of withParameter) {
        const { status, body } = await get(`${start}${value}?callbackURL=/ok`);
        const name = start.includes('callback') ? 'provider' : 'token';
        expect([start, status]).toEqual([start, 400]);
        expect(JSON.parse(body).errors).toEqual([{ path: `params.${name}`, message: expect.stringContaining(name) }]);
      }
    },
  );

  it.each([
    '/v1/auth//list-sessions',
    '/v1/auth/./list-sessions',
    '/v1/auth/\\list-sessions',
    '/v1/auth/%5clist-sessions',
    '/v1/auth/list-sessions;x',
    '/v1/auth/;/list-sessions',
    '/v1/auth/list%2dsessions',
    '/v1/auth/LIST-SESSIONS',
    '/V1/AUTH/list-sessions',
    '/v1/auth/error/../list-sessions',
    '/v1/auth/error\\..\\list-sessions',
    '/v1/auth/verify-email/..%2flist-sessions',
    '/v1/auth/callback/google/..%2f..%2flist-sessions',
    '/v1/auth/callback//list-sessions',
    '/v1/auth/callback/google;/../../list-sessions',
    '/v1/auth/get-session',
    '/v1/auth/ok',
    '/v1/auth/OK',
    '/v1/auth/reset-password//x',
    'http://localhost:3000/v1/auth/list-sessions',
  ])('include no others: %s', async (path) => {
    for (const method of ['GET', 'HEAD', 'POST']) {
      const { status, body } = await get(path, method);
      expect([path, method, status]).toEqual([path, method, 404]);
      expect(body).not.toContain(person.id);
    }
  });

  it('are those of the matched route, in any case and with any trailing slash', async () => {
    for (const path of ['/v1/auth/callback/google', '/V1/Auth/CALLBACK/google', '/v1/auth/callback/google/']) {
      const { status, location } = await get(`${path}?state=unknown&code=x`);
      expect([path, status, location]).toEqual([path, 302, expect.stringMatching(/\/v1\/auth\/error\?error=/)]);
    }
    for (const path of ['/v1/auth/reset-password/unknown', '/v1/AUTH/Reset-Password/unknown', '/v1/auth/reset-password/unknown/']) {
      const { status, location } = await get(`${path}?callbackURL=https://app.example.com/choose`);
      expect([path, status, location]).toEqual([path, 302, 'https://app.example.com/choose?error=INVALID_TOKEN']);
    }
  });
});
