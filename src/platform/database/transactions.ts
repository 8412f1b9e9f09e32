import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import { isDatabaseUnavailable } from './database-errors.js';
import { corkWrites, type PipelinedPool } from './pipeline/pipelined-pool.js';
import type { StatementNames } from './statements/statement-names.js';

/** Drizzle's own leaks the connection when BEGIN fails, and returns a connection to the pool after a failed ROLLBACK. */
export async function transact<T>(
  pool: PipelinedPool,
  names: StatementNames,
  ...[work, options]: Parameters<typeof NodePgDatabase.prototype.transaction<T>>
): Promise<T> {
  const client = await pool.connect();
  let isLost = false;
  let reason: unknown;
  const giveUpWhenAway = (failure: unknown): never => {
    // The failure of the ROLLBACK is only a consequence.
    if (isLost) throw reason;
    if (isDatabaseUnavailable(failure)) {
      isLost = true;
      reason = failure;
      // ROLLBACK would wait for a server that does not respond. Closing the connection has the same effect.
      client.end().catch(() => undefined);
    }
    throw failure;
  };
  try {
    const connection = new TransactionConnection(client, names);
    // Drizzle calls nothing but `query`.
    const result = await drizzle(connection as unknown as pg.PoolClient)
      .transaction((tx) => {
        connections.set(tx, connection);
        return work(tx).catch(giveUpWhenAway);
      }, options)
      .catch(giveUpWhenAway);
    for (const action of connection.afterCommit) action();
    return result;
  } finally {
    client.release(isLost || client.getTransactionStatus() !== 'I');
  }
}

const connections = new WeakMap<object, TransactionConnection>();

export function connectionOf(tx: object): TransactionConnection | undefined {
  return connections.get(tx);
}

/** Runs an action when the transaction has committed, or at once without one. It is lost when the process dies. */
export function afterCommit(db: object | undefined, action: () => void): void {
  const connection = db === undefined ? undefined : connectionOf(db);
  if (connection === undefined) action();
  else connection.afterCommit.push(action);
}

/** BEGIN travels with the first statements, and repeated statements are prepared (docs/decisions/0038). */
class TransactionConnection {
  private begun: Promise<unknown> = Promise.resolve();
  private isOver = false;
  readonly afterCommit: (() => void)[] = [];

  constructor(
    private readonly client: pg.PoolClient,
    private readonly names: StatementNames,
  ) {}

  async query(config: pg.QueryConfig, values: unknown[] | undefined): Promise<unknown> {
    const { text } = config;
    const ends = text === 'commit' || text === 'rollback';
    // A statement after a failure would run outside of the transaction.
    if (this.isOver && text !== 'rollback') throw new Error('The transaction is over');
    this.isOver ||= ends;
    corkWrites(this.client);
    if (text.startsWith('begin')) {
      this.begun = this.client.query(config);
      this.begun.catch(() => undefined);
      return undefined;
    }
    const isPlain = values === undefined || values.length === 0;
    const answer = this.client.query(isPlain ? config : { ...config, name: config.name ?? this.names.of(text) }, values);
    if (!ends) return answer;
    const [, end] = await Promise.all([this.begun, answer]);
    return end;
  }
}
