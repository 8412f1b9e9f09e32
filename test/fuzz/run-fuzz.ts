import { createTestDatabase } from '../support/database.js';
import { fuzz } from '../support/fuzz/run.js';
import { complaintsOf, eventLoopHolds, startFuzzServer } from '../support/fuzz/server.js';
import { FUZZ_ROLES } from '../support/fuzz/world.js';
import { endProcesses } from '../support/processes.js';

/** Prints the outcome, and returns the exit code. */
export async function runFuzz(seed: string, minutes: number): Promise<number> {
  const db = await createTestDatabase();
  try {
    const server = await startFuzzServer(db);
    const { failures, ...seen } = await fuzz({ url: server.url, db, seed, minutes, holds: eventLoopHolds(server) });
    const succeeded = [...seen.statuses.values()].filter((statuses) => [...statuses].some((status) => status < 300)).length;
    console.log(`seed ${seed}: ${seen.requests} requests to ${seen.statuses.size} operations; ${succeeded} of them succeeded`);
    console.log(`${seen.pairs.size} of ${seen.operations * FUZZ_ROLES.length} pairs of operation and role were called`);
    const complaints = [...failures, ...complaintsOf(server)];
    console.log(complaints.length === 0 ? 'every response is as documented' : `FAILS\n${complaints.join('\n')}`);
    if (seen.longestHold > 0) console.log(`the event loop was held for ${seen.longestHold} ms`);
    return complaints.length === 0 ? 0 : 1;
  } finally {
    await endProcesses();
    await db.drop();
  }
}
