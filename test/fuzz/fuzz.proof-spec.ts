import { randomBytes } from 'node:crypto';
import { jest } from '@jest/globals';
import { CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { fuzz } from '../support/fuzz/run.js';
import { endProcesses, type Process, ready, startServer } from '../support/processes.js';

// A generous limit: a busy machine is not a failure.
jest.setTimeout(3_600_000);

/** For a longer run: FUZZ_REQUESTS=1000000 npm run test:proofs -- fuzz */
const seed = process.env['FUZZ_SEED'] ?? randomBytes(4).toString('hex');
const requests = Number(process.env['FUZZ_REQUESTS'] ?? 4000);

describe('the program in production', () => {
  let db: TestDatabase;
  let server: Process;
  beforeAll(async () => {
    db = await createTestDatabase();
    server = await ready(
      await startServer(db.url, {
        NODE_ENV: 'production',
        GOOGLE_CLIENT_ID: 'id',
        GOOGLE_CLIENT_SECRET: 'secret',
        CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
        METRICS_TOKEN: 'a token for the metrics',
        BILLING_PRODUCTS: 'polar:polar-pro=pro',
        // Behind a proxy, addresses come from a header.
        TRUST_PROXY: '1',
      }),
    );
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
  });

  it(`answers generated requests as documented (FUZZ_SEED=${seed} FUZZ_REQUESTS=${requests})`, async () => {
    const { failures } = await fuzz({ url: server.url, db, seed, requests });
    expect(failures.join('\n')).toBe('');
    // The process neither ended nor logged an error, which it would also for an unanswered request.
    expect(server.hasEnded()).toBe(false);
    const complaints = server
      .log()
      .filter(({ level }) => level === 'error' || level === 'fatal' || (typeof level === 'number' && level >= 50));
    expect(complaints.map((line) => JSON.stringify(line).slice(0, 600))).toEqual([]);
  });
});
