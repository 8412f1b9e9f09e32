import { existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { loadConfig } from '../../src/platform/config/config.js';
import { Keyring } from '../../src/platform/crypto/keyring.service.js';
import { freePort } from '../../src/platform/database/embedded/free-port.js';
import { startTestApp, type TestApp, testEnvironment } from '../support/app.js';
import { signUp } from '../support/people.js';
import { endProcesses, processesIn, run, runCommand } from '../support/processes.js';

const OLD_KEY = `test:${Buffer.alloc(32, 7).toString('base64')}`;
const NEW_KEY = `newer:${Buffer.alloc(32, 8).toString('base64')}`;

describe('the command line', () => {
  let t: TestApp;
  let env: Record<string, string>;
  let folder: string;

  beforeAll(async () => {
    t = await startTestApp();
    env = testEnvironment(t.db.url);
    folder = mkdtempSync(path.join(tmpdir(), 'tenantry-cli-'));
    for (const part of ['node_modules', 'dist', 'drizzle', 'package.json']) symlinkSync(path.resolve(part), path.join(folder, part));
  });
  afterEach(endProcesses);
  afterAll(async () => {
    await t.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const cli = (args: string[], more: Record<string, string> = {}) => runCommand(args, { cwd: folder, env: { ...env, ...more } });

  it('grants the application’s role its rights repeatedly', async () => {
    const { username } = new URL(env['DATABASE_URL']!);
    for (let round = 0; round < 2; round += 1)
      expect(await cli(['db', 'grant-app', username])).toEqual({ code: 0, output: `The role ${username} has its rights\n` });
    expect(await cli(['db', 'grant-app'])).toEqual({ code: 2, output: expect.stringMatching(/^Missing required argument 'role'\./) });
    expect(await cli(['db', 'grant-app', 'pg_monitor'])).toMatchObject({
      code: 1,
      output: expect.stringMatching(/^The name of the role must/),
    });
  });

  it('re-encrypts provider tokens with the newest key, after which the older key can be removed', async () => {
    const person = await signUp(t);
    const keyring = new Keyring(loadConfig(env));
    const [access, refresh] = ['access', 'refresh'].map((token) => keyring.encrypt(token, 'accounts.token'));
    await t.db.rows(
      `INSERT INTO accounts (id, user_id, provider, provider_account_id, access_token, refresh_token)
       SELECT gen_random_uuid(), $1, 'github', n, $2, CASE WHEN n % 2 = 0 THEN $3 END FROM generate_series(1, 250) n`,
      [person.id, access, refresh],
    );
    const rotated = await cli(['keys', 'rotate'], { ENCRYPTION_KEYS: `${NEW_KEY},${OLD_KEY}` });
    expect(rotated).toEqual({ code: 0, output: expect.stringMatching(/^Encrypted 250 accounts/) });
    const withoutOld = new Keyring(loadConfig({ ...env, ENCRYPTION_KEYS: NEW_KEY }));
    const rows = await t.db.rows<{ access_token: string; refresh_token: string | null }>(
      `SELECT access_token, refresh_token FROM accounts WHERE provider = 'github'`,
    );
    expect(new Set(rows.map((row) => withoutOld.decrypt(row.access_token, 'accounts.token')))).toEqual(new Set(['access']));
    const refreshed = rows.flatMap((row) => (row.refresh_token === null ? [] : [withoutOld.decrypt(row.refresh_token, 'accounts.token')]));
    expect(refreshed).toEqual(Array<string>(125).fill('refresh'));
  });

  it('seeds the demo into any database on request, but never in production', async () => {
    const refused = await cli(['demo', 'seed'], { NODE_ENV: 'production' });
    expect(refused).toEqual({ code: 1, output: 'The demo is not available in production.\n' });
    expect(await t.db.rows(`SELECT FROM users WHERE email LIKE '%@demo.test'`)).toEqual([]);
    expect(existsSync(path.join(folder, '.data/demo.json'))).toBe(false);

    const seeded = await cli(['demo', 'seed']);
    expect(seeded.code).toBe(0);
    const [email, password] = seeded.output.split('\n')[0]!.split('  ') as [string, string];
    await t.http.post('/v1/auth/sign-in/email').send({ email, password }).expect(200);

    // Without the file the passwords are lost; the next run sets new ones and changes nothing else.
    rmSync(path.join(folder, '.data/demo.json'));
    const again = await cli(['demo', 'seed']);
    const [ada, newPassword] = again.output.split('\n')[1]!.split('  ') as [string, string];
    const { body } = await t.http.post('/v1/auth/sign-in/email').send({ email: ada, password: newPassword }).expect(200);
    const own = await t.http.get('/v1/organizations').set('authorization', `Bearer ${body.token}`).expect(200);
    expect(own.body.data).toMatchObject([{ name: 'Demo Inc.', slug: 'demo-inc', role: 'admin' }]);
  });
});

describe('a process in production', () => {
  afterEach(endProcesses);

  it.each([
    [
      'without a configuration',
      {},
      ['DATABASE_URL is not set', 'AUTH_SECRET is not set', 'ENCRYPTION_KEYS is not set', 'PUBLIC_URL is not set'],
    ],
    [
      'with an invalid configuration',
      { DATABASE_URL: 'localhost', AUTH_SECRET: 'short', ENCRYPTION_KEYS: 'x', PORT: 'http' },
      [
        'PORT must be a port',
        'DATABASE_URL must be a postgres:// URL',
        'AUTH_SECRET must be at least 32 characters',
        'ENCRYPTION_KEYS must be id:key pairs',
        'PUBLIC_URL is not set',
      ],
    ],
  ])('%s names every error, exits with 1 and starts nothing', async (_, given: Record<string, string>, mistakes) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tenantry-production-'));
    for (const part of ['node_modules', 'dist', 'drizzle', 'package.json']) symlinkSync(path.resolve(part), path.join(folder, part));
    const one = run('main.js', [], { cwd: folder, env: { NODE_ENV: 'production', ...given } });
    expect(await one.ended).toEqual({ code: 1, signal: null });
    const [title, ...lines] = one.output().trimEnd().split('\n');
    expect(title).toBe('The configuration is wrong:');
    expect(lines).toHaveLength(mistakes.length);
    for (const [index, mistake] of mistakes.entries()) expect(lines[index]).toContain(`  - ${mistake}`);
    expect(existsSync(path.join(folder, '.data'))).toBe(false);
    expect(processesIn(folder)).toEqual([]);
    rmSync(folder, { recursive: true });
  });

  it('without its database exits with 1 instead of serving', async () => {
    const one = run('main.js', [], {
      env: { ...testEnvironment(`postgres://postgres@127.0.0.1:${await freePort()}/x`), NODE_ENV: 'production' },
    });
    expect(await one.ended).toEqual({ code: 1, signal: null });
    expect(one.output()).toContain('ECONNREFUSED');
  });
});
