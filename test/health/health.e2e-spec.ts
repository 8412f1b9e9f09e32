import { connect, createServer, type Server, type Socket } from 'node:net';
import supertest from 'supertest';
import { startTestApp } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { signUp } from '../support/people.js';
import { endProcesses, ready, startServer, until } from '../support/processes.js';

/** Stands between the application and its database, and can cut them off. */
class Cable {
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

  async plugIn(): Promise<void> {
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

  async pull(): Promise<void> {
    const closed = new Promise((resolve) => this.server!.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    this.sockets.clear();
    await closed;
  }
}

describe('health', () => {
  let db: TestDatabase;
  let cable: Cable;
  let http: ReturnType<typeof supertest>;
  beforeAll(async () => {
    db = await createTestDatabase();
    cable = new Cable(new URL(db.url));
    await cable.plugIn();
    http = supertest((await ready(await startServer(cable.url))).url);
  });
  afterAll(async () => {
    await endProcesses();
    await cable.pull();
    await db.drop();
  });

  it('is live without, and ready only with its database, and recovers by itself', async () => {
    const person = await signUp({ http });
    await http.get('/health/ready').expect(200, { status: 'ok' });
    for (const _ of [1, 2]) {
      await cable.pull();
      const { body, headers } = await http.get('/health/ready').expect(503);
      expect(body.code).toBe('service_unavailable');
      expect(headers['retry-after']).toBe('1');
      await http.get('/health/live').expect(200, { status: 'ok' });
      const refused = await http.get('/v1/users/me').set(person.auth).expect(503);
      expect(refused.headers['retry-after']).toBe('1');
      await cable.plugIn();
      await until('it is ready again', async () => (await http.get('/health/ready')).status === 200);
      await http.get('/v1/users/me').set(person.auth).expect(200);
    }
  });

  it('answers without credentials, whatever comes with the request', async () => {
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
    ['are off in production without a token, also for who brings one', production, 'Bearer undefined', 404],
    ['want their token', { ...production, METRICS_TOKEN: TOKEN }, undefined, 404],
    ['refuse another token', { ...production, METRICS_TOKEN: TOKEN }, `Bearer ${TOKEN}s`, 404],
    ['refuse a token without its scheme', { ...production, METRICS_TOKEN: TOKEN }, TOKEN, 404],
    ['take their token', { ...production, METRICS_TOKEN: TOKEN }, `Bearer ${TOKEN}`, 200],
    ['want their token in development too, if one is set', { METRICS_TOKEN: TOKEN }, undefined, 404],
  ])('%s', async (_, environment: Record<string, string>, authorization, status) => {
    const t = await startTestApp(environment);
    const asking = t.http.get('/metrics');
    if (authorization !== undefined) asking.set('authorization', authorization);
    const answer = await asking.expect(status);
    if (status === 200) {
      expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
      for (const name of ['process_cpu_seconds_total', 'tenantry_outbox_entries', 'tenantry_job_runs_total'])
        expect(answer.text).toContain(`# TYPE ${name} `);
    } else expect(answer.body.code).toBe('route_not_found');
    await t.close();
  });
});
