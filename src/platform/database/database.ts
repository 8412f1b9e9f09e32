import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { Config } from '../config/config.js';
import { PipelinedPool } from './pipelined-pool.js';
import { StatementNames } from './statement-names.js';
import { transact } from './transactions.js';

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
    // Of connections that are taken for a transaction; the pool's own statements wait for each other as ever.
    pipeline: true,
  });
  const db = drizzle(pool);
  const names = new StatementNames();
  db.transaction = (work, options) => transact(pool, names, work, options);
  return db;
}
