import { readOperations, call, fill } from '../../support/api.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { signUpOperator } from '../../support/people.js';
import { newId } from '../../../src/platform/crypto/ids.js';

describe('the cache headers', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('forbid caching of every response of every operation, errors included', async () => {
    const operations = await readOperations(t.url);
    expect(operations.length).toBeGreaterThan(50);
    const kept: string[] = [];
    for (const { auth } of [{ auth: {} }, await signUpOperator(t)]) {
      for (const operation of operations.filter(({ id }) => id !== 'signOut')) {
        const path = fill(operation, Object.fromEntries(operation.pathParameters.map((name) => [name, newId()])));
        const { status, headers } = await call(t.url, { method: operation.method, path, headers: auth });
        if (headers.get('cache-control') !== 'no-store') kept.push(`${operation.id}: ${status} ${headers.get('cache-control')}`);
      }
    }
    expect(kept).toEqual([]);
  });

  it('also forbid it where no operation is reached', async () => {
    const answers = [
      await t.http.get('/v1/nowhere'),
      await t.http.get('/%ff'),
      await t.http.head('/v1/users/me'),
      await t.http.options('/v1/users/me'),
      await t.http.post('/v1/auth/sign-in/email').set('content-type', 'text/plain').send('x'),
      await t.http.post('/v1/auth/sign-in/email').set('content-type', 'application/json').send('{'),
      await t.http.post('/v1/auth/sign-in/email').send({ email: 'x'.repeat(2_000_000) }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 401, 204, 415, 400, 413]);
    for (const { headers } of answers) expect(headers['cache-control']).toBe('no-store');
  });
});

describe('the security headers', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it.each(['/v1/plans', '/v1/nowhere', '/health/live', '/openapi.json', '/docs', '/docs/swagger-ui.css', '/webhooks/clerk'])(
    'are set on %s',
    async (path) => {
      const { headers } = await t.http.get(path);
      expect(headers).toMatchObject({
        'strict-transport-security': 'max-age=31536000; includeSubDomains',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      });
      const policy = headers['content-security-policy']!.split(';');
      expect(policy).toEqual(expect.arrayContaining(["base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]));
      expect(policy.some((one) => one === "default-src 'none'" || one === "object-src 'none'")).toBe(true);
    },
  );
});

describe('API_DOCS=off', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ API_DOCS: 'off' });
  });
  afterAll(() => t.close());

  it.each(['/docs', '/docs/', '/docs/swagger-ui-init.js', '/docs/swagger-ui.css', '/docs-json', '/openapi.json', '/openapi.yaml'])(
    'removes %s',
    async (path) => {
      expect((await t.http.get(path).expect(404)).body.code).toBe('route_not_found');
    },
  );

  it('does not change the API', async () => {
    await t.http.get('/v1/plans').expect(200);
    await t.http.get('/health/ready').expect(200);
  });
});
