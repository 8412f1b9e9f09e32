import { startTestApp, type TestApp } from '../../support/app.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { PASSWORD, type SignedInPerson, signUp } from '../../support/people.js';
import { startTcpProxy, type TcpProxy } from '../../support/tcp-proxy.js';
import { until } from '../../support/until.js';

describe('an unavailable database', () => {
  let db: TestDatabase;
  let proxy: TcpProxy;
  let t: TestApp;
  let person: SignedInPerson;
  beforeAll(async () => {
    db = await createTestDatabase();
    const target = new URL(db.url);
    proxy = await startTcpProxy({ host: target.hostname, port: Number(target.port) });
    target.hostname = '127.0.0.1';
    target.port = String(proxy.port);
    t = await startTestApp({ DATABASE_URL: target.href }, db);
    person = await signUp(t);
  });
  afterAll(async () => {
    await proxy.resume();
    await t.close();
    await proxy.close();
    await db.drop();
  });

  /** One request for each access path: the guard, the pool, a transaction, and Better Auth. */
  const requestAll = () => [
    t.http.get('/v1/users/me').set(person.auth),
    t.http.get('/v1/sessions').set(person.auth),
    t.http.patch('/v1/users/me').set(person.auth).send({ name: 'Somebody' }),
    t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }),
    t.http.get('/health/ready'),
  ];

  it('is answered with 503 and Retry-After, and needs no restart when it is available again', async () => {
    expect((await Promise.all(requestAll())).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    await proxy.cut();
    for (const { status, headers, body } of await Promise.all(requestAll()))
      expect([status, headers['retry-after'], body.code]).toEqual([503, '1', 'service_unavailable']);
    await t.http.get('/health/live').expect(200);
    await proxy.resume();
    await until(async () => (await Promise.all(requestAll())).every(({ status }) => status === 200));
  });

  it('leaves its own metrics out of a scrape, and no others', async () => {
    const omitted = async () => Number(/^tenantry_metrics_omitted (\d+)$/m.exec((await t.http.get('/metrics').expect(200)).text)?.[1]);
    expect(await omitted()).toBe(0);
    await proxy.cut();
    const { text } = await t.http.get('/metrics').expect(200);
    expect(text).toContain('http_request_duration_seconds_count{');
    expect(text).not.toContain('tenantry_outbox_entries{');
    expect(await omitted()).toBeGreaterThan(5);
    await proxy.resume();
    await until(async () => (await omitted()) === 0);
  });
});
