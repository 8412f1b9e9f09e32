import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import supertest from 'supertest';
import { GITHUB_ENVIRONMENT } from '../simulators/oauth.js';
import { testEnvironment } from '../support/app.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { signUp } from '../support/people.js';
import { until } from '../support/until.js';

const PASSWORD = 'a password for the log';

/** Reads the output of a real process, without the test runner in between. */
describe('the log of authentication', () => {
  let db: TestDatabase;
  let child: ChildProcess;
  let http: ReturnType<typeof supertest>;
  let written = '';
  const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-log-'));
  beforeAll(async () => {
    db = await createTestDatabase();
    const port = await freePort();
    child = spawn(process.execPath, [path.resolve('dist/main.js')], {
      cwd: directory,
      env: {
        ...testEnvironment(db.url),
        ...GITHUB_ENVIRONMENT,
        NODE_ENV: 'production',
        HOST: '127.0.0.1',
        PORT: String(port),
        LOG_LEVEL: 'trace',
      },
    });
    for (const stream of [child.stdout!, child.stderr!]) stream.on('data', (chunk: Buffer) => (written += chunk.toString()));
    http = supertest(`http://127.0.0.1:${port}`);
    await until(
      async () => (await http.get('/health/ready').catch(() => undefined))?.status === 200,
      () => written,
      60_000,
    );
  }, 90_000);
  afterAll(async () => {
    // This test is not about the shutdown.
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    await db.drop();
    rmSync(directory, { recursive: true, force: true });
  });

  it('contains no address, password, hash or token, whatever fails', async () => {
    const person = await signUp({ http }, { email: 'logged-person@example.com', password: PASSWORD });
    const [account] = await db.rows<{ password: string }>('SELECT password FROM accounts WHERE user_id = $1', [person.id]);
    const sessionHash = (await db.rows<{ token: string }>('SELECT token FROM sessions WHERE user_id = $1', [person.id]))[0]!.token;
    const email = person.email;

    await http.post('/v1/auth/sign-up/email').send({ name: 'Taken', email, password: PASSWORD }).expect(409);
    await http
      .post('/v1/auth/sign-in/email')
      .send({ email, password: `${PASSWORD} but wrong` })
      .expect(401);
    await http.post('/v1/auth/sign-in/email').send({ email, password: PASSWORD, callbackURL: 'https://evil.example' }).expect(403);
    await http.get(`/v1/auth/verify-email?token=secret-in-a-link&callbackURL=/x`).expect(302);
    await http.get(`/v1/auth/callback/github?code=secret-in-a-code&state=secret-in-a-state`).expect(302);
    await http.get('/v1/auth/reset-password/secret-in-a-path?callbackURL=/x').expect(302);
    await http.get('/V1/AUTH/Reset-Password/secret-in-a-path?callbackURL=/x').expect(302);
    await http.post('/v1/auth/request-password-reset').send({ email }).expect(200);

    // Statements that fail with personal data in their parameters.
    await db.rows('ALTER TABLE accounts RENAME COLUMN password TO lost');
    const change = { currentPassword: PASSWORD, newPassword: 'a new password for the log' };
    const failed = [
      await http.post('/v1/auth/sign-up/email').send({ name: 'New', email: 'logged-second@example.com', password: PASSWORD }),
      await http.post('/v1/auth/sign-in/email').send({ email, password: PASSWORD }),
      await http.post('/v1/auth/change-password').set(person.auth).send(change),
      await http.post('/v1/auth/change-email').set(person.auth).send({ newEmail: 'logged-third@example.com', currentPassword: PASSWORD }),
    ];
    await db.rows('ALTER TABLE accounts RENAME COLUMN lost TO password');
    await db.rows(`ALTER TABLE users ADD CONSTRAINT nobody CHECK (email NOT LIKE 'logged-fourth%')`);
    failed.push(await http.post('/v1/auth/sign-up/email').send({ name: 'New', email: 'logged-fourth@example.com', password: PASSWORD }));
    await db.rows('ALTER TABLE sessions RENAME COLUMN token TO lost');
    failed.push(await http.get('/v1/users/me').set(person.auth), await http.post('/v1/auth/sign-out').set(person.auth));
    for (const { status, body } of failed) expect([status, body.code]).toEqual([500, 'internal_error']);
    await until(async () => failed.every(({ headers }) => written.includes(headers['x-request-id']!)));
    // Without SMTP_URL the mails fail, which is logged too.
    await until(async () => written.includes('SMTP_URL is not set'));

    expect(written).toContain('Failed query');
    const secrets = ['logged-', PASSWORD, 'a new password', '$argon2id', account!.password.split('$').at(-1)!, sessionHash, 'secret-in-a-'];
    for (const secret of [...secrets, ...person.token.split('.')]) expect(linesWith(secret)).toEqual([]);
  }, 60_000);

  const linesWith = (text: string) => written.split('\n').filter((line) => line.includes(text));
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
