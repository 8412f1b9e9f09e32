import { readFileSync } from 'node:fs';
import path from 'node:path';
import { grantAppRole } from '../../src/platform/database/app-role.js';
import { migrate } from '../../src/platform/database/migrations.js';
import { asAppRole, createEmptyDatabase, type TestDatabase } from '../support/database.js';
import { migrateThrough } from '../support/migrate-through.js';
import { createPartitions } from '../support/usage/usage-rows.js';

interface Person {
  id: string;
  email: string;
  token: string;
  cookie: string;
}

export interface Facts {
  organization: { id: string; path: string };
  people: Record<'operator' | 'ada' | 'bob' | 'carl' | 'gus', Person>;
  deviceCookie: string;
  apiKey: string;
  idempotent: { key: string; body: object; answer: { status: number; body: object } }[];
  events: { eventId: string; inputTokens: number }[];
  holds: string[];
  /** Message ids of pending inbox events. */
  pending: string[];
  pages: { path: string; as: keyof Facts['people']; cursor: string; ids: unknown[] }[];
  audit: object[];
  ends: { clerkSessionId: string; dodoSubscriptionId: string; polarSubscriptionId: string };
}

/** The secrets that encrypt and sign the rows, made for this test. */
export const SECRETS = {
  AUTH_SECRET: 'the secret of the stored rows, made up',
  ENCRYPTION_KEYS: `stored:${Buffer.alloc(32, 9).toString('base64')}`,
};

const read = (file: string) => readFileSync(path.join(import.meta.dirname, file), 'utf8');

export function readFacts(): Facts {
  return JSON.parse(read('facts.json')) as Facts;
}

/** Creates a database with the earlier version's schema and rows, migrated to the current schema. */
export async function loadStoredRows(): Promise<TestDatabase> {
  const db = await createEmptyDatabase();
  await migrateThrough(db, 'verifications_of_users');
  const tables = Map.groupBy(
    read('rows.jsonl')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('\t') as [table: string, row: string]),
    ([table]) => table,
  );
  await createPartitions(
    db,
    tables.get('usage')!.map(([, row]) => (JSON.parse(row) as { occurred_at: string }).occurred_at),
  );
  const client = await db.pool.connect();
  // Foreign keys are not checked until all rows are inserted.
  await client.query('SET session_replication_role = replica');
  for (const [table, lines] of tables)
    await client.query(`INSERT INTO "${table}" SELECT * FROM jsonb_populate_recordset(NULL::"${table}", $1)`, [
      `[${lines.map(([, row]) => row).join(',')}]`,
    ]);
  client.release(true);
  await migrate(db.url);
  await grantAppRole(db.url, new URL(asAppRole(db.url)).username);
  return db;
}
