import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import type pg from 'pg';
import { isDatabaseUnavailable, isInFailedTransaction } from './database-errors.js';
import { corkWrites, type PipelinedPool } from './pipeline/pipelined-pool.js';
import type { StatementNames } from './statements/statement-names.js';

/** Drizzle's own leaks the connection when BEGIN fails, and returns a connection to the pool after a failed ROLLBACK. */
export async function transact<T>(
  pool: PipelinedPool,
  names: StatementNames,
  ...[work, options]: Parameters<typeof NodePgDatabase.prototype.transaction<T>>
): Promise<T> {
  const client = await pool.connect();
  const connection = new TransactionConnection(client, pool, names);
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
    // Drizzle calls nothing but `query`.
    const result = await drizzle(connection as unknown as pg.PoolClient)
      .transaction((tx) => {
        connections.set(tx, connection);
        return work(tx).catch(giveUpWhenAway);
      }, options)
      .catch(giveUpWhenAway);
    for (const action of connection.afterCommit) action();
    return result;
  } catch (error) {
    // Statements behind a failed one fail only because of it.
    throw connection.isRolledBack || isInFailedTransaction(error) ? (connection.failure ?? error) : error;
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
  failure: unknown;
  isOver = false;
  /** By COMMIT, after a failed statement that nobody waited for. */
  isRolledBack = false;
  readonly afterCommit: (() => void)[] = [];
  private begun: Promise<unknown> = Promise.resolve();
  private readonly deferred: Promise<unknown>[] = [];

  constructor(
    private readonly client: pg.PoolClient,
    private readonly pool: PipelinedPool,
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
    const startedAt = performance.now();
    const answer = this.client.query(isPlain ? config : { ...config, name: config.name ?? this.names.of(text) }, values);
    answer.catch((error: unknown) => (this.failure ??= error));
    this.pool.report(config, startedAt, answer);
    if (!ends) return answer;
    const [, end] = await Promise.all([this.begun, answer, ...this.deferred]);
    if (text === 'commit' && end.command === 'ROLLBACK') {
      this.isRolledBack = true;
      throw this.failure;
    }
    return end;
  }

  defer(write: Promise<unknown>): void {
    this.deferred.push(write.catch(() => undefined));
  }
}
