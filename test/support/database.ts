import { randomBytes } from 'node:crypto';
import pg from 'pg';

export interface TestDatabase {
  url: string;
  pool: pg.Pool;
  /** Runs a query of the test. */
  rows<T = Record<string, unknown>>(text: string, values?: unknown[]): Promise<T[]>;
  drop(): Promise<void>;
}

/** A new database, cloned from the migrated template in tens of milliseconds. */
export async function createTestDatabase(): Promise<TestDatabase> {
  return createDatabaseFrom(process.env['TEST_TEMPLATE']!);
}

/** A database without migrations. */
export async function createEmptyDatabase(): Promise<TestDatabase> {
  return createDatabaseFrom('template0');
}

/** The URL of a test database for the application's production role, which owns nothing. */
export function asAppRole(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  const { username, password } = new URL(process.env['TEST_APP_URL']!);
  return Object.assign(url, { username, password }).href;
}

async function createDatabaseFrom(template: string): Promise<TestDatabase> {
  const name = `tenantry_test_${randomBytes(6).toString('hex')}`;
  // Cloning needs exclusive access to the template, and two test files may start at the same time.
  for (let attempt = 1; ; attempt += 1) {
    try {
      // Faster than through the write-ahead log.
      await onServer(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY FILE_COPY`);
      break;
    } catch (error) {
      if ((error as { code?: string }).code !== '55006' || attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  const url = new URL(process.env['TEST_SERVER_URL']!);
  url.pathname = `/${name}`;
  const pool = new pg.Pool({ connectionString: url.href, max: 5 });
  pool.on('error', () => undefined);
  return {
    url: url.href,
    pool,
    rows: async <T>(text: string, values?: unknown[]) => (await pool.query(text, values)).rows as T[],
    drop: async () => {
      await pool.end();
      await onServer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    },
  };
}

/** Runs `work` while a transaction of the test holds the locks of a statement; `release` ends it earlier. */
export async function whileLocked(
  { pool }: TestDatabase,
  [text, ...values]: [text: string, ...values: unknown[]],
  work: (release: () => Promise<unknown>) => Promise<void>,
): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(text, values);
    await work(() => client.query('ROLLBACK'));
  } finally {
    await client.query('ROLLBACK');
    client.release();
  }
}

/** Runs one statement outside of any test database. */
export async function onServer(statement: string): Promise<void> {
  if (server === undefined) {
    server = new pg.Pool({ connectionString: process.env['TEST_SERVER_URL'], max: 2, idleTimeoutMillis: 1000, allowExitOnIdle: true });
    // The server may stop before this connection does.
    server.on('error', () => undefined);
  }
  await server.query(statement);
}

let server: pg.Pool | undefined;
