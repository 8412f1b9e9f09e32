import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { migrate } from '../../src/platform/database/migrations.js';
import type { TestDatabase } from './database.js';

/** Applies the migrations up to and including one, like an earlier version. */
export async function migrateThrough(db: TestDatabase, name: string): Promise<void> {
  const directory = mkdtempSync(path.join(tmpdir(), 'tenantry-drizzle-'));
  cpSync('drizzle', directory, { recursive: true });
  const file = path.join(directory, 'meta/_journal.json');
  const journal = JSON.parse(readFileSync(file, 'utf8')) as { entries: { tag: string }[] };
  const last = journal.entries.findIndex(({ tag }) => tag.endsWith(`_${name}`));
  if (last === -1) throw new Error(`No migration is called ${name}`);
  writeFileSync(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, last + 1) }));
  await migrate(db.url, directory);
  rmSync(directory, { recursive: true });
}
