import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { CLERK_WEBHOOK_SECRET, clerkEvent, deliver, userData } from '../../support/clerk/clerk-events.js';
import { PASSWORD } from '../../support/people.js';
import { PlanFile } from '../../support/plan-file.js';
import { endProcesses, type Process, ready, startServer } from '../../support/processes.js';

const SHIFTED_CLOCK = new URL('../../support/shifted-clock.mjs', import.meta.url).href;
const MINUTE_MS = 60_000;

describe('processes with different clocks', () => {
  const plans = new PlanFile({ free: { tokensPerPeriod: 1000, requestsPerMinute: 3 } });
  let db: TestDatabase;
  let ahead: Process;
  let right: Process;
  let behind: Process;
  let auth: { authorization: string };
  let organizations = 0;
  let events = 0;

  const post = async ({ url }: Process, path: string, body: object) =>
    fetch(url + path, { method: 'POST', headers: { 'content-type': 'application/json', ...auth }, body: JSON.stringify(body) });
  const serve = async (shiftMs: number) =>
    ready(
      await startServer(db.url, {
        PLANS_FILE: plans.path,
        CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET,
        NODE_OPTIONS: `--import ${SHIFTED_CLOCK}`,
        CLOCK_SHIFT_MS: String(shiftMs),
      }),
    );
  const newOrganization = async () => {
    const response = await post(right, '/v1/organizations', { name: `Organization ${(organizations += 1)}` });
    return `/v1/organizations/${((await response.json()) as { id: string }).id}`;
  };

  beforeAll(async () => {
    db = await createTestDatabase();
    [ahead, right, behind] = await Promise.all([serve(10 * MINUTE_MS), serve(0), serve(-10 * MINUTE_MS)]);
    const person = { email: 'person@example.com', name: 'A Person', password: PASSWORD };
    const response = await fetch(`${right.url}/v1/auth/sign-up/email`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(person),
    });
    auth = { authorization: `Bearer ${response.headers.get('set-auth-token')}` };
    await db.rows('UPDATE users SET email_verified = true, email_verified_at = now()');
  });
  afterAll(async () => {
    await endProcesses();
    await db.drop();
    plans.remove();
  });

  it('agree on how long a hold lives', async () => {
    const organization = await newOrganization();
    const hold = async (one: Process) =>
      (await post(one, `${organization}/usage/holds`, { estimatedTokens: 600, expiresInSeconds: 60 })).status;
    expect(await hold(behind)).toBe(201);
    expect(await hold(ahead)).toBe(402);
    expect(await hold(right)).toBe(402);
  });

  it("agree on the minute's allowance", async () => {
    const organization = await newOrganization();
    const record = async (one: Process) =>
      (await post(one, `${organization}/usage`, { eventId: `event-${(events += 1)}`, model: 'm', inputTokens: 1 })).status;
    expect([await record(behind), await record(behind), await record(behind)]).toEqual([201, 201, 201]);
    expect([await record(behind), await record(right), await record(ahead)]).toEqual([429, 429, 429]);
  });

  it('accept a signature of now, and refuse an old one', async () => {
    const event = clerkEvent('user.created', userData({ id: 'user_clocks', email: { email: 'clocks@example.com', verified: true } }));
    const seconds = Math.floor(Date.now() / 1000);
    for (const { url } of [ahead, right, behind]) {
      expect((await deliver(url, event)).status).toBe(202);
      expect((await deliver(url, event, { timestamp: seconds - 420 })).status).toBe(401);
      expect((await deliver(url, event, { timestamp: seconds + 420 })).status).toBe(401);
    }
  });
});
