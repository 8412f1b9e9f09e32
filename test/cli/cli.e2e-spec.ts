import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { loadConfig } from '../../src/platform/config/config.js';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { startTestApp, type TestApp, testEnvironment } from '../support/app.js';
import { signUp } from '../support/people.js';
import { endProcesses, runCommand } from '../support/processes.js';

const NEW_KEY = `newer:${Buffer.alloc(32, 8).toString('base64')}`;

describe('the command line', () => {
  let t: TestApp;
  let env: Record<string, string>;
  beforeAll(async () => {
    t = await startTestApp();
    env = testEnvironment(t.db.url);
  });
  afterEach(endProcesses);
  afterAll(() => t.close());

  const cli = (args: string[], more: Record<string, string> = {}) => runCommand(args, { env: { ...env, ...more } });

  it('grants and revokes operator rights', async () => {
    const person = await signUp(t);
    await t.http.get('/v1/jobs').set(person.auth).expect(403);
    expect(await cli(['operator', 'grant', person.email.toUpperCase()])).toMatchObject({ code: 0 });
    await t.http.get('/v1/jobs').set(person.auth).expect(200);
    expect(await cli(['operator', 'revoke', person.email])).toEqual({ code: 0, output: `${person.email} is no longer an operator\n` });
    await t.http.get('/v1/jobs').set(person.auth).expect(403);
  });

  it('explains an error in a sentence, and exits with 2 for a wrong command line', async () => {
    const [person, group, command, option, argument] = await Promise.all([
      cli(['operator', 'grant', 'nobody@example.com']),
      cli(['operators', 'grant']),
      cli(['operator', 'grand', 'ada@example.com']),
      cli(['clerk', 'verify', '--fx']),
      cli(['db', 'grant-app']),
    ]);
    expect(person).toEqual({ code: 1, output: 'There is no such user.\n' });
    const hint = 'Add --help to see what the command takes.\n';
    expect(group).toEqual({ code: 2, output: `Unknown command 'operators'.\n${hint}` });
    expect(command).toEqual({ code: 2, output: `Unknown command 'grand'.\n(Did you mean grant?)\n${hint}` });
    expect(option).toEqual({ code: 2, output: `Unknown option '--fx'.\n(Did you mean --fix?)\n${hint}` });
    expect(argument).toEqual({ code: 2, output: `Missing required argument 'role'.\n${hint}` });
  });

  it('explains that the database is unavailable, and verify exits with 2', async () => {
    const url = `postgres://postgres@127.0.0.1:${await freePort()}/x`;
    const away = { DATABASE_URL: url, DATABASE_DIRECT_URL: url };
    const [migrated, verified] = await Promise.all([cli(['db', 'migrate'], away), cli(['usage', 'verify'], away)]);
    for (const { output } of [migrated, verified])
      expect(output).toMatch(/^The database is unavailable: connect ECONNREFUSED 127\.0\.0\.1:\d+\n$/);
    expect([migrated.code, verified.code]).toEqual([1, 2]);
  });

  it('reports differences in each check, and exits with 2 for an unconfigured provider', async () => {
    const [usage, billing, clerk] = await Promise.all([cli(['usage', 'verify']), cli(['billing', 'verify']), cli(['clerk', 'verify'])]);
    expect(usage).toEqual({ code: 0, output: 'Nothing differs\n' });
    for (const { code, output } of [billing, clerk]) {
      expect(code).toBe(2);
      expect(output).toMatch(/^[^\n]+\n$/);
    }
  });

  it('requeues dead outbox entries, and has nothing to migrate', async () => {
    await t.db.rows(
      `INSERT INTO outbox (id, kind, payload, attempts, next_attempt_at, last_error) SELECT gen_random_uuid(), 'test.nobody', '', 80, NULL, 'no' FROM generate_series(1, 3)`,
    );
    const [retried, migrated] = await Promise.all([cli(['outbox', 'retry']), cli(['db', 'migrate'])]);
    expect(retried).toEqual({ code: 0, output: '3 entries will be tried again\n' });
    expect(migrated).toEqual({ code: 0, output: 'Nothing to apply\n' });
    expect(await t.db.rows(`SELECT 1 FROM outbox WHERE kind = 'test.nobody' AND next_attempt_at IS NULL`)).toEqual([]);
  });

  it('re-encrypts data with the newest key, after which the older key can be removed', async () => {
    const person = await signUp(t);
    const token = new Keyring(loadConfig(env)).encrypt('a token', 'accounts.token');
    await t.db.rows(
      `INSERT INTO accounts (id, user_id, provider, provider_account_id, access_token) VALUES (gen_random_uuid(), $1, 'github', '1', $2)`,
      [person.id, token],
    );
    const rotated = await cli(['keys', 'rotate'], { ENCRYPTION_KEYS: `${NEW_KEY},${env['ENCRYPTION_KEYS']}` });
    expect(rotated).toEqual({ code: 0, output: expect.stringMatching(/^Encrypted 1 accounts, /) });
    const [row] = await t.db.rows<{ access_token: string }>(`SELECT access_token FROM accounts WHERE provider = 'github'`);
    expect(new Keyring(loadConfig({ ...env, ENCRYPTION_KEYS: NEW_KEY })).decrypt(row!.access_token, 'accounts.token')).toBe('a token');
  });

  it('seeds no demo in production', async () => {
    expect(await cli(['demo', 'seed'], { NODE_ENV: 'production' })).toEqual({
      code: 1,
      output: 'The demo is not available in production.\n',
    });
    expect(await t.db.rows(`SELECT FROM users WHERE email LIKE '%@demo.test'`)).toEqual([]);
  });
});
