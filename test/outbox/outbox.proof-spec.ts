import { createServer, type Server, type Socket } from 'node:net';
import { DATABASE, type Database } from '../../src/platform/database/database.js';
import { MailService } from '../../src/mail/mail.service.js';
import { OutboxService } from '../../src/outbox/outbox.service.js';
import { startTestApp, type TestApp, testEnvironment } from '../support/app.js';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { startMailServer } from '../support/mails.js';
import { signUp } from '../support/people.js';
import { endProcesses, ready, runCommand, startServer, until } from '../support/processes.js';
import supertest from 'supertest';

interface Entry {
  kind: string;
  payload: string;
  attempts: number;
  waiting: boolean;
  done: boolean;
  last_error: string | null;
}

function entriesOf(db: TestDatabase): Promise<Entry[]> {
  return db.rows<Entry>(
    `SELECT kind, payload, attempts, next_attempt_at IS NOT NULL AS waiting, done_at IS NOT NULL AS done, last_error FROM outbox ORDER BY created_at, id`,
  );
}

/** Makes the next attempt due at once. */
function hurry(db: TestDatabase): Promise<unknown> {
  return db.rows('UPDATE outbox SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL');
}

const allDone = async (db: TestDatabase) => (await entriesOf(db)).every(({ done }) => done);

describe('the outbox', () => {
  let t: TestApp;
  let smtpPort: number;

  beforeAll(async () => {
    smtpPort = await freePort();
    t = await startTestApp({ SMTP_URL: `smtp://127.0.0.1:${smtpPort}` });
  });
  afterEach(async () => {
    await t.db.rows('DELETE FROM outbox');
  });
  afterAll(async () => {
    await endProcesses();
    await t.close();
  });

  it('keeps mails encrypted while the mail server is unavailable, and deletes their content after sending', async () => {
    const person = await signUp(t);
    await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
    const waiting = await until('both mails have been tried', async () => {
      const mails = (await entriesOf(t.db)).filter(({ kind }) => kind === 'mail');
      return mails.length === 2 && mails.every(({ last_error }) => last_error !== null) && mails;
    });
    for (const { payload, last_error, waiting: again } of waiting) {
      expect(payload).toMatch(/^test\.[\w-]{80,}$/);
      expect(Buffer.from(payload.slice(5), 'base64url').toString('latin1')).not.toContain(person.email);
      expect(last_error).toContain('ECONNREFUSED');
      expect(again).toBe(true);
    }
    const mailServer = await startMailServer({ port: smtpPort });
    await hurry(t.db);
    await mailServer.next(person.email, /Confirm/);
    await mailServer.next(person.email, /Reset/);
    await until('all is done', () => allDone(t.db));
    for (const { payload, last_error, waiting: again } of await entriesOf(t.db))
      expect({ payload, last_error, again }).toEqual({ payload: '', last_error: null, again: false });
    await mailServer.close();
  });

  it('sends nothing after a rollback', async () => {
    const mailServer = await startMailServer({ port: smtpPort });
    const [mail, db] = [t.app.get(MailService), t.app.get<Database>(DATABASE)];
    const rolledBack = db.transaction(async (tx) => {
      await mail.send({ kind: 'password_changed', to: 'never@example.com', subject: 'Never', text: 'Never' }, tx);
      throw new Error('rolled back');
    });
    await expect(rolledBack).rejects.toThrow('rolled back');
    await db.transaction((tx) => mail.send({ kind: 'password_changed', to: 'later@example.com', subject: 'Later', text: 'Later' }, tx));
    await mailServer.next('later@example.com');
    expect(mailServer.mails).toEqual([]);
    expect(await entriesOf(t.db)).toHaveLength(1);
    await mailServer.close();
  });

  it('is not blocked by a failing entry, reports dead entries and requeues them on command', async () => {
    const mailServer = await startMailServer({ port: smtpPort });
    const [outbox, mail] = [t.app.get(OutboxService), t.app.get(MailService)];
    let isBroken = true;
    let calls = 0;
    outbox.handle('test.broken', async () => {
      calls += 1;
      if (isBroken) throw new Error('This handler is broken');
      return Promise.resolve();
    });
    for (let n = 0; n < 25; n += 1) await outbox.enqueue('test.broken', { n });
    await mail.send({ kind: 'password_changed', to: 'unharmed@example.com', subject: 'Unharmed', text: 'Unharmed' });
    await mailServer.next('unharmed@example.com');
    await mailServer.close();

    await until('each was tried', () => calls >= 25);
    await t.db.rows(`UPDATE outbox SET attempts = 79, next_attempt_at = now() WHERE kind = 'test.broken'`);
    await until('all are dead', async () => (await entriesOf(t.db)).every(({ waiting }) => !waiting));
    const { text } = await t.http.get('/metrics').expect(200);
    expect(text).toContain('tenantry_outbox_entries{state="dead"} 25');
    expect(text).toContain('tenantry_outbox_entries{state="pending"} 0');
    expect((await entriesOf(t.db)).filter(({ last_error }) => last_error === 'This handler is broken')).toHaveLength(25);

    isBroken = false;
    expect(await runCommand(['outbox', 'retry'], { env: testEnvironment(t.db.url) })).toEqual({
      code: 0,
      output: '25 entries will be tried again\n',
    });
    await until('all are done', () => allDone(t.db));
    expect((await t.http.get('/metrics')).text).toContain('tenantry_outbox_entries{state="dead"} 0');
  });
});

describe('the outbox of two processes', () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createTestDatabase();
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
  });

  it('sends what a killed process had started, and each of 200 mails once', async () => {
    const silent = await startSilentServer();
    const env = { SMTP_URL: `smtp://127.0.0.1:${silent.port}`, LOG_LEVEL: 'warn' };
    const first = await ready(await startServer(db.url, env));
    const person = await signUp({ http: supertest(first.url) });
    await until('it talks to the mail server', () => silent.connections() > 0);
    first.kill('SIGKILL');
    await first.ended;
    await silent.close();
    expect(await entriesOf(db)).toMatchObject([
      { kind: 'auth.verification_requested', done: true },
      { kind: 'mail', attempts: 1, done: false },
    ]);

    const mailServer = await startMailServer({ port: silent.port });
    const second = await ready(await startServer(db.url, env));
    await hurry(db);
    await mailServer.next(person.email, /Confirm/);

    const here = await startTestApp({ SMTP_URL: env.SMTP_URL }, db);
    const mail = here.app.get(MailService);
    const recipients = Array.from({ length: 200 }, (_, n) => `recipient-${n}@example.com`);
    // One transaction, so that both processes see all entries at the same time.
    await here.app.get<Database>(DATABASE).transaction(async (tx) => {
      for (const to of recipients) await mail.send({ kind: 'password_changed', to, subject: 'Once', text: 'Once' }, tx);
    });
    await until('all are sent', () => allDone(db));
    expect(mailServer.mails.map(({ to }) => to).sort()).toEqual(recipients.sort());
    const begun = '(SELECT created_at FROM outbox ORDER BY created_at OFFSET 1 LIMIT 1)';
    expect(await db.rows(`SELECT FROM outbox WHERE attempts > 1 AND created_at > ${begun}`)).toEqual([]);
    const sentBy = await Promise.all([second.url, here.url].map(async (url) => (await fetch(`${url}/metrics`)).text()));
    for (const text of sentBy) expect(text).toMatch(/tenantry_outbox_attempts_total\{kind="mail",outcome="done"\} [1-9]/);
    await here.close();

    second.kill('SIGTERM');
    expect(await second.ended).toEqual({ code: 0, signal: null });
    await mailServer.close();
  });
});

/** Accepts connections without ever responding. */
async function startSilentServer(): Promise<{ port: number; connections(): number; close(): Promise<void> }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    socket.on('error', () => undefined);
    sockets.add(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as { port: number }).port,
    connections: () => sockets.size,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
