import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { migrate } from '../../../src/platform/database/migrations.js';
import { testEnvironment } from '../../support/app.js';
import { createEmptyDatabase, type TestDatabase } from '../../support/database.js';
import { endProcesses, runCommand } from '../../support/processes.js';

const DRIZZLE_KIT = path.resolve('node_modules/drizzle-kit/bin.cjs');

interface Journal {
  entries: { idx: number; tag: string; when: number; version: string; breakpoints: boolean }[];
}

const journalFile = (directory: string) => path.join(directory, 'meta/_journal.json');
const readJournal = (directory: string) => JSON.parse(readFileSync(journalFile(directory), 'utf8')) as Journal;

describe('migrations', () => {
  const tags = readJournal('drizzle').entries.map(({ tag }) => tag);
  const temporary: string[] = [];
  let db: TestDatabase;

  beforeEach(async () => {
    db = await createEmptyDatabase();
  });
  afterEach(async () => {
    await endProcesses();
    await db.drop();
  });
  afterAll(() => {
    for (const folder of temporary) rmSync(folder, { recursive: true, force: true });
  });

  /** A copy of the project's migrations with one more. */
  function directoryWith(tag: string, content: string): string {
    const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-drizzle-'));
    temporary.push(directory);
    cpSync('drizzle', directory, { recursive: true });
    const journal = readJournal(directory);
    const last = journal.entries.at(-1)!;
    journal.entries.push({ ...last, idx: last.idx + 1, when: last.when + 1, tag });
    writeFileSync(journalFile(directory), JSON.stringify(journal));
    writeFileSync(path.join(directory, `${tag}.sql`), content);
    return directory;
  }

  /** A copy of the project's migrations up to one. */
  function directoryUpTo(tag: string): string {
    const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-drizzle-'));
    temporary.push(directory);
    cpSync('drizzle', directory, { recursive: true });
    const journal = readJournal(directory);
    const last = journal.entries.findIndex((entry) => entry.tag === tag);
    writeFileSync(journalFile(directory), JSON.stringify({ ...journal, entries: journal.entries.slice(0, last + 1) }));
    return directory;
  }

  const recorded = async () => (await db.rows<{ created_at: string }>('SELECT created_at FROM drizzle.__drizzle_migrations')).length;

  it('are applied once by five replicas that start together on an empty database', async () => {
    const process = runCommand(['db', 'migrate'], { env: { ...testEnvironment(db.url), NODE_ENV: 'production' } });
    const runners = Array.from({ length: 4 }, async () => ({ code: 0, output: outputOf(await migrate(db.url)) }));
    const processes = await Promise.all([process, ...runners]);
    expect(processes.map(({ code }) => code)).toEqual([0, 0, 0, 0, 0]);
    expect(processes.map(({ output }) => output).sort()).toEqual([outputOf(tags), ...Array<string>(4).fill('Nothing to apply\n')].sort());
    expect(await recorded()).toBe(tags.length);
  });

  it('may run outside a transaction while other replicas wait for their turn', async () => {
    const directory = directoryWith(
      '9999_concurrently',
      '-- no-transaction\nCREATE INDEX CONCURRENTLY users_name_idx ON users (name);\n--> statement-breakpoint\nCREATE INDEX CONCURRENTLY users_image_idx ON users (image_url);',
    );
    const applied = await Promise.all(Array.from({ length: 5 }, () => migrate(db.url, directory)));
    expect(applied.filter((of) => of.length > 0)).toEqual([[...tags, '9999_concurrently']]);
    const indexes = await db.rows(
      `SELECT indisvalid FROM pg_index WHERE indexrelid IN ('users_name_idx'::regclass, 'users_image_idx'::regclass)`,
    );
    expect(indexes).toEqual([{ indisvalid: true }, { indisvalid: true }]);
  });

  it('give up behind a long lock instead of blocking traffic, and succeed later', async () => {
    await migrate(db.url);
    const directory = directoryWith('9999_adds', 'ALTER TABLE users ADD COLUMN extra text;');
    const holder = new pg.Client({ connectionString: db.url });
    await holder.connect();
    await holder.query('BEGIN; LOCK TABLE users IN ACCESS SHARE MODE');
    await expect(migrate(db.url, directory)).rejects.toThrow('Migration 9999_adds failed: canceling statement due to lock timeout');
    await holder.query('COMMIT');
    await holder.end();
    expect(await migrate(db.url, directory)).toEqual(['9999_adds']);
  });

  it('assign every link that was mailed before to its user', async () => {
    await migrate(db.url, directoryUpTo('0009_ascii_emails'));
    const [user] = await db.rows<{ id: string }>(`INSERT INTO users (id, name) VALUES (gen_random_uuid(), '') RETURNING id`);
    const deletedUser = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';
    const values: Record<string, string> = {
      reset: user!.id,
      'reset of the gone': deletedUser,
      'change-email:x': JSON.stringify({ userId: user!.id, sessionId: deletedUser, newEmail: 'new@example.com' }),
      'state of linking': JSON.stringify({ callbackURL: '/', link: { userId: user!.id, email: 'a@example.com' } }),
      'state of signing in': JSON.stringify({ callbackURL: '/' }),
      'something else': 'no id {"userId"',
    };
    for (const [identifier, value] of Object.entries(values))
      await db.rows(`INSERT INTO verifications (id, identifier, value, expires_at) VALUES (gen_random_uuid(), $1, $2, now())`, [
        identifier,
        value,
      ]);
    await migrate(db.url);
    const rows = await db.rows<{ identifier: string }>('SELECT identifier FROM verifications WHERE user_id = $1 ORDER BY identifier', [
      user!.id,
    ]);
    expect(rows.map(({ identifier }) => identifier)).toEqual(['change-email:x', 'reset', 'state of linking']);
    await db.rows('DELETE FROM users WHERE id = $1', [user!.id]);
    expect(await db.rows('SELECT FROM verifications')).toHaveLength(3);
  });

  it('keep the addresses that were stored before lower-casing was limited to ASCII', async () => {
    const older = directoryUpTo('0007_usage');
    await migrate(db.url, older);
    const emails = ['ada@example.com', 'jörg@bücher.test', 'ß@example.com'];
    await db.rows(`INSERT INTO users (id, name, email) SELECT gen_random_uuid(), '', unnest($1::text[])`, [emails]);
    await migrate(db.url);
    expect((await db.rows<{ email: string }>('SELECT email FROM users ORDER BY email')).map(({ email }) => email)).toEqual(emails);
    const checks = await db.rows(
      `SELECT conname, convalidated FROM pg_constraint WHERE contype = 'c' AND conname LIKE '%\\_email\\_%lower\\_case' ORDER BY conname`,
    );
    expect(checks).toEqual([
      { conname: 'invitations_email_ascii_lower_case', convalidated: true },
      { conname: 'users_email_ascii_lower_case', convalidated: true },
    ]);
    const insert = (email: string) => db.rows(`INSERT INTO users (id, name, email) VALUES (gen_random_uuid(), '', $1)`, [email]);
    await insert('\u212AÖrg@example.com');
    await expect(insert('Kate@example.com')).rejects.toThrow('users_email_ascii_lower_case');
  });

  it('agree with drizzle-kit about the applied migrations and the tables in the code', async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'tenantry-drift-'));
    temporary.push(folder);
    cpSync('drizzle', path.join(folder, 'drizzle'), { recursive: true });
    for (const name of ['src', 'node_modules', 'drizzle.config.ts', 'package.json', 'tsconfig.json'])
      symlinkSync(path.resolve(name), path.join(folder, name));
    const kit = async (command: string) =>
      promisify(execFile)(process.execPath, [DRIZZLE_KIT, command], {
        cwd: folder,
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], DATABASE_URL: db.url },
      });
    const before = readdirSync(path.join(folder, 'drizzle'), { recursive: true });
    await migrate(db.url);
    const [generated] = await Promise.all([kit('generate'), kit('migrate')]);
    expect(generated.stdout).toContain('No schema changes, nothing to migrate');
    expect(readdirSync(path.join(folder, 'drizzle'), { recursive: true })).toEqual(before);
    expect(await recorded()).toBe(tags.length);
  });
});

function outputOf(applied: string[]): string {
  return applied.length === 0 ? 'Nothing to apply\n' : `Applied ${applied.join(', ')}\n`;
}
