import supertest from 'supertest';
import { GITHUB_ENVIRONMENT } from '../simulators/oauth.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { signUp } from '../support/people.js';
import { endProcesses, type Process, ready, startServer } from '../support/processes.js';
import { until } from '../support/until.js';

const PASSWORD = 'a password for the log';

/** Reads the output of a real process, without the test runner in between. */
describe('the log of authentication', () => {
  let db: TestDatabase;
  let server: Process;
  let http: ReturnType<typeof supertest>;
  beforeAll(async () => {
    db = await createTestDatabase();
    server = await ready(await startServer(db.url, { ...GITHUB_ENVIRONMENT, NODE_ENV: 'production', LOG_LEVEL: 'trace' }));
    http = supertest(server.url);
  }, 90_000);
  afterAll(async () => {
    // This test is not about the shutdown.
    await endProcesses();
    await db.drop();
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
    await until(async () => failed.every(({ headers }) => server.output().includes(headers['x-request-id']!)));
    // Without SMTP_URL the mails fail, which is logged too.
    await until(async () => server.output().includes('SMTP_URL is not set'));

    expect(server.output()).toContain('Failed query');
    const secrets = ['logged-', PASSWORD, 'a new password', '$argon2id', account!.password.split('$').at(-1)!, sessionHash, 'secret-in-a-'];
    for (const secret of [...secrets, ...person.token.split('.')]) expect(linesWith(secret)).toEqual([]);
  }, 60_000);

  const linesWith = (text: string) =>
    server
      .output()
      .split('\n')
      .filter((line) => line.includes(text));
});
