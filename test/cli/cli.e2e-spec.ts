import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { loadConfig } from '../../src/platform/config/config.js';
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

  it('grants and takes away the rights of an operator', async () => {
    const person = await signUp(t);
    await t.http.get('/v1/jobs').set(person.auth).expect(403);
    expect(await cli(['operator', 'grant', person.email.toUpperCase()])).toMatchObject({ code: 0 });
    await t.http.get('/v1/jobs').set(person.auth).expect(200);
    expect(await cli(['operator', 'revoke', person.email])).toEqual({ code: 0, output: `${person.email} is no operator any more\n` });
    await t.http.get('/v1/jobs').set(person.auth).expect(403);
  });

  it('says what is wrong with a command in a line, and exits with 1', async () => {
    const [unknownPerson, unknownCommand] = await Promise.all([
      cli(['operator', 'grant', 'nobody@example.com']),
      cli(['operators', 'grant']),
    ]);
    expect(unknownPerson).toEqual({ code: 1, output: 'There is no such user.\n' });
    expect(unknownCommand.code).toBe(1);
    for (const usage of [
      ...[
        'operator grant <email>',
        'operator revoke <email>',
        'keys rotate',
        'outbox retry',
        'db migrate',
        'db grant-app <role>',
        'demo seed',
      ],
      ...['clerk verify', 'billing verify', 'usage verify', 'meters retry', 'webhooks send'],
    ])
      expect(unknownCommand.output).toContain(`  ${usage} `);
  });

  it('says of each check whether something differs, and that a provider which is not set up cannot be asked', async () => {
    const [usage, billing, clerk] = await Promise.all([cli(['usage', 'verify']), cli(['billing', 'verify']), cli(['clerk', 'verify'])]);
    expect(usage).toEqual({ code: 0, output: 'Nothing differs\n' });
    for (const { code, output } of [billing, clerk]) {
      expect(code).toBe(1);
      expect(output).toMatch(/^[^\n]+\n$/);
    }
  });

  it('gives dead outbox entries their attempts back, and has nothing to migrate', async () => {
    await t.db.rows(
      `INSERT INTO outbox (id, kind, payload, attempts, next_attempt_at, last_error) SELECT gen_random_uuid(), 'test.nobody', '', 80, NULL, 'no' FROM generate_series(1, 3)`,
    );
    const [retried, migrated] = await Promise.all([cli(['outbox', 'retry']), cli(['db', 'migrate'])]);
    expect(retried).toEqual({ code: 0, output: '3 entries will be tried again\n' });
    expect(migrated).toEqual({ code: 0, output: 'Nothing to apply\n' });
    expect(await t.db.rows(`SELECT 1 FROM outbox WHERE kind = 'test.nobody' AND next_attempt_at IS NULL`)).toEqual([]);
  });

  it('moves what is stored to the newest key, after which the older one can go', async () => {
    const person = await signUp(t);
    const token = new Keyring(loadConfig(env)).encrypt('a token', 'accounts.token');
    await t.db.rows(
      `INSERT INTO accounts (id, user_id, provider, provider_account_id, access_token) VALUES (gen_random_uuid(), $1, 'github', '1', $2)`,
      [person.id, token],
    );
    const rotated = await cli(['keys', 'rotate'], { ENCRYPTION_KEYS: `${NEW_KEY},${env['ENCRYPTION_KEYS']}` });
    expect(rotated).toEqual({ code: 0, output: expect.stringMatching(/^1 accounts, /) });
    const [row] = await t.db.rows<{ access_token: string }>(`SELECT access_token FROM accounts WHERE provider = 'github'`);
    expect(new Keyring(loadConfig({ ...env, ENCRYPTION_KEYS: NEW_KEY })).decrypt(row!.access_token, 'accounts.token')).toBe('a token');
  });

  it('seeds no demo in production', async () => {
    expect(await cli(['demo', 'seed'], { NODE_ENV: 'production' })).toEqual({ code: 1, output: 'The demo is not for production\n' });
    expect(await t.db.rows(`SELECT FROM users WHERE email LIKE '%@demo.test'`)).toEqual([]);
  });
});
