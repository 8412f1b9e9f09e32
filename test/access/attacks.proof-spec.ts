import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import supertest from 'supertest';
import { CLERK_WEBHOOK_SECRET, clerkEvent, sign, userData } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { PASSWORD, type SignedInPerson, signUp } from '../support/people.js';
import { endProcesses, type Process, ready, startServer } from '../support/processes.js';
import { until } from '../support/until.js';

const CALLS = 200;

/** A proxy that forwards the client's address, and shares its connections between clients. */
async function startProxy(target: string): Promise<Server> {
  const agent = new Agent({ keepAlive: true });
  const proxy = createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, 'x-forwarded-for': incoming.socket.remoteAddress };
    const call = request(`${target}${incoming.url}`, { method: incoming.method, headers, agent }, (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(outgoing);
    });
    call.on('error', () => outgoing.destroy());
    outgoing.on('close', () => call.destroy());
    incoming.pipe(call);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return proxy;
}

describe('under attack, other callers are served', () => {
  let db: TestDatabase;
  let server: Process;
  let person: SignedInPerson;
  let attacker: ChildProcess | undefined;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterEach(async () => {
    attacker?.kill('SIGKILL');
    attacker = undefined;
    await endProcesses();
  });
  afterAll(() => db.drop());

  const serve = async (environment: Record<string, string> = {}) => {
    server = await ready(
      await startServer(db.url, {
        CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
        RATE_LIMIT_AUTH: '60/60',
        LOG_LEVEL: 'warn',
        ...environment,
      }),
    );
    person = await signUp({ http: supertest(server.url) });
  };
  const attack = async (given: object) => {
    attacker = fork('bench/variants/attacker.ts', [JSON.stringify(given)], { execArgv: ['--no-warnings'] });
    await once(attacker, 'message');
  };
  const attackersAnswers = async () => {
    attacker!.send({ ask: 'answers' });
    return ((await once(attacker!, 'message')) as [Record<number, number>])[0];
  };
  /** Delivers a webhook from a provider's address. */
  const deliver = (user: string) => {
    const body = JSON.stringify(clerkEvent('user.created', userData({ id: user })));
    const headers = { ...sign(body), 'content-type': 'application/json', 'x-forwarded-for': '198.51.100.9' };
    return fetch(`${server.url}/webhooks/clerk`, { method: 'POST', headers, body });
  };
  /** Reads, writes and checks readiness, one after the other. */
  const serveOthers = async (what: string, url = server.url) => {
    const http = supertest(url);
    const times: number[] = [];
    for (let call = 0; call < CALLS; call += 1) {
      const from = performance.now();
      await http.get('/v1/users/me').set(person.auth).expect(200);
      times.push(performance.now() - from);
      if (call % 10 !== 0) continue;
      await http
        .patch('/v1/users/me')
        .set(person.auth)
        .send({ name: `Name ${call}` })
        .expect(200);
      await http.get('/health/ready').expect(200);
    }
    const sorted = times.toSorted((a, b) => a - b);
    process.stdout.write(`${what}: p50 ${sorted[CALLS / 2]!.toFixed(1)} ms, p99 ${sorted[CALLS - 2]!.toFixed(1)} ms\n`);
  };

  it('while 1,000 slow bodies come from one address', async () => {
    await serve();
    await serveOthers('calm');
    await attack({ url: server.url, attack: 'slow' });
    await until(async () => ((await attackersAnswers())[408] ?? 0) >= 300);
    // These requests come from the attacker's address and share its limit for signing in, which refills each second: 429 is a prompt
    // response too.
    await serveOthers('1,000 slow bodies from one address');
    const { status } = await supertest(server.url).post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD });
    expect([200, 429]).toContain(status);
  });

  it('while 1,000 slow bodies come from 1,000 addresses through a proxy', async () => {
    await serve({ TRUST_PROXY: '1', MAX_CONCURRENT_REQUESTS: '500' });
    const proxy = await startProxy(server.url);
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    try {
      await attack({ url, attack: 'slow', addresses: true });
      await until(async () => ((await attackersAnswers())[408] ?? 0) >= 500);
      await serveOthers('1,000 slow bodies from 1,000 addresses', url);
      await supertest(url).post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(200);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });

  it('while expensive bodies come once a second', async () => {
    await serve();
    await attack({ url: server.url, attack: 'bombs' });
    await until(async () => {
      const { 400: bounded = 0, 415: compressed = 0 } = await attackersAnswers();
      return bounded >= 4 && compressed >= 2;
    });
    await serveOthers('60 bombs a minute');
    expect(Object.keys(await attackersAnswers()).toSorted()).toEqual(['400', '415']);
  });

  it('while large bodies with wrong signatures come continuously, and a provider delivers', async () => {
    await serve({ TRUST_PROXY: '1' });
    const proxy = await startProxy(server.url);
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    try {
      await attack({ url, attack: 'forged' });
      await until(async () => ((await attackersAnswers())[429] ?? 0) >= 200);
      await serveOthers('a flood of wrong signatures');
      const delivered = await Promise.all(Array.from({ length: 50 }, (_, index) => deliver(`user_proof_${index}`)));
      expect([...new Set(delivered.map(({ status }) => status))]).toEqual([202]);
      const answers = await attackersAnswers();
      // Only the first twenty in each minute, and those in progress, were hashed.
      expect(answers[401]).toBeLessThan(200);
    } finally {
      proxy.closeAllConnections();
      proxy.close();
    }
  });
});
