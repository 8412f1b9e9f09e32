import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { Config } from '../config/config.js';
import { isDatabaseAway } from './database-errors.js';
import { PipelinedPool } from './pipelined-pool.js';

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
  db.transaction = (work, options) => transact(pool, work, options);
  return db;
}

/**
 * Drizzle's own keeps the connection for ever when BEGIN fails, and gives one back as good whose ROLLBACK
 * failed: a few of those, and the pool is empty.
 */
async function transact<T>(
  pool: PipelinedPool,
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
    return await drizzle(client)
      .transaction((tx) => work(tx).catch(giveUpWhenAway), options)
      .catch(giveUpWhenAway);
  } finally {
    client.release(isLost || client.getTransactionStatus() !== 'I');
  }
}
