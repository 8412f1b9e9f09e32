import { startTestApp, type TestApp } from '../../support/app.js';
import { PASSWORD, type SignedInPerson, signUp } from '../../support/people.js';
import { openConnection, type RawConnection, slowBody } from '../../support/raw-http.js';
import { until } from '../../support/until.js';

const isCut = ({ statuses, isClosed }: RawConnection) => isClosed() && statuses()[0] === 408;

const openConnectionsOf = ({ app }: TestApp) =>
  new Promise<number>((resolve) => app.getHttpServer().getConnections((_error, count) => resolve(count)));

describe('slow clients', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let connections: RawConnection[];
  const open = (text: string, count = 1) => {
    const opened = Array.from({ length: count }, () => openConnection(t.url, text));
    connections.push(...opened);
    return opened;
  };
  const start = async (environment: Record<string, string>) => {
    t = await startTestApp(environment);
    person = await signUp(t);
  };
  const expectOthersServed = async () => {
    for (let call = 0; call < 5; call += 1) {
      await t.http.get('/v1/users/me').set(person.auth).expect(200);
      await t.http.patch('/v1/users/me').set(person.auth).send({ name: 'Served' }).expect(200);
      await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(200);
    }
    await t.http.get('/health/ready').expect(200);
  };
  beforeEach(() => {
    connections = [];
  });
  afterEach(async () => {
    for (const { socket } of connections) socket.destroy();
    await t.close();
  });

  it('do not block others: the oldest of too many bodies is ended with 408', async () => {
    await start({ MAX_CONCURRENT_REQUESTS: '20' });
    const slow = open(slowBody(), 80);
    await until(
      async () => slow.filter(isCut).length === 60,
      () => `${slow.filter(isCut).length} were cut`,
    );
    await expectOthersServed();
    const [first] = slow.filter(isCut);
    expect(first!.received()).toMatch(/\r\nconnection: close\r\n/i);
    expect(first!.received()).toContain('"code":"request_timeout"');
    // The other connections may continue.
    expect(slow.filter(({ isClosed }) => isClosed()).length).toBeLessThanOrEqual(60 + 10);
  });

  it('are distinguished behind a proxy, and only the one with too many bodies is cut', async () => {
    await start({ TRUST_PROXY: '1' });
    const patient = open(slowBody({ 'x-forwarded-for': '203.0.113.7' }), 5);
    const excessive = open(slowBody({ 'x-forwarded-for': '198.51.100.1, 203.0.113.8' }), 260);
    await until(
      async () => excessive.filter(isCut).length === 60,
      () => `${excessive.filter(isCut).length} were cut`,
    );
    expect(patient.filter(({ isClosed }) => isClosed())).toEqual([]);
    const body = JSON.stringify({ email: person.email, password: PASSWORD });
    for (const { socket } of patient) socket.write(`${' '.repeat(999 - body.length + 1)}${body.slice(1)}`);
    await until(async () => patient.every(({ statuses }) => statuses()[0] === 200));
    await expectOthersServed();
  });

  it('may announce a limited number of bytes', async () => {
    await start({ TRUST_PROXY: '1' });
    const large = { length: 1024 * 1024 };
    const excessive = open(slowBody({ 'x-forwarded-for': '203.0.113.8' }, large), 70);
    await until(async () => excessive.filter(isCut).length === 6);
    await expectOthersServed();
  });

  it('get 408 when a body or a head does not arrive in time', async () => {
    await start({ REQUEST_TIMEOUT_SECONDS: '1' });
    const [body, head, chunked, silent] = [
      open(slowBody())[0]!,
      open('POST /v1/auth/sign-in/email HTTP/1.1\r\nHost: x\r\n')[0]!,
      open(
        slowBody({ 'transfer-encoding': 'chunked' })
          .replace(/content-length: \d+\r\n/, '')
          .replace(/\{$/, '1\r\n{\r\n'),
      )[0]!,
      open('')[0]!,
    ];
    await Promise.all([body, head, chunked, silent].map(({ closed }) => closed));
    for (const one of [body, head, chunked]) {
      expect(one.statuses()).toEqual([408]);
      expect(one.received()).toContain('"code":"request_timeout"');
      expect(one.received()).toMatch(/\r\nx-request-id: [\w-]+\r\n/i);
    }
    expect(silent.received()).toBe('');
    await expectOthersServed();
  });

  it('do not block others while they do not read, and are cut in the end', async () => {
    await start({ MAX_CONCURRENT_REQUESTS: '3', REQUEST_TIMEOUT_SECONDS: '2' });
    const request = 'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n';
    const readers = open(request.repeat(200), 3);
    for (const { socket } of readers) socket.pause();
    const served = async () => (await t.http.get('/v1/users/me').set(person.auth)).status === 200;
    await until(served);
    await expectOthersServed();
    // A client that does not read does not notice that it was cut.
    await until(async () => (await openConnectionsOf(t)) === 0);
  });

  it('use their rate limit before the body is read, and only once', async () => {
    t = await startTestApp({ RATE_LIMIT_AUTH: '3/3600' });
    const left = async () => {
      const { headers } = await t.http.post('/v1/auth/sign-in/email').send({ email: 'nobody@example.com', password: PASSWORD }).expect(401);
      return /"auth";r=(\d+)/.exec(headers['ratelimit']!)?.[1];
    };
    expect([await left(), await left()]).toEqual(['2', '1']);
    const [third] = open(slowBody());
    const isSpent = `SELECT FROM rate_limits WHERE key LIKE 'auth:%' AND whole_at > now() + interval '3000 seconds'`;
    await until(async () => (await t.db.rows(isSpent)).length === 1);
    expect(third!.statuses()).toEqual([]);
    const [refused] = open(slowBody());
    await until(async () => refused!.statuses()[0] === 429);
    expect(refused!.received()).toMatch(/\r\nretry-after: \d+\r\n/i);
  });

  it('get 413 at once, however much of a large body they have sent', async () => {
    await start({});
    for (const path of ['/v1/auth/sign-in/email', '/v1/usage/batch', '/webhooks/clerk']) {
      const [large] = open(slowBody({}, { path, length: 1024 * 1024 + 1 }));
      await until(async () => large!.statuses()[0] === 413);
      expect(large!.received()).toContain('"code":"body_too_large"');
    }
  });
});
