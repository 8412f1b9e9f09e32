import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { Config } from '../config/config.js';
import { PipelinedPool } from './pipelined-pool.js';

/** Injection token of the shared Drizzle instance. */
export const DATABASE = Symbol('DATABASE');

export type Database = NodePgDatabase & { $client: PipelinedPool };

/** What a repository's methods take last: the shared instance or an open transaction. */
export type Queryable = Pick<NodePgDatabase, 'select' | 'selectDistinct' | 'insert' | 'update' | 'delete' | 'execute' | '$with' | 'with'>;

/** Opens no connection until the first query. */
export function createDatabase(config: Pick<Config, 'databaseUrl' | 'databasePoolSize'>): Database {
  const pool = new PipelinedPool({
    connectionString: config.databaseUrl,
    max: config.databasePoolSize,
    // Unset, a full pool would wait for ever; so would a server that accepts and never answers.
    connectionTimeoutMillis: 5000,
    idleTimeoutMillis: 30_000,
    statement_timeout: 30_000,
    application_name: 'tenantry',
  });
  return drizzle(pool);
}
