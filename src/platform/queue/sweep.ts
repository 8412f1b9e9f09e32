import type { Database, Queryable } from '../database/database.js';

/** Rows that one transaction may lock. */
export const BATCH = 500;

/**
 * Removes rows in small transactions: one big DELETE would hold its locks for minutes. Stops at the signal.
 * @param remove removes at most `limit` rows and returns their number
 */
export async function sweepInBatches(signal: AbortSignal, remove: (limit: number) => Promise<number>, batch = BATCH): Promise<number> {
  return sweepInSteps(signal, async () => {
    const count = await remove(batch);
    return { count, isLast: count < batch };
  });
}

/** @param step a transaction of its own. Not the last one if there is more to do, even if it finished nothing */
export async function sweepInSteps(signal: AbortSignal, step: () => Promise<{ count: number; isLast: boolean }>): Promise<number> {
  let total = 0;
  while (!signal.aborted) {
    const { count, isLast } = await step();
    total += count;
    if (isLast) break;
  }
  return total;
}

/** Removes rows of each kind in turn, together at most `limit`. Returns whether none is left. */
export async function removeAllKinds(limit: number, kinds: ((limit: number) => Promise<number>)[]): Promise<boolean> {
  let left = limit;
  for (const remove of kinds) {
    left -= await remove(left);
    if (left <= 0) return false;
  }
  return true;
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
