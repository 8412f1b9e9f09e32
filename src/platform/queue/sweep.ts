import type { Database, Queryable } from '../database/database.js';

const BATCH = 1000;

/**
 * Removes rows in small transactions: one big DELETE would hold its locks for minutes. Stops at the signal.
 * @param remove removes at most `limit` rows and returns their number
 */
export async function sweepInBatches(signal: AbortSignal, remove: (limit: number) => Promise<number>, batch = BATCH): Promise<number> {
  let total = 0;
  while (!signal.aborted) {
    const removed = await remove(batch);
    total += removed;
    if (removed < batch) break;
  }
  return total;
}

const RENEWAL_BATCH = 100;

/** Rewrites stale rows in small transactions until none is left. */
export async function renewInBatches<T>(
  db: Database,
  lockStale: (limit: number, tx: Queryable) => Promise<T[]>,
  renew: (row: T, tx: Queryable) => Promise<void>,
): Promise<number> {
  const renewSome = (limit: number) =>
    db.transaction(async (tx) => {
      const stale = await lockStale(limit, tx);
      for (const row of stale) await renew(row, tx);
      return stale.length;
    });
  const neverAborted = new AbortController().signal;
  return sweepInBatches(neverAborted, renewSome, RENEWAL_BATCH);
}
