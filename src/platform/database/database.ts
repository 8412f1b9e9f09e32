import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { Config } from '../config/config.js';
import { PipelinedPool } from './pipeline/pipelined-pool.js';
import { StatementNames } from './statements/statement-names.js';
import { transact } from './transactions.js';

export const DATABASE = Symbol('DATABASE');

export type Database = NodePgDatabase & { $client: PipelinedPool };

/** The shared instance or an open transaction. The last parameter of repository methods. */
export type Queryable = Pick<NodePgDatabase, 'select' | 'selectDistinct' | 'insert' | 'update' | 'delete' | 'execute' | '$with' | 'with'>;

const STATEMENT_TIMEOUT_MS = 10_000;

/** Opens no connection until the first query. */
export function createDatabase(config: Pick<Config, 'databaseUrl' | 'databasePoolSize'>): Database {
  const pool = new PipelinedPool({
    connectionString: config.databaseUrl,
    max: config.databasePoolSize,
    // Otherwise a full pool, or a server that accepts and never responds, would block forever.
    connectionTimeoutMillis: 5000,
    idleTimeoutMillis: 30_000,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // The time-out of the server does not help when the network loses its response.
    query_timeout: STATEMENT_TIMEOUT_MS + 2000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    application_name: 'tenantry',
    // For the connections of transactions. Other statements of the pool still wait for each other.
    pipeline: true,
  });
  const db = drizzle(pool);
  const names = new StatementNames();
  db.transaction = (work, options) => transact(pool, names, work, options);
  return db;
}
