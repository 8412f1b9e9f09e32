import { request as send } from 'node:http';
import supertest from 'supertest';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { type SignedInPerson, signUp, signUpOperator } from '../../support/people.js';
import { endProcesses, type Process, ready, startServer } from '../../support/processes.js';
import { until } from '../../support/until.js';

interface Line {
  level: number;
  msg: string;
  reqId: string;
  req: { method: string; path: string };
  res: { status: number };
  route?: string;
  userId?: string;
  apiKeyId?: string;
  organizationId?: string;
}

/** Reads the output of a process in production. */
describe('the log', () => {
  let db: TestDatabase;
  let server: Process;
  let http: ReturnType<typeof supertest>;
  let admin: SignedInPerson;
  let organizationId: string;
  let key: { id: string; secret: string };

  beforeAll(async () => {
    db = await createTestDatabase();
    server = await ready(await startServer(db.url, { NODE_ENV: 'production', LOG_LEVEL: 'trace' }));
    http = supertest(server.url);
    admin = await signUpOperator({ http, db });
    const created = await http.post('/v1/organizations').set(admin.auth).send({ name: 'Logged' }).expect(201);
    organizationId = created.body.id;
    const { body } = await http
      .post(`/v1/organizations/${organizationId}/api-keys`)
      .set(admin.auth)
      .send({ name: 'logged', scopes: ['usage:read'] })
      .expect(201);
    key = { id: body.id, secret: body.key };
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
  });

  /** The one line of a request. */
  async function lineOf({ headers }: { headers: Record<string, unknown> }): Promise<Line> {
    const lines = () =>
      (server.log() as unknown as Line[]).filter(({ reqId, req }) => reqId === headers['x-request-id'] && req !== undefined);
    await until(() => lines().length > 0);
    expect(lines()).toHaveLength(1);
    return lines()[0]!;
  }

  it('names the route, the user and the organization of a request', async () => {
    const line = await lineOf(await http.get(`/v1/organizations/${organizationId.toUpperCase()}?x=1`).set(admin.auth).expect(200));
    expect(line).toMatchObject({
      level: 30,
      route: '/v1/organizations/:organizationId',
      userId: admin.id,
      organizationId,
      res: { status: 200 },
    });
    expect(line).not.toHaveProperty('apiKeyId');
  });

  it('names the key and its organization', async () => {
    const line = await lineOf(await http.get(`/v1/organizations/${organizationId}/usage`).set('x-api-key', key.secret).expect(200));
    expect(line).toMatchObject({ route: '/v1/organizations/:organizationId/usage', apiKeyId: key.id, organizationId });
    expect(line).not.toHaveProperty('userId');
  });

  it('names the caller of a refused request, and nobody where nobody is known', async () => {
    const outsider = await signUp({ http });
    const refused = await http.delete(`/v1/organizations/${organizationId}`).set(outsider.auth).expect(404);
    expect(await lineOf(refused)).toMatchObject({ userId: outsider.id, res: { status: 404 } });
    for (const call of [http.get('/v1/users/me').expect(401), http.get('/v1/plans').expect(200), http.get('/no/such/route').expect(404)]) {
      const line = await lineOf(await call);
      for (const name of ['userId', 'apiKeyId', 'organizationId']) expect(line).not.toHaveProperty(name);
    }
  });

  it('has lines of JSON for the start and the address, and one warning that no mail can be sent', () => {
    const messages = server.log().map(({ level, msg }) => `${String(level)} ${String(msg)}`);
    for (const message of [
      '30 Tenantry is starting',
      '30 Tenantry is listening on http://localhost:3000',
      '40 No mail can be sent: set SMTP_URL',
    ])
      expect(messages.filter((one) => one === message)).toHaveLength(1);
    expect(
      server
        .output()
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('{')),
    ).toEqual([]);
  });

  it('has a job without work at debug only', async () => {
    const done = () => server.log().filter(({ msg }) => /^Job \w+ done: 0$/.test(String(msg)));
    await until(() => done().length > 0);
    expect(new Set(done().map(({ level }) => level))).toEqual(new Set([20]));
  });

  it('holds no secret, wherever a request has it', async () => {
    const session = admin.token;
    const unsigned = session.split('.')[0]!;
    const secrets = [key.secret, session, encodeURIComponent(session), unsigned, 'eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0'];
    const calls = secrets.flatMap((secret) => {
      const encoded = encodeURIComponent(secret);
      const paths = [
        `/v1/users/me?token=${encoded}`,
        `/v1/users/me?%74oken=${encoded}&ACCESS_TOKEN=${encoded}`,
        `/v1/users/me%3Ftoken=${encoded}`,
        `/v1/users/me;token=${encoded}`,
        `/v1/users/me/${encoded}`,
        `/v1/users/${encoded}/x`,
        `//v1//${encoded}`,
        `/v1/jobs/${encoded}/run`,
        `/v1/organizations/${encoded}`,
        `/v1/auth/reset-password/${encoded}`,
        `/V1/AUTH/Reset%2dPassword/${encoded}`,
        `/v1/auth%2freset-password%2f${encoded}`,
        `/v1/auth/verify-email?token=${encoded}`,
        `/${'x/'.repeat(240)}${encoded}`,
        `/v1/users/me#${encoded}`,
      ].map((path) => ({ path, headers: {} }));
      const headers = [
        { authorization: secret },
        { authorization: `Bearer ${secret}` },
        { authorization: `bearer  ${secret} ${secret}` },
        { authorization: `Token token="${secret}"` },
        { authorization: `Basic ${Buffer.from(`:${secret}`).toString('base64')}` },
        { 'proxy-authorization': `Bearer ${secret}` },
        { 'x-api-key': secret, authorization: secret },
        { 'x-api-key': `Bearer ${secret}` },
        { cookie: `session=${secret}; __Host-session=${secret}` },
        // Without its signature a token opens nothing, and looks like the id of a request.
        ...(secret === unsigned ? [] : [{ 'x-request-id': secret }]),
        { 'x-forwarded-for': secret, forwarded: `for=${secret}`, host: encoded.slice(0, 50) },
        { origin: `https://${encoded}`, referer: `https://x.test/?token=${secret}`, 'user-agent': secret },
        { 'content-type': secret, 'content-encoding': secret, 'idempotency-key': secret },
      ].map((given) => ({ path: '/v1/users/me', headers: Object.fromEntries(Object.entries(given)) }));
      return [...paths, ...headers];
    });
    const ids: string[] = [];
    for (const call of calls) ids.push(await idOf(call));
    const body = { email: `${unsigned}@example.com`, password: key.secret, token: session, name: session };
    for (const path of ['/v1/auth/sign-in/email', '/v1/auth/reset-password', '/v1/auth/sign-up/email', `/v1/jobs/${unsigned}/run`]) {
      ids.push((await http.post(path).set(admin.auth).send(body)).headers['x-request-id']!);
      ids.push((await http.post(path).set('content-type', 'application/json').send(`{"token":"${session}`)).headers['x-request-id']!);
    }
    await until(() => ids.every((id) => server.output().includes(id)));
    for (const secret of [...secrets, unsigned])
      expect(
        server
          .output()
          .split('\n')
          .filter((line) => line.includes(secret)),
      ).toEqual([]);
  });

  /** Sends what `fetch` would correct. Returns the id of the request. */
  function idOf({ path, headers }: { path: string; headers: Record<string, string> }): Promise<string> {
    return new Promise((resolve, reject) => {
      const { hostname: host, port } = new URL(server.url);
      send({ host, port, path, headers, agent: false }, (response) => {
        response.resume().once('end', () => resolve(String(response.headers['x-request-id'])));
      })
        .once('error', reject)
        .end();
    });
  }
});
