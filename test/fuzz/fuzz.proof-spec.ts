import { randomBytes } from 'node:crypto';
import { jest } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { fuzz } from '../support/fuzz/run.js';
import { complaintsOf, startFuzzServer } from '../support/fuzz/server.js';
import { endProcesses, type Process } from '../support/processes.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(3_600_000);

/** For a longer run: npm run fuzz -- --minutes 30 */
const seed = process.env['FUZZ_SEED'] ?? randomBytes(4).toString('hex');
const requests = Number(process.env['FUZZ_REQUESTS'] ?? 4000);

describe('the program in production', () => {
  let db: TestDatabase;
  let server: Process;
  beforeAll(async () => {
    db = await createTestDatabase();
    server = await startFuzzServer(db);
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
  });

  it(`answers generated requests as documented (FUZZ_SEED=${seed} FUZZ_REQUESTS=${requests})`, async () => {
    // Without the event loop: a program that has just started compiles its code. npm run fuzz measures it.
    const { failures } = await fuzz({ url: server.url, db, seed, requests });
    expect([...failures, ...complaintsOf(server)].join('\n')).toBe('');
  });
});
