import { startTestApp, type TestApp } from '../../support/app.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { eventually, type LoadedRequest, startLoad } from '../../support/load.js';
import { PASSWORD, signUp, type SignedInPerson } from '../../support/people.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';

/** The upper bound for every request, whatever the database does. */
const BOUND_MS = 25_000;

describe('an unavailable database', () => {
  let db: TestDatabase;
  let proxy: TcpProxy;
  let t: TestApp;
  let person: SignedInPerson;
  let other: SignedInPerson;
  /** One request for each access path: the guard, the pool, transactions, and Better Auth. */
  let requests: LoadedRequest[];

  beforeAll(async () => {
    db = await createTestDatabase();
    const target = new URL(db.url);
    proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port) });
    target.hostname = '127.0.0.1';
    target.port = String(proxy.port);
    t = await startTestApp({ DATABASE_URL: target.href }, db);
    [person, other] = [await signUp(t), await signUp(t)];
    requests = [
      { url: `${t.url}/v1/users/me`, headers: person.auth },
      { url: `${t.url}/v1/sessions`, headers: person.auth },
      { url: `${t.url}/v1/users/me`, method: 'PATCH', headers: person.auth, body: { name: 'Somebody' } },
      { url: `${t.url}/v1/sessions`, method: 'DELETE', headers: other.auth },
      { url: `${t.url}/v1/auth/sign-in/email`, method: 'POST', body: { email: person.email, password: PASSWORD } },
      { url: `${t.url}/health/ready` },
    ];
  });
  afterEach(() => proxy.resume());
  afterAll(async () => {
    await t.close();
    await proxy.close();
    await db.drop();
  });

  const statusOf = async ({ url, method, headers, body }: LoadedRequest) =>
    (
      await fetch(url, {
        method,
        headers: { ...headers, 'content-type': 'application/json' },
        body: body === undefined ? undefined : JSON.stringify(body),
      })
    ).status;
  const everythingWorks = async () => (await Promise.all(requests.map(statusOf))).every((status) => status === 200);

  it('that refuses connections is answered with 503 and Retry-After at once, and needs no restart', async () => {
    const load = startLoad(requests);
    await eventually('requests come through', () => (load.statuses['200'] ?? 0) > 50);
    await proxy.cut();
    const before = load.statuses['503'] ?? 0;
    await eventually('requests are refused', () => (load.statuses['503'] ?? 0) > before + 50);
    const answer = await t.http.get('/v1/users/me').set(person.auth).expect(503);
    expect(answer.headers['retry-after']).toBe('1');
    expect(answer.body).toMatchObject({ status: 503, code: 'service_unavailable', title: 'Service Unavailable' });
    await t.http.get('/health/live').expect(200);
    await t.http.get('/health/ready').expect(503);
    await proxy.resume();
    await eventually('everything works again', everythingWorks);
    await load.stop();
    expect(load.surprises).toEqual([]);
    expect(Object.keys(load.statuses).toSorted()).toEqual(['200', '503']);
    expect(load.withoutRetryAfter).toBe(0);
    expect(load.slowest).toBeLessThan(BOUND_MS);
    await eventually('everything works', everythingWorks);
  });

  it('in a silent network is answered with 503 in bounded time, and needs no restart', async () => {
    const load = startLoad(requests);
    await eventually('requests come through', () => (load.statuses['200'] ?? 0) > 50);
    proxy.pause();
    await eventually('requests are refused', () => (load.statuses['503'] ?? 0) > 2 * requests.length);
    await proxy.resume();
    await eventually('everything works again', everythingWorks);
    await load.stop();
    expect(load.surprises).toEqual([]);
    expect(Object.keys(load.statuses).toSorted()).toEqual(['200', '503']);
    expect(load.withoutRetryAfter).toBe(0);
    expect(load.slowest).toBeLessThan(BOUND_MS);
  }, 60_000);

  it('that kills all connections under load is answered with 503 only, and recovers each time', async () => {
    const load = startLoad(requests);
    for (let round = 0; round < 8; round += 1) {
      const seen = load.statuses['200'] ?? 0;
      await eventually('requests come through between two kills', () => (load.statuses['200'] ?? 0) > seen + 20);
      await db.rows(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tenantry'`,
      );
    }
    await load.stop();
    expect(load.surprises).toEqual([]);
    expect(Object.keys(load.statuses).filter((status) => !['200', '503'].includes(status))).toEqual([]);
    expect(load.withoutRetryAfter).toBe(0);
    expect(load.slowest).toBeLessThan(BOUND_MS);
    // No connection was lost: as many transactions as the pool has connections run concurrently.
    const all = await Promise.all(Array.from({ length: 40 }, () => statusOf(requests[3]!)));
    expect(all).toEqual(all.map(() => 200));
  }, 60_000);

  it('is not reported after a migration changes the results of prepared statements', async () => {
    // Repeatedly, because a request uses any of the shared connections.
    for (const length of [100, 110, 120, 130, 140]) {
      await Promise.all(Array.from({ length: 40 }, () => t.http.get('/v1/users/me').set(person.auth).expect(200)));
      await db.rows(`ALTER TABLE users ALTER COLUMN image_url TYPE varchar(${length})`);
      const all = await Promise.all(Array.from({ length: 40 }, () => statusOf(requests[0]!)));
      expect(all).toEqual(all.map(() => 200));
    }
  });
});
