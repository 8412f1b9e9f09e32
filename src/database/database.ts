import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import type { Config } from '../config/config.js';
import { isDatabaseAway } from './database-errors.js';
import { PipelinedPool } from './pipelined-pool.js';
import { StatementNames } from './statement-names.js';

/** Injection token of the shared Drizzle instance. */
export const DATABASE = Symbol('DATABASE');

export type Database = NodePgDatabase & { $client: PipelinedPool };

/** What a repository's methods take last: the shared instance or an open transaction. */
export type Queryable = Pick<NodePgDatabase, 'select' | 'selectDistinct' | 'insert' | 'update' | 'delete' | 'execute' | '$with' | 'with'>;

const STATEMENT_TIMEOUT_MS = 10_000;

/** Opens no connection until the first query. */
export function createDatabase(config: Pick<Config, 'databaseUrl' | 'databasePoolSize'>): Database {
  const pool = new PipelinedPool({
    connectionString: config.databaseUrl,
    max: config.databasePoolSize,
    // Unset, a full pool would wait for ever; so would a server that accepts and never answers.
    connectionTimeoutMillis: 5000,
    idleTimeoutMillis: 30_000,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // The server's own time-out does not help when the network swallows its answer.
    query_timeout: STATEMENT_TIMEOUT_MS + 2000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: 'tenantry',
  });
  const db = drizzle(pool);
  const names = new StatementNames();
  db.transaction = (work, options) => transact(pool, names, work, options);
  return db;
}

/**
 * Drizzle's own keeps the connection for ever when BEGIN fails, and gives one back as good whose ROLLBACK
 * failed: a few of those, and the pool is empty.
 */
async function transact<T>(
  pool: PipelinedPool,
  names: StatementNames,
  ...[work, options]: Parameters<typeof NodePgDatabase.prototype.transaction<T>>
): Promise<T> {
  const client = await pool.connect();
  let isLost = false;
  const giveUpWhenAway = (failure: unknown): never => {
    if (isDatabaseAway(failure)) {
      isLost = true;
      // ROLLBACK would wait for a server that does not answer; losing the connection does the same.
      client.end().catch(() => undefined);
    }
    throw failure;
  };
  try {
    return await drizzle(preparing(client, names))
      .transaction((tx) => work(tx).catch(giveUpWhenAway), options)
      .catch(giveUpWhenAway);
  } finally {
    client.release(isLost || client.getTransactionStatus() !== 'I');
  }
}

/** The same connection, on which statements with parameters that come again are prepared. */
function preparing(client: pg.PoolClient, names: StatementNames): pg.PoolClient {
  const query = (config: pg.QueryConfig, values: unknown[] | undefined) =>
    client.query(values === undefined || values.length === 0 ? config : { ...config, name: config.name ?? names.of(config.text) }, values);
  // Drizzle asks nothing else of it.
  return { query } as unknown as pg.PoolClient;
}
