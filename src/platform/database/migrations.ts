import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';

const MIGRATIONS_DIRECTORY = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../drizzle');

/** The first line of a file that must not run in a transaction (`CREATE INDEX CONCURRENTLY`). */
const NO_TRANSACTION = '-- no-transaction';

/** The same constant in every replica. */
const LOCK_ID = 7_363_211_908;

interface Migration {
  tag: string;
  /** When drizzle-kit made it; also its identity in the table that drizzle-kit keeps. */
  when: number;
  hash: string;
  statements: string[];
  inTransaction: boolean;
}

type Query = (text: string, values?: unknown[]) => Promise<{ rows: Record<string, unknown>[] }>;

/**
 * Applies pending migrations, each once over all replicas, under an advisory lock. Drizzle's own `migrate()` takes no
 * lock (drizzle-orm#874).
 * @param connectionString must reach PostgreSQL itself: a transaction pooler would lose the lock
 * @returns the tags of the migrations that this call applied
 */
export async function migrate(connectionString: string, directory = MIGRATIONS_DIRECTORY): Promise<string[]> {
  const client = new pg.Client({ connectionString, application_name: 'tenantry-migrate', connectionTimeoutMillis: 10_000 });
  client.on('error', () => undefined);
  await client.connect();
  try {
    await lock(client);
    await client.query('CREATE SCHEMA IF NOT EXISTS drizzle');
    await client.query(
      'CREATE TABLE IF NOT EXISTS drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)',
    );
    const pending = await pendingMigrations((text, values) => client.query(text, values), directory);
    for (const migration of pending) await apply(client, migration);
    return pending.map((migration) => migration.tag);
  } finally {
    await client.end();
  }
}

/** Polls: a session that waits in `pg_advisory_lock` holds a snapshot, on which CREATE INDEX CONCURRENTLY would wait. */
async function lock(client: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1) AS locked', [LOCK_ID]);
    if (rows[0]?.locked === true) return;
    await sleep(100);
  }
}

export async function pendingMigrations(query: Query, directory = MIGRATIONS_DIRECTORY): Promise<Migration[]> {
  const { rows } = await query(`SELECT to_regclass('drizzle.__drizzle_migrations') IS NOT NULL AS known`);
  const applied = rows[0]?.['known'] === true ? (await query('SELECT created_at FROM drizzle.__drizzle_migrations')).rows : [];
  const seen = new Set(applied.map((row) => Number(row['created_at'])));
  return readMigrations(directory).filter((migration) => !seen.has(migration.when));
}

async function apply(client: pg.Client, migration: Migration): Promise<void> {
  const record = () =>
    client.query('INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ($1, $2)', [migration.hash, migration.when]);
  try {
    // A migration that waits behind a long transaction would make every query wait behind itself.
    await client.query(`SET lock_timeout = '5s'`);
    if (!migration.inTransaction) {
      for (const statement of migration.statements) await client.query(statement);
      await record();
      return;
    }
    await client.query('BEGIN');
    for (const statement of migration.statements) await client.query(statement);
    await record();
    await client.query('COMMIT');
  } catch (error) {
    throw new Error(`Migration ${migration.tag} failed: ${(error as Error).message}`, { cause: error });
  }
}

function readMigrations(directory: string): Migration[] {
  const journal = JSON.parse(readFileSync(path.join(directory, 'meta/_journal.json'), 'utf8')) as {
    entries: { tag: string; when: number }[];
  };
  return journal.entries.map(({ tag, when }) => {
    const content = readFileSync(path.join(directory, `${tag}.sql`), 'utf8');
    return {
      tag,
      when,
      hash: createHash('sha256').update(content).digest('hex'),
      statements: content.split('--> statement-breakpoint').filter((statement) => statement.trim() !== ''),
      inTransaction: !content.startsWith(NO_TRANSACTION),
    };
  });
}
