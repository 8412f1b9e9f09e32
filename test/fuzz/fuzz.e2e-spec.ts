import { randomBytes } from 'node:crypto';
import { startTestApp, type TestApp } from '../support/app.js';
import { CLERK_WEBHOOK_SECRET } from '../support/clerk/clerk-events.js';
import { fuzz } from '../support/fuzz/run.js';

/** A new seed for each run. To repeat one: FUZZ_SEED=… FUZZ_REQUESTS=… npm test -- fuzz */
const seed = process.env['FUZZ_SEED'] ?? randomBytes(4).toString('hex');
const requests = Number(process.env['FUZZ_REQUESTS'] ?? 1000);

describe('generated requests', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ GOOGLE_CLIENT_ID: 'id', GOOGLE_CLIENT_SECRET: 'secret', CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET });
  });
  afterAll(() => t.close());

  it(`get no server error and no undocumented response (FUZZ_SEED=${seed} FUZZ_REQUESTS=${requests})`, async () => {
    const { failures, statuses } = await fuzz({ url: t.url, db: t.db, seed, requests });
    expect(failures.join('\n')).toBe('');
    // The generator reaches most operations, and succeeds in many.
    expect(statuses.size).toBeGreaterThan(80);
    expect([...statuses.values()].filter((some) => [...some].some((status) => status < 300)).length).toBeGreaterThan(40);
  });
});
