import { connect, createServer, type Server, type Socket } from 'node:net';
import supertest from 'supertest';
import { startTestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { signUp } from '../support/people.js';
import { endProcesses, ready, startServer, until } from '../support/processes.js';

/** A proxy between the application and its database, which can cut the connections. */
class DatabaseProxy {
  private readonly sockets = new Set<Socket>();
  private server?: Server;
  port = 0;

  constructor(private readonly target: URL) {}

  get url(): string {
    const url = new URL(this.target);
    url.hostname = '127.0.0.1';
    url.port = String(this.port);
    return url.href;
  }

  async connect(): Promise<void> {
    this.server = createServer((near) => {
      const far = connect(Number(this.target.port || 5432), this.target.hostname);
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.sockets.add(one);
        one.on('error', () => undefined).on('close', () => other.destroy());
        one.pipe(other);
      }
    });
    await new Promise<void>((resolve) => this.server!.listen(this.port, '127.0.0.1', resolve));
    this.port = (this.server.address() as { port: number }).port;
  }

  async cut(): Promise<void> {
    const closed = new Promise((resolve) => this.server!.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
    await closed;
  }
}

describe('health', () => {
  let db: TestDatabase;
  let proxy: DatabaseProxy;
  let http: ReturnType<typeof supertest>;
  beforeAll(async () => {
    db = await createTestDatabase();
    proxy = new DatabaseProxy(new URL(db.url));
    await proxy.connect();
    http = supertest((await ready(await startServer(proxy.url))).url);
  });
  afterAll(async () => {
    await endProcesses();
    await proxy.cut();
    await db.drop();
  });

  it('is live without the database, ready only with it, and recovers by itself', async () => {
    const person = await signUp({ http });
    await http.get('/health/ready').expect(200, { status: 'ok' });
    for (const _ of [1, 2]) {
      await proxy.cut();
      const { body, headers } = await http.get('/health/ready').expect(503);
      expect(body.code).toBe('service_unavailable');
      expect(headers['retry-after']).toBe('1');
      await http.get('/health/live').expect(200, { status: 'ok' });
      const refused = await http.get('/v1/users/me').set(person.auth).expect(503);
      expect(refused.headers['retry-after']).toBe('1');
      await proxy.connect();
      await until('it is ready again', async () => (await http.get('/health/ready')).status === 200);
      await http.get('/v1/users/me').set(person.auth).expect(200);
    }
  });

  it('needs no credentials, and ignores invalid ones', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      await http.get(path).set('authorization', 'Bearer nonsense').expect(200);
      await http.get(path).set('cookie', 'better-auth.session_token=nonsense').expect(200);
    }
  });
});

describe('metrics', () => {
  const production = { NODE_ENV: 'production', PUBLIC_URL: 'https://api.example.com' };
  const TOKEN = 'a token for prometheus';

  it.each([
    ['are open in development', {}, undefined, 200],
    ['are off in production without a token', production, undefined, 404],
    ['are off in production without a token, also for a request with one', production, 'Bearer undefined', 404],
    ['require their token', { ...production, METRICS_TOKEN: TOKEN }, undefined, 404],
    ['reject another token', { ...production, METRICS_TOKEN: TOKEN }, `Bearer ${TOKEN}s`, 404],
    ['reject a token without its scheme', { ...production, METRICS_TOKEN: TOKEN }, TOKEN, 404],
    ['accept their token', { ...production, METRICS_TOKEN: TOKEN }, `Bearer ${TOKEN}`, 200],
    ['require their token in development too, if one is set', { METRICS_TOKEN: TOKEN }, undefined, 404],
  ])('%s', async (_, environment: Record<string, string>, authorization, status) => {
    const t = await startTestApp(environment);
    const request = t.http.get('/metrics');
    if (authorization !== undefined) request.set('authorization', authorization);
    const answer = await request.expect(status);
    if (status === 200) {
      expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
      for (const name of ['process_cpu_seconds_total', 'tenantry_outbox_entries', 'tenantry_job_runs_total'])
        expect(answer.text).toContain(`# TYPE ${name} `);
    } else expect(answer.body.code).toBe('route_not_found');
    await t.close();
  });
});
