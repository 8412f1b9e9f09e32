import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import pg from 'pg';
import type { HttpAdapter } from '../../../src/platform/http/http-adapter.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { PASSWORD, signUp, type SignedInPerson } from '../../support/people.js';
import { openConnection } from '../../support/raw-http.js';
import { createOrganization } from '../../support/tenants.js';
import { until } from '../../support/until.js';

/** The samples of a scrape: name and labels as they are written, with their values. */
async function scrape({ http }: TestApp): Promise<Map<string, number>> {
  const { text } = await http.get('/metrics').expect(200);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]));
}

/** Waits until a sample has a value: a response is counted when its connection has taken it, after the client has it. */
async function expectSample(t: TestApp, sample: string, value: number): Promise<void> {
  await until(
    async () => (await scrape(t)).get(sample) === value,
    async () => `${sample} is ${(await scrape(t)).get(sample)}, not ${value}`,
  );
}

describe('metrics', () => {
  let t: TestApp;
  let person: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp();
    person = await signUp(t);
  });
  afterAll(() => t.close());

  const requests = (route: string, method: string, status: number | string) =>
    `http_request_duration_seconds_count{route="${route}",method="${method}",status="${status}"}`;
  const refusals = (status: number, reason: string) => `tenantry_refusals_total{status="${status}",reason="${reason}"}`;

  describe('of requests', () => {
    it('have the template of the route, the method and the status', async () => {
      const before = await scrape(t);
      const added = async (sample: string, more: number) => expectSample(t, sample, (before.get(sample) ?? 0) + more);
      const { path } = await createOrganization(t, person);
      for (let count = 0; count < 3; count += 1) await t.http.get(path).set(person.auth).expect(200);
      await t.http.head(path).set(person.auth).expect(200);
      await t.http.get(`/v1/organizations/${randomUUID()}`).set(person.auth).expect(404);
      await t.http.get('/nothing/here').expect(404);
      await t.http.put('/nothing/else').send({}).expect(404);
      await added(requests('/v1/organizations', 'POST', 201), 1);
      await added(requests('/v1/organizations/:organizationId', 'GET', 200), 3);
      await added(requests('/v1/organizations/:organizationId', 'HEAD', 200), 1);
      await added(requests('/v1/organizations/:organizationId', 'GET', 404), 1);
      await added(requests('unmatched', 'GET', 404), 1);
      await added(requests('unmatched', 'PUT', 404), 1);
      expect([...(await scrape(t)).keys()].filter((sample) => sample.includes(path) || sample.includes('nothing'))).toEqual([]);
    });

    it('are "aborted" when the connection closes first', async () => {
      const holder = new pg.Client({ connectionString: t.db.url });
      await holder.connect();
      await holder.query('BEGIN');
      await holder.query('SELECT 1 FROM users WHERE id = $1 FOR UPDATE', [person.id]);
      const body = '{"name":"x"}';
      const head = `PATCH /v1/users/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${person.token}\r\ncontent-type: application/json`;
      const connection = openConnection(t.url, `${head}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
      await until(async () => (await t.db.rows(`SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'`)).length > 0);
      connection.socket.destroy();
      await expectSample(t, requests('/v1/users/me', 'PATCH', 'aborted'), 1);
      await holder.query('ROLLBACK');
      await holder.end();
    });

    it('count refusals by their reason', async () => {
      const limited = await startTestApp({ RATE_LIMIT_AUTH: '2/3600' });
      try {
        const caller = await signUp(limited);
        await limited.http.get('/v1/users/me').expect(401);
        await limited.http.get('/v1/users/me').set('authorization', 'Bearer nothing.nothing').expect(401);
        await limited.http.get('/v1/jobs').set(caller.auth).expect(403);
        await limited.http.post('/v1/auth/sign-in/email').send({ email: caller.email, password: 'a wrong password' }).expect(401);
        await limited.http.post('/v1/auth/sign-in/email').send({ email: caller.email, password: PASSWORD }).expect(429);
        const connection = openConnection(limited.url, 'NONSENSE\r\n\r\n');
        await connection.closed;
        await expectSample(limited, refusals(401, 'signed_out'), 1);
        await expectSample(limited, refusals(401, 'invalid_credentials'), 1);
        await expectSample(limited, refusals(401, 'wrong_credentials'), 1);
        await expectSample(limited, refusals(403, 'operator_only'), 1);
        await expectSample(limited, refusals(429, 'rate_limited'), 1);
        await expectSample(limited, refusals(400, 'unreadable'), 1);
        // It was refused before its dispatch, and still has its route.
        await expectSample(limited, requests('/v1/auth/sign-in/email', 'POST', 429), 1);
      } finally {
        await limited.close();
      }
    });

    it('count refusals under overload', async () => {
      const small = await startTestApp({ MAX_CONCURRENT_REQUESTS: '1' });
      const holder = new pg.Client({ connectionString: small.db.url });
      try {
        const caller = await signUp(small);
        await holder.connect();
        await holder.query('BEGIN');
        await holder.query('SELECT 1 FROM users WHERE id = $1 FOR UPDATE', [caller.id]);
        const atWork = small.http
          .patch('/v1/users/me')
          .set(caller.auth)
          .send({ name: 'x' })
          .then(({ status }) => status);
        let refused = 0;
        await until(async () => {
          const { status } = await small.http.get('/v1/users/me').set(caller.auth);
          if (status === 503) refused += 1;
          return refused > 0;
        });
        await holder.query('COMMIT');
        expect(await atWork).toBe(200);
        await expectSample(small, refusals(503, 'overload'), refused);
        await expectSample(small, requests('/v1/users/me', 'GET', 503), refused);
      } finally {
        await holder.end();
        await small.close();
      }
    });
  });

  it('count sign-ins by method and outcome', async () => {
    const one = await startTestApp({
      GOOGLE_CLIENT_ID: 'id',
      GOOGLE_CLIENT_SECRET: 'a secret of the client',
      RATE_LIMIT_SIGN_IN: '2/3600',
    });
    try {
      const signIns = (method: string, outcome: string) => `tenantry_sign_ins_total{method="${method}",outcome="${outcome}"}`;
      const caller = await signUp(one);
      const signIn = (password: string) => one.http.post('/v1/auth/sign-in/email').send({ email: caller.email, password });
      await signIn(PASSWORD).expect(200);
      for (let count = 0; count < 2; count += 1) await signIn('a wrong password').expect(401);
      await signIn('a wrong password').expect(429);
      await one.http.post('/v1/auth/sign-up/email').send({ email: 'weak@example.com', name: 'Weak', password: 'password1' }).expect(400);
      await one.http.get('/v1/auth/callback/google?error=access_denied&state=unknown').expect(302);
      await expectSample(one, signIns('sign_up', 'succeeded'), 1);
      await expectSample(one, signIns('sign_up', 'weak_password'), 1);
      await expectSample(one, signIns('password', 'succeeded'), 1);
      await expectSample(one, signIns('password', 'wrong_credentials'), 2);
      await expectSample(one, signIns('password', 'rate_limited'), 1);
      await expectSample(one, signIns('google', 'provider_sign_in_failed'), 1);
    } finally {
      await one.close();
    }
  });

  it('count usage events and holds', async () => {
    const { path } = await createOrganization(t, person);
    const send = (url: string, body: object) => t.http.post(`${path}/usage${url}`).set(person.auth).send(body);
    const event = (eventId: string, tokens = 5) => ({ eventId, model: 'model', inputTokens: tokens, outputTokens: 0 });
    const events = (outcome: string, reason?: string) =>
      `tenantry_usage_events_total{outcome="${outcome}"${reason === undefined ? '' : `,reason="${reason}"`}}`;
    await send('', event('a')).expect(201);
    await send('', event('a')).expect(200);
    await send('', event('a', 6)).expect(409);
    await send('', { eventId: 'b' }).expect(400);
    const old = { ...event('old'), occurredAt: '2001-01-01T00:00:00Z' };
    await send('/batch', { events: [event('c'), event('d'), event('a'), { eventId: 'e' }, old] }).expect(200);
    await expectSample(t, events('inserted'), 3);
    await expectSample(t, events('duplicate'), 2);
    await expectSample(t, events('conflict'), 1);
    await expectSample(t, events('rejected', 'invalid'), 2);
    await expectSample(t, events('rejected', 'too_old'), 1);

    const hold = (holdId: string) => send('/holds', { holdId, estimatedTokens: 10, expiresInSeconds: 60 }).expect(201);
    const holds = (outcome: string) => `tenantry_holds_total{outcome="${outcome}"}`;
    const ids = [randomUUID(), randomUUID(), randomUUID(), randomUUID()] as const;
    for (const id of ids) await hold(id);
    await hold(ids[0]);
    await send('/holds', { holdId: ids[0], estimatedTokens: 11, expiresInSeconds: 60 }).expect(409);
    await send(`/holds/${ids[0]}/settle`, event('f')).expect(201);
    await t.http.delete(`${path}/usage/holds/${ids[1]}`).set(person.auth).expect(204);
    await t.db.rows(`UPDATE usage_holds SET expires_at = now() - interval '1 second' WHERE id = $1`, [ids[2]]);
    // The next event of the owner expires it.
    await send('', event('g')).expect(201);
    await expectSample(t, holds('opened'), 4);
    await expectSample(t, holds('refused'), 1);
    await expectSample(t, holds('settled'), 1);
    await expectSample(t, holds('released'), 1);
    await expectSample(t, holds('expired'), 1);
    await expectSample(t, 'tenantry_holds_open{state="current"}', 1);
  });

  it('show the connections and the statements of each pool', async () => {
    const db = t.app.get<Database>(DATABASE);
    await t.http.get('/v1/users/me').set(person.auth).expect(200);
    const entered = Promise.withResolvers<void>();
    const leave = Promise.withResolvers<void>();
    const before = (await scrape(t)).get('tenantry_database_connections_in_use{pool="main"}')!;
    const transaction = db.transaction(async (tx) => {
      await tx.execute('SELECT 1 FROM users LIMIT 1');
      entered.resolve();
      await leave.promise;
    });
    await entered.promise;
    await until(async () => (await scrape(t)).get('tenantry_database_connections_in_use{pool="main"}')! > before);
    leave.resolve();
    await transaction;
    const samples = await scrape(t);
    for (const pool of ['main', 'sign_in']) {
      expect(samples.get(`tenantry_database_connections_max{pool="${pool}"}`)).toBeGreaterThan(1);
      expect(samples.get(`tenantry_database_waiting{pool="${pool}"}`)).toBe(0);
      expect(samples.get(`tenantry_database_shared_statements{pool="${pool}"}`)).toBeDefined();
      expect(samples.get(`tenantry_database_connections_idle{pool="${pool}"}`)).toBeDefined();
    }
    const counted = (statement: string) => samples.get(`tenantry_database_statement_seconds_count{statement="${statement}"}`);
    // Prepared under a name, in a transaction, and alone.
    for (const statement of ['users_by_id', 'SELECT users', 'COMMIT', 'UPDATE outbox'])
      expect([statement, counted(statement)]).toEqual([statement, expect.any(Number)]);
    expect(samples.get('nodejs_eventloop_lag_p99_seconds')).toBeDefined();
  });

  it('have a bounded number of series, whatever callers send', async () => {
    const word = () => randomBytes(6).toString('hex');
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PURGE', 'SEARCH', 'MKCOL', 'REPORT', 'SUBSCRIBE'];
    const paths: ((name: string) => string)[] = [
      (name) => `/${name}`,
      (name) => `/v1/${name}/${word()}`,
      (name) => `/v1/users/${name}`,
      (name) => `/v1/organizations/${name}/usage/quota`,
      (name) => `/v1/webhooks/${name}`,
      (name) => `/v1/jobs/${name}/run`,
      (name) => `/v1/auth/callback/${name}?code=${name}`,
      (name) => `/v1/auth/reset-password/${name}`,
      (name) => `/v1/organizations/by-slug/${name}`,
      (name) => `/v1/users/me?${name}=1`,
    ];
    const db = t.app.get<Database>(DATABASE);
    for (let sent = 0; sent < 1000; sent += 50) {
      const some = Array.from({ length: 50 }, async (_, index) => {
        const method = methods[randomInt(methods.length)]!;
        const body = method === 'GET' || method === 'HEAD' || method === 'OPTIONS' ? undefined : JSON.stringify({ [word()]: word() });
        const headers = { authorization: `Bearer ${word()}`, 'content-type': 'application/json' };
        const answer = await fetch(`${t.url}${paths[index % paths.length]!(word())}`, { method, headers, body, redirect: 'manual' });
        await answer.arrayBuffer();
        await db.execute(`SELECT 1 AS "${word()}"`);
        await db.execute(`SELECT 1 FROM pg_class AS "${word()}" LIMIT 1`);
      });
      await Promise.all(some);
    }
    const samples = [...(await scrape(t)).keys()];
    const valuesOf = (label: string) => new Set(samples.flatMap((sample) => new RegExp(`[{,]${label}="([^"]*)"`).exec(sample)?.[1] ?? []));
    const { routes } = t.app.getHttpAdapter() as unknown as HttpAdapter;
    const templates = [...valuesOf('route')].filter((route) => route !== 'unmatched');
    expect(templates.length).toBeGreaterThan(5);
    for (const route of templates) expect(routes.methodsOf(route)).not.toEqual([]);
    expect([...valuesOf('method')]).toContain('other');
    expect([...valuesOf('method')].filter((method) => methods.slice(7).includes(method))).toEqual([]);
    expect(samples.filter((sample) => /[0-9a-f]{12}/.test(sample))).toEqual([]);
    expect(samples.length).toBeLessThan(3000);
  });
});
