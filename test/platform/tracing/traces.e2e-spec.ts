import { startTestApp, type TestApp } from '../../support/app.js';
import { clerkEvent, CLERK_WEBHOOK_SECRET, deliver, newMessageId, userData } from '../../support/clerk/clerk-events.js';
import { createTestDatabase } from '../../support/database.js';
import { PASSWORD, signUp, type SignedInPerson } from '../../support/people.js';
import { endProcesses, type Process, ready, startServer } from '../../support/processes.js';
import { type CollectedSpan, startTraceCollector } from '../../support/trace-collector.js';
import { until } from '../../support/until.js';

const [SERVER, CLIENT, CONSUMER] = [2, 3, 5];
const FAILED = 2;
const ID = 'c0ffee00c0ffee00c0ffee00c0ffee00';
const PARENT = 'decaf00000000001';

describe('traces', () => {
  describe('with a collector', () => {
    let spans: CollectedSpan[];
    let person: SignedInPerson;
    let eventId: string;
    let collector: Awaited<ReturnType<typeof startTraceCollector>>;

    /** One run for all tests: closing the application sends the last spans. */
    beforeAll(async () => {
      collector = await startTraceCollector();
      const t = await startTestApp({
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_SERVICE_NAME: 'tested',
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a%20key',
        CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
      });
      person = await signUp(t);
      const trace = (id: string, flags = '01') => ({ traceparent: `00-${id}-${PARENT}-${flags}` });
      await t.http.get('/v1/users/me?secret=in-the-query').set(person.auth).set(trace(ID)).expect(200);
      await t.http
        .get('/v1/users/me')
        .set(person.auth)
        .set(trace(ID.replace('c0', '00'), '00'))
        .expect(200);
      await t.http.get('/v1/auth/reset-password/secret-in-the-path').expect(400);
      await t.http.get('/nothing/secret-in-an-unknown-path').expect(404);
      await t.http.get('/health/ready').expect(200);
      await failOnce(t);
      eventId = await processTwice(t);
      await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
      await until(
        async () => (await t.db.rows(`SELECT FROM outbox WHERE done_at IS NULL`)).length === 0,
        async () => JSON.stringify(await t.db.rows('SELECT * FROM outbox')),
      );
      await t.close();
      spans = collector.spans();
    }, 120_000);
    afterAll(() => collector.close());

    /** A statement that the database refuses, in a request. */
    async function failOnce(t: TestApp): Promise<void> {
      await t.db.rows('ALTER TABLE users RENAME TO users_away');
      await t.http.get('/v1/users/me').set(person.auth).expect(500);
      await t.db.rows('ALTER TABLE users_away RENAME TO users');
    }

    /** The effect of an event right after its receipt, and once more as another process would find it. */
    async function processTwice(t: TestApp): Promise<string> {
      const event = clerkEvent('user.created', userData({ id: 'user_traced', email: { email: 'traced@example.com', verified: true } }));
      expect((await deliver(t.url, event, { id: newMessageId() })).status).toBe(202);
      const done = () =>
        until(
          async () => (await t.db.rows<{ id: string }>(`SELECT id FROM webhook_events WHERE status IN ('processed', 'ignored')`))[0],
          async () => JSON.stringify(await t.db.rows('SELECT * FROM webhook_events')),
        );
      const { id } = await done();
      await t.db.rows(`UPDATE webhook_events SET status = 'pending', attempts = 0, leased_until = NULL, next_attempt_at = now()`);
      await done();
      return id;
    }

    const named = (name: string) => spans.filter((span) => span.name === name);
    const childrenOf = ({ spanId }: CollectedSpan) => spans.filter(({ parentSpanId }) => parentSpanId === spanId);

    it('are sent as OTLP over HTTP, with the name of the service and the key of the collector', () => {
      expect(new Set(collector.requests.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer a key']));
      expect(new Set(collector.requests.map(({ path }) => path))).toEqual(new Set(['/v1/traces']));
      expect(new Set(collector.services())).toEqual(new Set(['tested']));
    });

    it('have a span for each request, with the template of its route, that continues the trace of the caller', () => {
      const ofCaller = spans.filter(({ traceId, kind }) => traceId === ID && kind === SERVER);
      expect(ofCaller).toHaveLength(1);
      expect(ofCaller[0]).toMatchObject({ name: 'GET /v1/users/me', parentSpanId: PARENT });
      expect(ofCaller[0]!.attributes).toMatchObject({
        'http.request.method': 'GET',
        'http.route': '/v1/users/me',
        'http.response.status_code': 200,
      });
      expect(named('GET')[0]!.attributes).not.toHaveProperty('http.route');
      expect(named('GET /v1/auth/reset-password/:token')).toHaveLength(1);
      expect(spans.filter(({ name }) => name.includes('health'))).toEqual([]);
    });

    it('leave out a request that its caller does not record', () => {
      expect(spans.filter(({ traceId }) => traceId === ID.replace('c0', '00'))).toEqual([]);
    });

    it('have a span for each statement of a request, by its summary', () => {
      const [request] = spans.filter(({ traceId, kind }) => traceId === ID && kind === SERVER);
      const statements = childrenOf(request!);
      expect(statements.map(({ name }) => name)).toContain('users_by_id');
      for (const { kind, name, attributes, startTimeUnixNano, endTimeUnixNano } of statements) {
        expect(kind).toBe(CLIENT);
        expect(attributes).toEqual({ 'db.system.name': 'postgresql', 'db.query.summary': name });
        expect(BigInt(startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(request!.startTimeUnixNano) - 1_000_000n);
        expect(BigInt(endTimeUnixNano)).toBeLessThanOrEqual(BigInt(request!.endTimeUnixNano) + 1_000_000n);
      }
    });

    it('mark what failed, without the message of the error', () => {
      const failed = spans.filter(({ status }) => status?.code === FAILED);
      expect(failed.map(({ name, attributes }) => [name, attributes['error.type']])).toContainEqual(['GET /v1/users/me', '500']);
      expect(failed.some(({ kind, attributes }) => kind === CLIENT && attributes['error.type'] === '42P01')).toBe(true);
      expect(failed.map(({ status }) => status?.message ?? '').join('')).toBe('');
    });

    it('lead from the receipt of a webhook to each attempt at its effect', () => {
      const [receipt] = named('POST /webhooks/:provider');
      const attempts = childrenOf(receipt!).filter(({ kind }) => kind === CONSUMER);
      expect(attempts).toHaveLength(2);
      for (const attempt of attempts) {
        expect(attempt).toMatchObject({ name: 'process clerk', traceId: receipt!.traceId });
        expect(attempt.attributes).toMatchObject({ 'messaging.message.id': eventId, 'tenantry.webhook.type': 'user.created' });
        expect(childrenOf(attempt).map(({ name }) => name)).toContain('COMMIT');
      }
    });

    it('lead from a request through the outbox to the delivery, also of an entry that an entry caused', () => {
      const [request] = named('POST /v1/auth/request-password-reset');
      const [reset] = childrenOf(request!).filter(({ kind }) => kind === CONSUMER);
      expect(reset).toMatchObject({ name: 'process auth.password_reset_requested', traceId: request!.traceId });
      const [mail] = childrenOf(reset!).filter(({ kind }) => kind === CONSUMER);
      expect(mail).toMatchObject({ name: 'process mail', traceId: request!.traceId });
    });

    it('hold no secret and no personal data', () => {
      const text = collector.requests.map(({ body }) => body).join();
      const secrets = [
        person.token,
        person.cookie.split('=')[1]!,
        PASSWORD,
        person.email,
        person.name,
        person.id,
        'traced@',
        'user_traced',
        '203.0.113.7',
        'secret-in',
        'in-the-query',
        '127.0.0.1',
      ];
      expect(secrets.filter((secret) => text.includes(secret))).toEqual([]);
    });
  });

  it('are kept in the configured share', async () => {
    const collector = await startTraceCollector();
    const t = await startTestApp({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_TRACES_SAMPLER_ARG: '0' });
    await t.http.get('/v1/users/me').expect(401);
    await t.http
      .get('/v1/users/me')
      .set({ traceparent: `00-${ID}-${PARENT}-01` })
      .expect(401);
    await t.close();
    expect(new Set(collector.spans().map(({ traceId }) => traceId))).toEqual(new Set([ID]));
    await collector.close();
  });

  it('do not hold up requests or the stop when the collector is away', async () => {
    const collector = await startTraceCollector();
    await collector.close();
    const t = await startTestApp({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const person = await signUp(t);
    await t.http.get('/v1/users/me').set(person.auth).expect(200);
    await t.close();
    expect(collector.requests).toEqual([]);
  });

  describe('of a process', () => {
    afterEach(endProcesses);

    async function used(db: string, environment: Record<string, string>): Promise<Process> {
      const hook = new URL('../../support/report-opentelemetry.mjs', import.meta.url).href;
      const server = await ready(await startServer(db, { NODE_OPTIONS: `--import ${hook}`, ...environment }));
      const body = JSON.stringify({ email: `p${server.pid}@example.com`, name: 'P', password: PASSWORD });
      const signedUp = await fetch(`${server.url}/v1/auth/sign-up/email`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      expect(signedUp.status).toBe(200);
      return server;
    }

    it('need OpenTelemetry, which a process without an endpoint does not load', async () => {
      const db = await createTestDatabase();
      const collector = await startTraceCollector();
      try {
        const imports = (server: Process) => [...server.output().matchAll(/^imported (.*)$/gm)].map(([, one]) => one);
        expect(new Set(imports(await used(db.url, {})))).toEqual(new Set(['@opentelemetry/api by a library']));
        const on = await used(db.url, { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
        expect(imports(on)).toEqual(expect.arrayContaining(['@opentelemetry/api by us', '@opentelemetry/sdk-trace-base by us']));
      } finally {
        await endProcesses();
        await collector.close();
        await db.drop();
      }
    });
  });
});
