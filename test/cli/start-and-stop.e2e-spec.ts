import { request } from 'node:http';
import { createServer } from 'node:net';
import pg from 'pg';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { PASSWORD } from '../support/people.js';
import { endProcesses, ready, startServer, statusOf } from '../support/processes.js';
import { until, untilLocked } from '../support/until.js';

/** Runs the built program in a separate process. */
describe('the server', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterEach(endProcesses);
  afterAll(() => db.drop());

  it('starts and logs its address, and after SIGTERM finishes requests, accepts no new ones, and exits with 0', async () => {
    const server = await ready(await startServer(db.url));
    await until(() => server.output().includes(`Tenantry is listening on`));
    const holder = new pg.Client({ connectionString: db.url });
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE');
    const signingUp = new Promise<number | undefined>((resolve, reject) => {
      const body = JSON.stringify({ email: 'in-flight@example.com', name: 'In Flight', password: PASSWORD });
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const call = request(`${server.url}/v1/auth/sign-up/email`, { method: 'POST', headers }, (answer) =>
        answer.resume().once('end', () => resolve(answer.statusCode)),
      );
      call.once('error', reject).end(body);
    });
    await untilLocked(db);
    server.kill('SIGTERM');
    await until(async () => (await statusOf(`${server.url}/health/live`)) === undefined);
    expect(server.hasEnded()).toBe(false);
    await holder.query('COMMIT');
    await holder.end();
    expect(await signingUp).toBe(200);
    expect(await server.ended).toEqual({ code: 0, signal: null });
    expect(server.output()).not.toMatch(/"level":[56]0/);
  });

  it('does not start with an invalid configuration, and names every error', async () => {
    const server = await startServer(db.url, { NODE_ENV: 'production', AUTH_SECRET: 'short', PORT: '70000' });
    expect(await server.ended).toEqual({ code: 1, signal: null });
    expect(server.output()).toMatch(/^The configuration is wrong:\n {2}- PORT .*\n {2}- AUTH_SECRET must be at least 32 characters/m);
  });

  it('does not start without its database', async () => {
    const server = await startServer(`postgres://postgres@127.0.0.1:${await freePort()}/nothing`, {
      DATABASE_DIRECT_URL: `postgres://postgres@127.0.0.1:${await freePort()}/nothing`,
    });
    expect(await server.ended).toEqual({ code: 1, signal: null });
    expect(server.output()).toContain('ECONNREFUSED');
  });

  it('does not start on a port in use, and says so', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    const server = await startServer(db.url, { PORT: String(port) });
    expect(await server.ended).toEqual({ code: 1, signal: null });
    expect(server.output()).toContain(`Port ${port} is in use.`);
    await new Promise((resolve) => other.close(resolve));
  });
});
