const BATCH = 1000;

/**
 * Removes rows in small transactions until none is left or it is told to stop: one big DELETE would hold
 * its locks, and its dead rows, for minutes.
 *
 * @param remove removes at most so many rows and answers how many it did
 * @returns how many rows went in all
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
