import { startTestApp, type TestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { eventually } from '../support/load.js';
import { signIn, signUp, signUpOperator } from '../support/people.js';
import { until } from '../support/until.js';
import { endProcesses, type Process, ready, startServer } from '../support/processes.js';

interface Limit {
  name: string;
  quota: number;
  window: number;
  left: number;
  wholeIn: number;
}

/** The limits in `RateLimit` and `RateLimit-Policy`, by policy. */
function limitsOf(headers: Headers | Record<string, string>): Record<string, Limit> {
  const get = (name: string) => (headers instanceof Headers ? headers.get(name) : headers[name]) ?? '';
  const policies = [...get('ratelimit-policy').matchAll(/"(\w+)";q=(\d+);w=(\d+)/g)];
  const states = [...get('ratelimit').matchAll(/"(\w+)";r=(\d+);t=(\d+)/g)];
  expect(states.map(([, name]) => name)).toEqual(policies.map(([, name]) => name));
  return Object.fromEntries(
    policies.map(([, name, quota, window], index) => [
      name!,
      { name: name!, quota: Number(quota), window: Number(window), left: Number(states[index]![2]), wholeIn: Number(states[index]![3]) },
    ]),
  );
}

describe('rate limits', () => {
  describe('on two processes', () => {
    let db: TestDatabase;
    let processes: Process[] | undefined;
    beforeAll(async () => {
      db = await createTestDatabase();
      processes = await Promise.all(
        [1, 2].map(async () => ready(await startServer(db.url, { RATE_LIMIT_API: '50/3600', LOG_LEVEL: 'warn' }))),
      );
    }, 120_000);
    afterAll(async () => {
      await endProcesses();
      await db.drop();
    });

    it('let exactly 50 of 1,000 parallel requests through, and return the exact state to each', async () => {
      const signedUp = await fetch(`${processes![0]!.url}/v1/auth/sign-up/email`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ email: 'many@example.com', name: 'Many', password: 'correct horse battery staple' }),
      });
      const authorization = `Bearer ${signedUp.headers.get('set-auth-token')}`;
      const answers = await Promise.all(
        Array.from({ length: 1000 }, async (_, index) => {
          const answer = await fetch(`${processes![index % 2]!.url}/v1/users/me`, { headers: { authorization } });
          await answer.text();
          return answer;
        }),
      );
      const passed = answers.filter(({ status }) => status === 200);
      const refused = answers.filter(({ status }) => status === 429);
      expect([passed.length, refused.length]).toEqual([50, 950]);
      for (const { headers } of answers) expect(headers.get('ratelimit-policy')).toBe('"api";q=50;w=3600');
      // Each of the fifty got another remainder; one request refills in 72 seconds.
      expect(passed.map(({ headers }) => limitsOf(headers)['api']!.left).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 50 }, (_, index) => index),
      );
      for (const { headers } of passed) {
        const { left, wholeIn } = limitsOf(headers)['api']!;
        expect(wholeIn).toBeLessThanOrEqual((50 - left) * 72);
        expect(wholeIn).toBeGreaterThan((50 - left) * 72 - 60);
        expect(headers.get('retry-after')).toBeNull();
      }
      for (const { headers } of refused) {
        const { left, wholeIn } = limitsOf(headers)['api']!;
        expect(left).toBe(0);
        const wait = Number(headers.get('retry-after'));
        expect(wait).toBeGreaterThan(12);
        expect(wait).toBeLessThanOrEqual(72);
        expect(Math.abs(wholeIn - (3600 - 72 + wait))).toBeLessThanOrEqual(1);
      }
    }, 60_000);
  });

  describe('of a user and an address', () => {
    let t: TestApp;
    beforeAll(async () => {
      t = await startTestApp({ RATE_LIMIT_API: '5/3600' });
    });
    afterAll(() => t.close());
    beforeEach(async () => {
      const isForgotten = async () => {
        await t.db.rows('DELETE FROM rate_limits');
        return (await t.http.get('/v1/users/me')).status === 401;
      };
      await eventually('the refusal of the address is forgotten', isForgotten);
      await t.db.rows('DELETE FROM rate_limits');
    });

    const me = (headers: Record<string, string>) => t.http.get('/v1/users/me').set(headers);
    /** Without the mail of a sign-up, which is counted when the outbox sends it. */
    const keysOfCalls = () => t.db.rows(`SELECT key FROM rate_limits WHERE key NOT LIKE 'mail:%'`);

    it('count by user, with any session or credential', async () => {
      const first = await signUp(t);
      const second = await signIn(t, first);
      const other = await signUp(t);
      for (const headers of [first.auth, second.auth, { cookie: first.cookie }, { cookie: second.cookie }, first.auth])
        await me(headers).expect(200);
      for (const headers of [first.auth, second.auth, { cookie: second.cookie }]) await me(headers).expect(429);
      expect(limitsOf((await me(other.auth).expect(200)).headers)['api']).toMatchObject({ quota: 5, left: 4 });
    });

    it('answer 429 as a problem with Retry-After', async () => {
      const person = await signUp(t);
      for (let call = 0; call < 5; call += 1) {
        const { headers } = await me(person.auth).expect(200);
        expect(limitsOf(headers)['api']).toMatchObject({ name: 'api', quota: 5, window: 3600, left: 4 - call });
      }
      const answer = await me(person.auth).expect(429);
      expect(answer.body).toMatchObject({ status: 429, code: 'rate_limited', title: 'Too Many Requests' });
      expect(Number(answer.headers['retry-after'])).toBeGreaterThan(700);
      expect(Number(answer.headers['retry-after'])).toBeLessThanOrEqual(720);
    });

    it('refill evenly, up to the whole quota', async () => {
      const person = await signUp(t);
      const served = () =>
        until(async () => {
          const answer = await me(person.auth);
          return answer.status === 200 && answer;
        });
      const left = async () => limitsOf((await served()).headers)['api']!.left;
      const advanceSeconds = (seconds: number) =>
        t.db.rows(`UPDATE rate_limits SET whole_at = whole_at - $1 * interval '1 second'`, [seconds]);
      for (let call = 0; call < 5; call += 1) await me(person.auth).expect(200);
      await advanceSeconds(700);
      await me(person.auth).expect(429);
      await advanceSeconds(20);
      expect(await left()).toBe(0);
      await me(person.auth).expect(429);
      await advanceSeconds(2 * 720);
      expect([await left(), await left()]).toEqual([1, 0]);
      await me(person.auth).expect(429);
      await advanceSeconds(100_000);
      expect([await left(), await left(), await left(), await left(), await left()]).toEqual([4, 3, 2, 1, 0]);
      await me(person.auth).expect(429);
    });

    it('do not charge rejected requests', async () => {
      const person = await signUp(t);
      for (let call = 0; call < 5; call += 1) await me(person.auth).expect(200);
      const [before] = await t.db.rows('SELECT key, whole_at FROM rate_limits WHERE key LIKE $1', ['api:%']);
      for (let call = 0; call < 10; call += 1) await me(person.auth).expect(429);
      expect(await t.db.rows('SELECT key, whole_at FROM rate_limits WHERE key LIKE $1', ['api:%'])).toEqual([before]);
    });

    it('count requests without a session by connection address, and ignore proxy headers', async () => {
      for (let call = 0; call < 5; call += 1)
        await me({ 'x-forwarded-for': `203.0.113.${call}`, forwarded: `for=203.0.113.${call}` }).expect(401);
      await me({ 'x-forwarded-for': '203.0.113.99', 'x-real-ip': '203.0.113.98' }).expect(429);
    });

    it('count invalid credentials by address in one row', async () => {
      const formerUser = await signUp(t);
      await t.db.rows('DELETE FROM sessions WHERE user_id = $1', [formerUser.id]);
      await t.db.rows('DELETE FROM rate_limits');
      const madeUp = [
        { authorization: 'Bearer made.up' },
        { authorization: 'Bearer a.b.c' },
        { authorization: 'Basic abc' },
        { 'x-api-key': 'tk_made_up' },
        formerUser.auth,
      ];
      for (const headers of madeUp) await me(headers).expect(401);
      for (const headers of [...madeUp, { authorization: `Bearer ${Math.random()}.x` }]) await me(headers).expect(429);
      expect(await keysOfCalls()).toEqual([{ key: 'api:127.0.0.1' }]);
    });

    it('never apply to health checks and metrics', async () => {
      for (const path of ['/health/live', '/health/ready', '/metrics']) {
        for (let call = 0; call < 20; call += 1) {
          const { headers } = await t.http.get(path).expect(200);
          expect(headers).not.toHaveProperty('ratelimit');
        }
      }
      expect(await keysOfCalls()).toEqual([]);
    });

    it('are swept when they are refilled, and kept otherwise', async () => {
      const operator = await signUpOperator(t);
      await t.db.rows(`INSERT INTO rate_limits SELECT 'old:' || n, now() - interval '1 minute' FROM generate_series(1, 2500) n`);
      await t.db.rows(`INSERT INTO rate_limits SELECT 'new:' || n, now() + interval '1 hour' FROM generate_series(1, 10) n`);
      await t.http.post('/v1/jobs/sweep_rate_limits/run').set(operator.auth).expect(202);
      const left = async (prefix: string) =>
        Number((await t.db.rows(`SELECT count(*) FROM rate_limits WHERE key LIKE $1`, [`${prefix}:%`]))[0]!['count']);
      await eventually('the old ones are gone', async () => (await left('old')) === 0);
      expect(await left('new')).toBe(10);
    });
  });

  it('trust the configured number of proxies, and count an IPv6 subscriber as one client', async () => {
    const t = await startTestApp({ RATE_LIMIT_API: '2/3600', TRUST_PROXY: '1' });
    try {
      const from = (forwarded: string) => t.http.get('/v1/users/me').set('x-forwarded-for', forwarded);
      await from('203.0.113.1').expect(401);
      await from('203.0.113.1').expect(401);
      await from('203.0.113.1').expect(429);
      // Entries further left are written by the client.
      await from('198.51.100.1, 203.0.113.1').expect(429);
      await from('203.0.113.2').expect(401);
      await from('2001:db8:1:2::1').expect(401);
      await from('2001:db8:1:2:ffff::9').expect(401);
      await from('2001:0DB8:1:2:0:0:0:7').expect(429);
      await from('2001:db8:1:3::1').expect(401);
    } finally {
      await t.close();
    }
  });

  it('limit mail requests by email and address', async () => {
    const t = await startTestApp({ RATE_LIMIT_MAIL: '2/3600', TRUST_PROXY: '1' });
    try {
      const person = await signUp(t, { email: 'limited@example.com' });
      const post = (path: string, email: string, address = '203.0.113.1') =>
        t.http.post(`/v1/auth/${path}`).set('x-forwarded-for', address).send({ email });
      for (const path of ['request-password-reset', 'send-verification-email']) await post(path, person.email).expect(200);
      for (const path of ['request-password-reset', 'send-verification-email']) await post(path, person.email).expect(429);
      const refused = await post('request-password-reset', ' LIMITED@example.com').expect(429);
      expect(Object.keys(limitsOf(refused.headers))).toEqual(['auth', 'mail']);
      expect(limitsOf(refused.headers)['mail']).toMatchObject({ left: 0, quota: 2 });
      await post('request-password-reset', 'nobody@example.com').expect(200);
      await post('request-password-reset', person.email, '203.0.113.2').expect(200);
      const keys = await t.db.rows<{ key: string }>('SELECT key FROM rate_limits');
      expect(keys.filter(({ key }) => key.includes('@'))).toEqual([]);
    } finally {
      await t.close();
    }
  });

  it('limit sign-in requests by address', async () => {
    const t = await startTestApp({ RATE_LIMIT_AUTH: '4/3600' });
    try {
      for (let call = 0; call < 4; call += 1)
        await t.http
          .post('/v1/auth/sign-in/email')
          .send({ email: `person-${call}@example.org`, password: 'wrong password' })
          .expect(401);
      await t.http.post('/v1/auth/sign-in/email').send({ email: 'person-5@example.org', password: 'wrong password' }).expect(429);
      await t.http.get('/v1/auth/error').expect(429);
      await t.http.get('/v1/users/me').expect(401);
    } finally {
      await t.close();
    }
  });
});
