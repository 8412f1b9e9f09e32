import { Agent, get, request } from 'node:http';
import { connect } from 'node:net';
import pg from 'pg';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { PASSWORD, signUp } from '../support/people.js';
import { endProcesses, ready, startServer, statusOf, type Process, until } from '../support/processes.js';
import supertest from 'supertest';

const REQUESTS_PER_SECOND_AND_STREAM = 100;

describe('SIGTERM', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterEach(endProcesses);
  afterAll(() => db.drop());

  /** Sends requests with a session continuously until `end` is called, and returns the number of each status or failure. */
  function load(one: Process, token: string, agent: Agent): { end(): Promise<Map<string, number>>; sent(): number } {
    const outcomes: Promise<string>[] = [];
    const send = () =>
      new Promise<string>((resolve) => {
        const call = get(`${one.url}/v1/users/me`, { agent, headers: { authorization: `Bearer ${token}` } }, (answer) => {
          let body = '';
          answer.setEncoding('utf8').on('data', (text: string) => (body += text));
          answer.once('close', () => resolve(answer.complete && body.endsWith('}') ? String(answer.statusCode) : 'cut off'));
        });
        call.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
      });
    const timer = setInterval(() => outcomes.push(send()), 1000 / REQUESTS_PER_SECOND_AND_STREAM);
    return {
      sent: () => outcomes.length,
      end: async () => {
        clearInterval(timer);
        const counts = new Map<string, number>();
        for (const outcome of await Promise.all(outcomes)) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
        return counts;
      },
    };
  }

  it('fails no request at 200 requests/s, on kept-alive and new connections', async () => {
    const one = await ready(await startServer(db.url, { SHUTDOWN_DELAY_SECONDS: '4', LOG_LEVEL: 'warn' }));
    const { token } = await signUp({ http: supertest(one.url) });
    const agents = [new Agent({ keepAlive: true, maxSockets: 40 }), new Agent({ keepAlive: false })];
    const streams = agents.map((agent) => load(one, token, agent));
    await until('the load is on', () => streams.every((stream) => stream.sent() > 50));
    one.kill('SIGTERM');
    const before = streams.map((stream) => stream.sent());
    await until('it is not ready any more', async () => (await statusOf(`${one.url}/health/ready`)) === 503);
    await until('there was traffic after the signal', () => streams.every((stream, index) => stream.sent() > before[index]!));
    // A load balancer stops sending when it sees that the server is not ready; earlier requests are served.
    const outcomes = await Promise.all(streams.map((stream) => stream.end()));
    expect(outcomes.map((counts) => [...counts.keys()])).toEqual([['200'], ['200']]);
    expect(await one.ended).toEqual({ code: 0, signal: null });
    for (const agent of agents) agent.destroy();
  });

  it('lets a request in progress finish, and closes a hanging connection', async () => {
    const one = await ready(await startServer(db.url, { SHUTDOWN_TIMEOUT_SECONDS: '6' }));
    const hanging = connect(Number(new URL(one.url).port), '127.0.0.1');
    hanging.on('error', () => undefined);
    hanging.write('POST /v1/auth/sign-in/email HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{');
    const closed = new Promise((resolve) => hanging.once('close', resolve));

    const holder = new pg.Client({ connectionString: db.url });
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE');
    const signingUp = new Promise<number | undefined>((resolve, reject) => {
      const body = JSON.stringify({ email: 'in-flight@example.com', name: 'In Flight', password: PASSWORD });
      const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
      const call = request(`${one.url}/v1/auth/sign-up/email`, { method: 'POST', headers }, (answer) => {
        answer.resume().once('end', () => resolve(answer.statusCode));
      });
      call.once('error', reject).end(body);
    });
    await until('the sign-up is at work', async () => {
      const waiting = await db.rows(`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`);
      return waiting.length > 0;
    });

    one.kill('SIGTERM');
    await until('nobody new is served', async () => (await statusOf(`${one.url}/health/live`)) === undefined);
    await holder.query('COMMIT');
    await holder.end();
    expect(await signingUp).toBe(200);
    expect(one.hasEnded()).toBe(false);
    await closed;
    expect(await one.ended).toEqual({ code: 0, signal: null });
    expect(one.output()).not.toMatch(/"level":[56]0/);
  });
});
