import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { migrate } from '../../../src/platform/database/migrations.js';
import { startTestApp } from '../../support/app.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../../support/database.js';

interface Journal {
  entries: { idx: number; tag: string; when: number }[];
}

const JOURNAL = 'meta/_journal.json';
const journalIn = (directory: string) => JSON.parse(readFileSync(path.join(directory, JOURNAL), 'utf8')) as Journal;

describe('migrations', () => {
  const { entries } = journalIn('drizzle');
  const folders: string[] = [];
  const databases: TestDatabase[] = [];
  afterAll(async () => {
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
    for (const db of databases) await db.drop();
  });

  /** A copy of the project's migrations with one more. */
  function directoryWith(tag: string, content: string): string {
    const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-drizzle-'));
    folders.push(directory);
    cpSync('drizzle', directory, { recursive: true });
    const journal = journalIn(directory);
    const last = journal.entries.at(-1)!;
    journal.entries.push({ ...last, idx: last.idx + 1, when: last.when + 1, tag });
    writeFileSync(path.join(directory, JOURNAL), JSON.stringify(journal));
    writeFileSync(path.join(directory, `${tag}.sql`), content);
    return directory;
  }

  async function newDatabase(make: () => Promise<TestDatabase>): Promise<TestDatabase> {
    const db = await make();
    databases.push(db);
    return db;
  }

  it('are all applied once by one of several concurrent processes on an empty database', async () => {
    const db = await newDatabase(createEmptyDatabase);
    const applied = await Promise.all(Array.from({ length: 5 }, async () => migrate(db.url)));
    expect(applied.filter((tags) => tags.length > 0)).toEqual([entries.map(({ tag }) => tag)]);
    const [row] = await db.rows('SELECT count(*)::int AS count FROM drizzle.__drizzle_migrations');
    expect(row).toEqual({ count: entries.length });
  });

  it('leave no partial changes when one fails, name it, and continue after it is fixed', async () => {
    const db = await newDatabase(createTestDatabase);
    const directory = directoryWith('9999_breaks', 'CREATE TABLE half_done (id int);\n--> statement-breakpoint\nSELECT 1 / 0;');
    await expect(migrate(db.url, directory)).rejects.toThrow('Migration 9999_breaks failed: division by zero');
    expect(await db.rows(`SELECT FROM pg_tables WHERE tablename = 'half_done'`)).toEqual([]);
    writeFileSync(path.join(directory, '9999_breaks.sql'), 'CREATE TABLE half_done (id int);');
    expect(await migrate(db.url, directory)).toEqual(['9999_breaks']);
  });

  it('without a transaction run while other processes wait for their turn', async () => {
    const db = await newDatabase(createTestDatabase);
    const directory = directoryWith('9999_concurrently', '-- no-transaction\nCREATE INDEX CONCURRENTLY users_name_idx ON users (name);');
    const applied = await Promise.all(Array.from({ length: 3 }, async () => migrate(db.url, directory)));
    expect(applied.filter((tags) => tags.length > 0)).toEqual([['9999_concurrently']]);
    expect(await db.rows(`SELECT indisvalid FROM pg_index WHERE indexrelid = 'users_name_idx'::regclass`)).toEqual([{ indisvalid: true }]);
  });

  it('that are missing keep a process from being ready', async () => {
    const db = await newDatabase(createTestDatabase);
    const forget = 'UPDATE drizzle.__drizzle_migrations SET created_at = -created_at WHERE created_at = $1';
    const last = entries.at(-1)!.when;
    await db.rows(forget, [last]);
    const t = await startTestApp({}, db);
    try {
      const { body, headers } = await t.http.get('/health/ready').expect(503);
      expect([body.code, body.detail, headers['retry-after']]).toEqual(['service_unavailable', '1 migrations have not run.', '1']);
      await t.http.get('/health/live').expect(200);
      await db.rows(forget, [-last]);
      await t.http.get('/health/ready').expect(200);
    } finally {
      await t.close();
    }
  });
});
