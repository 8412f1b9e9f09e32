import { randomInt } from 'node:crypto';
import { newId } from '../../../src/platform/crypto/ids.js';
import { type AlertListener, UsageAlerts } from '../../../src/usage/alerts/usage-alerts.service.js';
import { Seeded } from '../../simulators/seeded.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { type SignedInPerson, signUp, signUpOperator } from '../../support/people.js';
import { createOrganization } from '../../support/tenants.js';
import { until } from '../../support/until.js';
import { PlanFile } from '../../support/plan-file.js';
import { ledgerMismatches } from '../../support/usage/ledger-checks.js';

const CAP = 1000;
/** The seed of the random races. To repeat a run: `SEED=… npm test -- usage-races`. */
const SEED = Number(process.env['SEED'] ?? randomInt(2 ** 31));
const DAY_MS = 86_400_000;

interface Answer {
  status: number;
  body: { results: { outcome: string; reason?: string }[]; outcome: string };
}

/** Three instances on one database share every decision. */
describe('concurrent usage on several instances', () => {
  const plans = new PlanFile({
    free: { tokensPerPeriod: CAP },
    pro: { requestsPerMinute: 30 },
    business: { tokensPerMinute: 100 },
  });
  let db: TestDatabase;
  let instances: TestApp[];
  let ada: SignedInPerson;
  let operator: SignedInPerson;
  const received: Parameters<AlertListener>[0][] = [];

  beforeAll(async () => {
    db = await createTestDatabase();
    instances = [];
    for (let count = 0; count < 3; count += 1) instances.push(await startTestApp({ PLANS_FILE: plans.path }, db));
    for (const { app } of instances)
      app.get(UsageAlerts).listen('test', async (alert) => {
        received.push(alert);
        return Promise.resolve();
      });
    [ada, operator] = await Promise.all([signUp(instances[0]!), signUpOperator(instances[0]!)]);
  });
  afterEach(async () => {
    const mistakes = await ledgerMismatches(db);
    if (mistakes.length > 0) throw new Error(mistakes.join('\n'));
  });
  afterAll(async () => {
    for (const { app } of instances) await app.close();
    await db.drop();
    plans.remove();
  });

  const newOrganization = async (tier?: string) => {
    const { id } = await createOrganization(instances[0]!, ada);
    if (tier !== undefined)
      await instances[0]!.http.post('/v1/subscriptions').set(operator.auth).send({ organizationId: id, tier }).expect(201);
    return id;
  };
  const event = (fields: object = {}) => ({ eventId: newId(), model: 'm', tokens: 1, ...fields });
  const post = async (organizationId: string, path: string, body: object, turn: number): Promise<Answer> => {
    const answer = await fetch(`${instances[turn % instances.length]!.url}/v1/organizations/${organizationId}/usage${path}`, {
      method: 'POST',
      headers: { ...ada.auth, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return { status: answer.status, body: (await answer.json()) as Answer['body'] };
  };
  /** Runs so many requests concurrently, alternating between the instances. */
  const race = async (count: number, runner: (turn: number) => Promise<Answer>) =>
    Promise.all(Array.from({ length: count }, async (_, turn) => runner(turn)));
  const statusesOf = (answers: Answer[]) => {
    const counts: Record<string, number> = {};
    for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
    return counts;
  };
  const outcomesOf = (answers: Answer[]) => {
    const counts: Record<string, number> = {};
    for (const { body } of answers)
      for (const { outcome, reason } of body.results) counts[reason ?? outcome] = (counts[reason ?? outcome] ?? 0) + 1;
    return counts;
  };
  const quotaOf = async (organizationId: string) =>
    (await db.rows('SELECT used::int, held::int, overrun::int FROM usage_quotas WHERE owner_id = $1', [organizationId]))[0];

  /** The first test, because an instance that met a repetition looks ids up for a while. */
  it('recognises a repeated event on every instance, below the cap and at it, alone and among new ones', async () => {
    const id = await newOrganization();
    const first = event({ tokens: 10 });
    expect((await post(id, '', first, 0)).status).toBe(201);
    const below = await post(id, '/batch', { events: [event(), first, event({ eventId: first.eventId, tokens: 11 })] }, 1);
    expect(below.body.results.map(({ outcome }) => outcome)).toEqual(['inserted', 'duplicate', 'conflict']);
    expect((await post(id, '', event({ tokens: CAP - 11 }), 0)).status).toBe(201);
    const at = await post(id, '/batch', { events: [first, event()] }, 2);
    expect(at.body.results).toEqual([
      { eventId: first.eventId, outcome: 'duplicate' },
      { eventId: expect.any(String), outcome: 'rejected', reason: 'quota_exceeded' },
    ]);
    expect(await quotaOf(id)).toMatchObject({ used: CAP });
  });

  it.each([
    ['events', (id: string, turn: number) => post(id, '', event(), turn), { used: CAP, held: 0 }],
    ['holds', (id: string, turn: number) => post(id, '/holds', { estimatedTokens: 1 }, turn), { used: CAP - 100, held: 100 }],
    [
      'events and holds',
      (id: string, turn: number) => (turn % 4 < 2 ? post(id, '', event(), turn) : post(id, '/holds', { estimatedTokens: 1 }, turn)),
      {},
    ],
  ])('gives the last 100 tokens to 100 of 200 %s', async (_, runner, wanted) => {
    const id = await newOrganization();
    await post(id, '', event({ tokens: CAP - 100 }), 0);
    expect(statusesOf(await race(200, async (turn) => runner(id, turn)))).toEqual({ 201: 100, 402: 100 });
    const quota = await quotaOf(id);
    expect(quota).toMatchObject({ ...wanted, overrun: 0 });
    expect(Number(quota!['used']) + Number(quota!['held'])).toBe(CAP);
  });

  it.each([SEED])('never exceeds the cap, and uses it as far as possible, with random amounts (seed %i)', async (seed) => {
    const id = await newOrganization();
    const drawn = new Seeded(seed);
    const wanted = Array.from({ length: 600 }, () => drawn.between(1, 7));
    const answers = await race(wanted.length, async (turn) => post(id, '', event({ tokens: wanted[turn] }), turn));
    const taken = wanted.filter((_, turn) => answers[turn]!.status === 201);
    const refused = wanted.filter((_, turn) => answers[turn]!.status === 402);
    expect(taken.length + refused.length).toBe(600);
    const used = taken.reduce((sum, tokens) => sum + tokens, 0);
    expect(await quotaOf(id)).toEqual({ used, held: 0, overrun: 0 });
    expect(used).toBeLessThanOrEqual(CAP);
    expect(used + Math.min(...refused)).toBeGreaterThan(CAP);
  });

  it('raises each alert once when 1,000 concurrent events pass all thresholds', async () => {
    const id = await newOrganization();
    expect(statusesOf(await race(CAP, async (turn) => post(id, '', event(), turn)))).toEqual({ 201: CAP });
    const alerts = await db.rows('SELECT threshold FROM usage_alerts WHERE owner_id = $1 ORDER BY 1', [id]);
    expect(alerts).toEqual([{ threshold: 50 }, { threshold: 80 }, { threshold: 100 }]);
    const waiting = async () => db.rows(`SELECT last_error FROM outbox WHERE kind = 'usage.alert' AND done_at IS NULL`);
    await until(
      async () => (await waiting()).length === 0,
      async () => JSON.stringify(await waiting()),
    );
    const thresholds = received.filter(({ ownerId }) => ownerId === id).map(({ threshold }) => threshold);
    expect(thresholds.sort((a, b) => a - b)).toEqual([50, 80, 100]);
  });

  it('records an event once that is sent 50 times concurrently', async () => {
    const id = await newOrganization();
    const same = event({ occurredAt: new Date().toISOString() });
    expect(statusesOf(await race(50, async (turn) => post(id, '', same, turn)))).toEqual({ 200: 49, 201: 1 });
    expect(await quotaOf(id)).toMatchObject({ used: 1 });
  });

  it('records one of two events with the same id, and reports the conflict to the other', async () => {
    const id = await newOrganization();
    const eventId = newId();
    const statuses = statusesOf(await race(50, async (turn) => post(id, '', event({ eventId, tokens: 1 + (turn % 2) }), turn)));
    expect(statuses).toEqual({ 200: 24, 201: 1, 409: 25 });
  });

  it('records a batch of 1,000 once that is sent twice to each instance', async () => {
    const id = await newOrganization();
    const events = Array.from({ length: 1000 }, () => event());
    expect(outcomesOf(await race(6, async (turn) => post(id, '/batch', { events }, turn)))).toEqual({ inserted: 1000, duplicate: 5000 });
    expect(await quotaOf(id)).toMatchObject({ used: 1000 });
  });

  it('creates a hold with one id once, settles it once, and releases the rest once', async () => {
    const id = await newOrganization();
    const holdId = newId();
    expect(statusesOf(await race(30, async (turn) => post(id, '/holds', { holdId, estimatedTokens: 600 }, turn)))).toEqual({ 201: 30 });
    expect(await quotaOf(id)).toEqual({ used: 0, held: 600, overrun: 0 });
    const statuses = statusesOf(await race(30, async (turn) => post(id, `/holds/${holdId}/settle`, event({ tokens: 700 }), turn)));
    expect(statuses).toEqual({ 201: 1, 409: 29 });
    expect(await quotaOf(id)).toEqual({ used: 700, held: 0, overrun: 100 });
  });

  describe('within a minute', () => {
    /** Expects the allowance and the refill of the elapsed time. */
    const expectAllowance = async (perMinute: number, attempt: () => Promise<number>) => {
      const began = performance.now();
      const passed = await attempt();
      const most = perMinute + (perMinute * (performance.now() - began)) / 60_000;
      expect(passed).toBeGreaterThanOrEqual(perMinute);
      expect(passed).toBeLessThanOrEqual(Math.floor(most));
    };

    it('shares the requests that a plan allows', async () => {
      const id = await newOrganization('pro');
      await expectAllowance(30, async () => {
        const statuses = statusesOf(await race(200, async (turn) => post(id, '', event(), turn)));
        expect(statuses[201]! + statuses[429]!).toBe(200);
        return statuses[201]!;
      });
    });

    it('shares the tokens that a plan allows', async () => {
      const id = await newOrganization('business');
      await expectAllowance(100, async () => {
        const events = () => Array.from({ length: 10 }, () => event());
        const outcomes = outcomesOf(await race(40, async (turn) => post(id, '/batch', { events: events() }, turn)));
        expect(outcomes['inserted']! + outcomes['rate_limited']!).toBe(400);
        return outcomes['inserted']!;
      });
    });
  });

  it.each([SEED])('has no deadlock when late events of many owners are recorded in any order (seed %i)', async (seed) => {
    const drawn = new Seeded(seed);
    const ids = await Promise.all(Array.from({ length: 30 }, async () => newOrganization()));
    const someone = () => drawn.pick(ids);
    const late = () =>
      event({ model: `m${drawn.between(0, 2)}`, occurredAt: new Date(Date.now() - drawn.between(0, 99) * DAY_MS).toISOString() });
    const answers = await race(600, async (turn) => {
      const events = Array.from({ length: 8 }, late);
      return turn % 5 === 0 ? post(someone(), '/holds', { estimatedTokens: 1 }, turn) : post(someone(), '/batch', { events }, turn);
    });
    expect(statusesOf(answers)).toEqual({ 200: 480, 201: 120 });
    expect(outcomesOf(answers.filter(({ status }) => status === 200))).toEqual({ inserted: 480 * 8 });
    const [{ deadlocks }] = (await db.rows<{ deadlocks: number }>(
      'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()',
    )) as [{ deadlocks: number }];
    expect(deadlocks).toBe(0);
  });
});
