import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import supertest from 'supertest';
import { startTestApp } from '../support/app.js';
import { deliverConcurrently, untilProcessed } from '../support/clerk/clerk-deliveries.js';
import { clerkEvent, CLERK_WEBHOOK_SECRET, deliver, emailData, newMessageId, sign, userData } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { dumpOf } from '../support/dump.js';
import { endProcesses, type Process, ready, startServer, until } from '../support/processes.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

const ENVIRONMENT = { CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET };
/** The number of events that a process handles concurrently: half of its connections. */
const LANES = 5;

interface StoredEvent {
  status: string;
  attempts: number;
  last_error: string | null;
}

let db: TestDatabase;
beforeEach(async () => {
  db = await createTestDatabase();
});
afterEach(async () => {
  await endProcesses();
  await db.drop();
});

const start = async (environment = {}) => ready(await startServer(db.url, { ...ENVIRONMENT, ...environment }));
const eventOf = async (messageId: string) =>
  (await db.rows<StoredEvent>('SELECT status, attempts, last_error FROM webhook_events WHERE message_id = $1', [messageId]))[0]!;
const entriesOf = (messageId: string) => db.rows('SELECT 1 FROM audit_log WHERE request_id = $1', [messageId]);
const count = async (text: string) => (await db.rows<{ count: number }>(`SELECT count(*)::int FROM ${text}`))[0]!.count;

let users = 0;
function newUser(): { messageId: string; body: string } {
  users += 1;
  return { messageId: newMessageId(), body: JSON.stringify(clerkEvent('user.created', userData({ id: `user_${users}` }))) };
}

/** Blocks writes to users until `letGo` is called. */
async function holdEffects(): Promise<{ letGo(): Promise<void> }> {
  const client = new pg.Client({ connectionString: db.url });
  await client.connect();
  await client.query('BEGIN; LOCK TABLE users IN SHARE MODE');
  return {
    letGo: async () => {
      await client.query('ROLLBACK');
      await client.end();
    },
  };
}

/** The number of blocked writes. */
const countHeld = async () =>
  count(`pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%users%'`);
const isHeld = async () => (await countHeld()) > 0;

/** Kills a server, and waits until the database has ended its transactions. */
async function kill(server: Process, held: { letGo(): Promise<void> }): Promise<void> {
  server.kill('SIGKILL');
  await server.ended;
  await held.letGo();
  await until('its transactions are over', async () => {
    const text = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantry'`;
    return (await db.rows(text)).length === 0;
  });
}

describe('an event that was answered with 202', () => {
  it('is applied once, within two seconds after a restart, when the process was killed before', async () => {
    const first = await start();
    const held = await holdEffects();
    const { messageId, body } = newUser();
    expect(await deliver(first.url, body, { id: messageId })).toMatchObject({ status: 202 });
    await until('the effect is under way', isHeld);
    await kill(first, held);
    expect(await eventOf(messageId)).toMatchObject({ status: 'pending', attempts: 1 });
    expect(await count('users')).toBe(0);

    await start();
    const restarted = performance.now();
    await until('it is processed', async () => (await eventOf(messageId)).status === 'processed');
    expect(performance.now() - restarted).toBeLessThan(2000);
    expect(await eventOf(messageId)).toMatchObject({ attempts: 2, last_error: null });
    expect(await count('users')).toBe(1);
    expect(await entriesOf(messageId)).toHaveLength(1);
  });

  it('counts every attempt that ended with its process, and becomes dead after too many', async () => {
    const { messageId, body } = newUser();
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      const held = await holdEffects();
      const server = await start();
      if (attempt === 1) await deliver(server.url, body, { id: messageId });
      await until('the effect is under way', isHeld);
      await kill(server, held);
      expect(await eventOf(messageId)).toMatchObject({ status: 'pending', attempts: attempt });
    }
    // As after the thirtieth attempt.
    await db.rows('UPDATE webhook_events SET attempts = 30');
    await start();
    await until('it is dead', async () => (await eventOf(messageId)).status === 'dead');
    expect(await eventOf(messageId)).toMatchObject({ last_error: 'The last attempt did not finish' });
    expect(await count('users')).toBe(0);
  });

  it('is not lost by a SIGTERM', async () => {
    let server = await start({ LOG_LEVEL: 'warn' });
    const accepted = new Set<string>();
    let isOver = false;
    const stream = async () => {
      while (!isOver) {
        const { messageId, body } = newUser();
        try {
          const { status } = await deliver(server.url, body, { id: messageId });
          if (status === 202) accepted.add(messageId);
        } catch {
          // The server is not listening for a while; Clerk would retry.
          await sleep(50);
        }
      }
    };
    const streams = Array.from({ length: 4 }, stream);
    for (let round = 1; round <= 3; round += 1) {
      const before = accepted.size;
      await until('events are under way', () => accepted.size > before + 50);
      server.kill('SIGTERM');
      expect(await server.ended).toEqual({ code: 0, signal: null });
      expect(server.output()).not.toMatch(/"level":[56]0/);
      server = await start({ LOG_LEVEL: 'warn' });
    }
    isOver = true;
    await Promise.all(streams);
    await untilProcessed({ db, urls: () => [server.url] });
    const stored = await db.rows<{ message_id: string; status: string }>('SELECT message_id, status FROM webhook_events');
    expect(stored.filter(({ status }) => status !== 'processed')).toEqual([]);
    const known = new Set(stored.map(({ message_id }) => message_id));
    expect([...accepted].filter((messageId) => !known.has(messageId))).toEqual([]);
    expect(await count('users')).toBe(stored.length);
    expect(await count(`audit_log WHERE action = 'user.created'`)).toBe(stored.length);
  });
});

it('is applied once when two processes share the work', async () => {
  const servers = [await start(), await start()];
  const held = await holdEffects();
  const events = Array.from({ length: 100 }, newUser);
  // All events go to one server, and the other one leases some of them.
  const target = { db, urls: () => [servers[0]!.url] };
  await deliverConcurrently(target, events);
  await until('both are at work', async () => (await countHeld()) > LANES);
  await held.letGo();
  await untilProcessed(target);
  // Not always at the first attempt: a process without CPU time for a second loses its lease.
  expect(await count(`webhook_events WHERE status = 'processed'`)).toBe(events.length);
  expect(await count('users')).toBe(events.length);
  expect(await count(`audit_log WHERE action = 'user.created'`)).toBe(events.length);
  const shares = await Promise.all(
    servers.map(async ({ url }) => {
      const { text } = await supertest(url).get('/metrics').expect(200);
      return Number(/^tenantry_webhook_attempts_total\{.*outcome="processed"\} (\d+)$/m.exec(text)?.[1] ?? 0);
    }),
  );
  expect(shares[0]! + shares[1]!).toBe(events.length);
  expect(Math.min(...shares)).toBeGreaterThan(0);
});

it('is answered with 503 while the database is unavailable, and is stored when it is sent again', async () => {
  const server = new URL(db.url);
  const proxy = await startTcpProxy({ host: server.hostname, port: Number(server.port) });
  server.hostname = '127.0.0.1';
  server.port = String(proxy.port);
  const t = await startTestApp({ ...ENVIRONMENT, DATABASE_URL: server.href }, db);
  try {
    const { messageId, body } = newUser();
    await proxy.cut();
    const refused = await fetch(`${t.url}/health/ready`);
    expect(refused.status).toBe(503);
    const answer = await fetch(`${t.url}/webhooks/clerk`, { method: 'POST', body, headers: sign(body, { id: messageId }) });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await answer.json()).toMatchObject({ code: 'service_unavailable' });
    expect(await count('webhook_events')).toBe(0);
    await proxy.resume();
    await until('the retry lands', async () => (await deliver(t.url, body, { id: messageId })).status === 202);
    await untilProcessed({ db, urls: () => [t.url], mayFail: true });
    expect(await count('users')).toBe(1);

    // Connections break while events are received and processed.
    const events = Array.from({ length: 200 }, newUser);
    const pouring = deliverConcurrently({ db, urls: () => [t.url] }, events);
    for (let round = 1; round <= 3; round += 1) {
      const target = round * 50;
      await until('some came through', async () => (await count('webhook_events')) > target);
      await proxy.cut();
      await proxy.resume();
    }
    await pouring;
    await untilProcessed({ db, urls: () => [t.url], mayFail: true });
    expect(await count(`webhook_events WHERE status = 'processed'`)).toBe(events.length + 1);
    expect(await count('users')).toBe(events.length + 1);
    expect(await count(`audit_log WHERE action = 'user.created'`)).toBe(events.length + 1);
  } finally {
    await proxy.resume();
    await t.close();
    await proxy.close();
  }
});

it('reveals no code in logs or tables, and no name in logs, whatever fails', async () => {
  const server = await start({ LOG_LEVEL: 'trace' });
  const code = '91827364-code';
  const secrets = [code, 'private-person@example.com', 'Private-Name'];
  await deliver(server.url, clerkEvent('email.created', emailData({ id: 'ema_1', code, to: secrets[1] })));
  await deliver(server.url, clerkEvent('sms.created', { object: 'sms_message', id: 'sms_1', message: code, data: { otp_code: code } }));
  const broken = JSON.stringify(clerkEvent('email.created', emailData({ id: 'ema_2', code }))).slice(0, -1);
  await deliver(server.url, broken);
  // A statement that fails with personal data in its parameters.
  await db.rows(`ALTER TABLE users ADD CONSTRAINT nobody CHECK (clerk_email IS NULL)`);
  const { messageId } = newUser();
  const user = { id: 'user_private', firstName: secrets[2], email: { email: secrets[1]!, verified: true } };
  await deliver(server.url, clerkEvent('user.created', userData(user)), { id: messageId });
  await until('it has failed', async () => (await eventOf(messageId)).last_error !== null);
  await until('the log says so', () => server.output().includes('A webhook event failed'));
  const dump = await dumpOf(db);
  for (const secret of secrets) {
    expect(server.output()).not.toContain(secret);
    for (const form of [secret, Buffer.from(secret).toString('base64').slice(0, -4), Buffer.from(secret).toString('hex')]) {
      expect(dump).not.toContain(form);
    }
  }
});
