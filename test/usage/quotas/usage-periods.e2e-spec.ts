import { Clock } from '../../../src/platform/time/clock.service.js';
import { newId } from '../../../src/platform/crypto/ids.js';
import { UsageReconciliation } from '../../../src/usage/reconciliation/usage-reconciliation.service.js';
import { BillingApp, type PolarSubscription, PRODUCT } from '../../support/billing/billing-app.js';
import { dodoCustomerDetails, dodoSubscription } from '../../support/billing/dodo-events.js';
import { polarSubscription } from '../../support/billing/polar-events.js';
import { ledgerMismatches } from '../../support/usage/ledger-checks.js';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** The limit of the plan Pro. */
const LIMIT = 5_000_000;

interface Quota {
  used: number;
  carriedOver: number;
  held: number;
  remaining: number;
  periodStart: string;
  resetsAt: string;
}
type Tenant = Awaited<ReturnType<BillingApp['newTenant']>>;

describe('usage periods', () => {
  let app: BillingApp;
  let time: number;
  beforeAll(async () => {
    app = await BillingApp.start();
  });
  beforeEach(() => {
    // Providers' dates have whole seconds here, and a month must not depend on the day of the test.
    time = Math.floor(Date.now() / 1000) * 1000;
    app.t.app.get(Clock).now = () => new Date(time);
  });
  afterEach(async () => {
    const wrong = await ledgerMismatches(app.t.db);
    await app.t.app.get(UsageReconciliation).reconcile({ onDifference: ({ id, details }) => wrong.push(`${id}: ${details.join()}`) });
    if (wrong.length > 0) throw new Error(wrong.join('\n'));
  });
  afterAll(() => app.close());

  const inDays = (days: number) => new Date(time + days * DAY_MS).toISOString();
  const post = (tenant: Tenant, path: string, body: object) =>
    app.t.http.post(`${tenant.path}/usage${path}`).set(tenant.admin.auth).send(body);
  /** Records tokens that were used so many days from now, and returns the status. */
  const use = async (tenant: Tenant, tokens: number, days = -0.001) =>
    (await post(tenant, '', { eventId: newId(), model: 'm', tokens, occurredAt: inDays(days) })).status;
  const quotaOf = async ({ path, admin }: Tenant) =>
    (await app.t.http.get(`${path}/usage/quota`).set(admin.auth).expect(200)).body as Quota;
  /** The quotas with usage, oldest first: their start and their tokens. */
  const countedBy = async ({ id }: Tenant) => {
    const rows = await app.t.db.rows<{ period_start: Date; used: number }>(
      'SELECT period_start, used::int FROM usage_quotas WHERE owner_id = $1 AND used > 0 ORDER BY period_start',
      [id],
    );
    return rows.map(({ period_start: start, used }) => [start.toISOString(), used]);
  };
  const emit = async (type: string, subscription: PolarSubscription, at?: string) => app.emitPolar(type, subscription, at);
  /** A subscription of a tenant at Polar with these dates, in days from now. */
  const subscriptionOf = (tenant: Tenant, [start, end]: [number, number], more: Partial<PolarSubscription> = {}) =>
    polarSubscription({
      product_id: PRODUCT.pro,
      metadata: { organizationId: tenant.id },
      started_at: inDays(start),
      current_period_start: inDays(start),
      current_period_end: inDays(end),
      ...more,
    });
  /** The same subscription in another period. */
  const withPeriod = (subscription: PolarSubscription, [start, end]: [number, number]): PolarSubscription => ({
    ...subscription,
    current_period_start: inDays(start),
    current_period_end: inDays(end),
  });

  it('start a paid month at the end of the trial, with its own tokens', async () => {
    const tenant = await app.newTenant();
    await emit('subscription.active', subscriptionOf(tenant, [-6, 24], { started_at: inDays(-20), trial_end: inDays(-6) }));
    expect(await use(tenant, 4_950_000, -10)).toBe(201);
    expect(await use(tenant, 100_000)).toBe(201);
    expect(await quotaOf(tenant)).toMatchObject({ used: 100_000, carriedOver: 0, periodStart: inDays(-6), resetsAt: inDays(24) });
    // The trial has its own limit.
    expect([await use(tenant, 50_001, -7), await use(tenant, 50_000, -7)]).toEqual([402, 201]);
    const summary = await app.t.http
      .get(`${tenant.path}/usage/summary`)
      .query({ from: inDays(-6), to: inDays(1) })
      .set(tenant.admin.auth);
    expect(summary.body.total).toMatchObject({ tokens: 100_000 });
  });

  it('have an own quota for a trial, at Polar and at Dodo', async () => {
    const [atPolar, atDodo] = [await app.newTenant(), await app.newTenant()];
    const trial = subscriptionOf(atPolar, [-10, 4], { status: 'trialing', trial_start: inDays(-10), trial_end: inDays(4) });
    await emit('subscription.created', trial);
    expect(await use(atPolar, LIMIT, -9)).toBe(201);
    expect(await quotaOf(atPolar)).toMatchObject({ remaining: 0, periodStart: inDays(-10), resetsAt: inDays(4) });
    // The trial ends early, because the customer pays.
    await emit('subscription.active', { ...withPeriod(trial, [-1, 29]), status: 'active', trial_end: inDays(-1) });
    expect(await quotaOf(atPolar)).toMatchObject({ used: 0, carriedOver: 0, periodStart: inDays(-1), resetsAt: inDays(29) });

    const metadata = { organizationId: atDodo.id };
    const dates = { created_at: inDays(-16), previous_billing_date: inDays(-2), next_billing_date: inDays(28), trial_period_days: 14 };
    await app.buyAtDodo({ customer: dodoCustomerDetails(), metadata, ...dates });
    expect([await use(atDodo, LIMIT, -3), await use(atDodo, 1, -3), await use(atDodo, LIMIT, -1)]).toEqual([201, 402, 201]);
    expect(await quotaOf(atDodo)).toMatchObject({ used: LIMIT, periodStart: inDays(-2), resetsAt: inDays(28) });
  });

  it('follow a change from monthly to yearly, and carry over the usage of the month', async () => {
    const tenant = await app.newTenant();
    const monthly = subscriptionOf(tenant, [-10, 20]);
    await emit('subscription.active', monthly);
    expect(await use(tenant, 1_000_000, -2)).toBe(201);
    // Recorded before the change is known here, and used after it.
    expect(await use(tenant, 300_000, -0.01)).toBe(201);
    await emit('subscription.updated', withPeriod(monthly, [-1, 364]));
    const quota = await quotaOf(tenant);
    const nextMonth = new Date(quota.periodStart);
    nextMonth.setUTCMonth(nextMonth.getUTCMonth() + 1);
    expect(quota).toMatchObject({ used: 1_300_000, carriedOver: 1_000_000, remaining: 3_700_000, periodStart: inDays(-1) });
    expect(Math.abs(Date.parse(quota.resetsAt) - nextMonth.getTime())).toBeLessThanOrEqual(3 * DAY_MS);
    expect(await countedBy(tenant)).toEqual([
      [inDays(-10), 1_000_000],
      [inDays(-1), 300_000],
    ]);
    time = Date.parse(quota.resetsAt) + 1000;
    expect(await quotaOf(tenant)).toMatchObject({ used: 0, carriedOver: 0, periodStart: quota.resetsAt });
  });

  it('give no extra tokens for ten changes in a day, nor for backdated usage', async () => {
    const tenant = await app.newTenant();
    let subscription = subscriptionOf(tenant, [-10, 20]);
    await emit('subscription.active', subscription);
    const begin = time;
    const results = [await use(tenant, 2_000_000, -1), await use(tenant, 2_500_000)];
    for (let turn = 1; turn <= 10; turn += 1) {
      time += 2 * HOUR_MS;
      subscription = withPeriod(subscription, turn % 2 === 1 ? [0, 365] : [0, 30]);
      await emit('subscription.updated', subscription);
      time += HOUR_MS / 10;
      expect(await quotaOf(tenant)).toMatchObject({ periodStart: subscription.current_period_start });
      results.push(await use(tenant, 50_000 + turn));
    }
    expect(results.slice(0, 5)).toEqual([201, 201, ...Array<number>(3).fill(201)]);
    for (let turn = 0; turn <= 10; turn += 1)
      results.push(await use(tenant, 1_000_000, (begin - time) / DAY_MS + (turn * 2.1 - 0.05) / 24));
    const accepted = await app.t.db.rows<{ sum: number }>('SELECT sum(tokens_used)::int FROM usage WHERE owner_id = $1', [tenant.id]);
    const quota = await quotaOf(tenant);
    expect(accepted[0]!.sum).toBe(quota.used);
    expect(quota.used).toBeLessThanOrEqual(LIMIT);
    expect([await use(tenant, quota.remaining + 1), await use(tenant, quota.remaining)]).toEqual([402, 201]);
    expect(await quotaOf(tenant)).toMatchObject({ used: LIMIT, remaining: 0 });
  });

  it('count a late event in the stored period of its time, which an older event may have reported', async () => {
    const tenant = await app.newTenant();
    const [older, old] = [app.tick(), app.tick()];
    const now = subscriptionOf(tenant, [-3, 4], { started_at: inDays(-17) });
    await emit('subscription.cycled', now);
    await emit('subscription.cycled', withPeriod(now, [-10, -3]), old);
    await emit('subscription.created', withPeriod(now, [-17, -10]), older);
    expect(await Promise.all([-1, -4, -9, -11].map(async (days, index) => use(tenant, 1000 + index, days)))).toEqual([201, 201, 201, 201]);
    expect(await countedBy(tenant)).toEqual([
      [inDays(-17), 1003],
      [inDays(-10), 1001 + 1002],
      [inDays(-3), 1000],
    ]);
    expect(await quotaOf(tenant)).toMatchObject({ used: 1000, periodStart: inDays(-3), resetsAt: inDays(4) });
  });

  it('continue after the old end while a renewal is unconfirmed, in the quota of the renewal', async () => {
    const tenant = await app.newTenant();
    const subscription = subscriptionOf(tenant, [-30.5, -0.5]);
    await emit('subscription.active', subscription);
    expect(await use(tenant, 70_000, -0.1)).toBe(201);
    expect(await quotaOf(tenant)).toMatchObject({ used: 70_000, periodStart: inDays(-0.5) });
    await emit('subscription.cycled', withPeriod(subscription, [-0.5, 29.5]));
    expect(await quotaOf(tenant)).toMatchObject({ used: 70_000, carriedOver: 0, periodStart: inDays(-0.5), resetsAt: inDays(29.5) });
  });

  it('start again after a pause, and carry over what a pause cut short', async () => {
    const [afterPeriod, within] = [await app.newTenant(), await app.newTenant()];
    const ended = subscriptionOf(afterPeriod, [-50, -20]);
    await emit('subscription.active', ended);
    await emit('subscription.paused', { ...ended, status: 'paused' });
    await emit('subscription.resumed', withPeriod(ended, [-2, 28]));
    expect([await use(afterPeriod, LIMIT, -30), await use(afterPeriod, LIMIT, -1)]).toEqual([201, 201]);
    expect(await quotaOf(afterPeriod)).toMatchObject({ used: LIMIT, carriedOver: 0, periodStart: inDays(-2), resetsAt: inDays(28) });

    const metadata = { organizationId: within.id };
    const dates = { created_at: inDays(-10), previous_billing_date: inDays(-10), next_billing_date: inDays(20) };
    const running = dodoSubscription({ product_id: PRODUCT.pro, metadata, ...dates });
    await app.emitDodo('subscription.active', running);
    expect(await use(within, 4_000_000, -5)).toBe(201);
    await app.emitDodo('subscription.paused', { ...running, status: 'paused', paused_at: inDays(-4) });
    await app.emitDodo('subscription.unpaused', { ...running, previous_billing_date: inDays(-1), next_billing_date: inDays(29) });
    expect(await quotaOf(within)).toMatchObject({
      carriedOver: 4_000_000,
      remaining: 1_000_000,
      periodStart: inDays(-1),
      resetsAt: inDays(29),
    });
  });

  it('carry over holds from before a change was known', async () => {
    const tenant = await app.newTenant();
    const monthly = subscriptionOf(tenant, [-10, 20]);
    await emit('subscription.active', monthly);
    const hold = await post(tenant, '/holds', { estimatedTokens: 400_000, expiresInSeconds: 3600 }).expect(201);
    await emit('subscription.updated', withPeriod(monthly, [-1, 364]));
    expect(await quotaOf(tenant)).toMatchObject({ held: 400_000, remaining: LIMIT - 400_000, periodStart: inDays(-1) });
    const event = { eventId: newId(), model: 'm', tokens: 300_000 };
    const settled = await post(tenant, `/holds/${hold.body.id as string}/settle`, event).expect(201);
    expect(settled.body.quota).toMatchObject({ used: 300_000, overrun: 0, held: 0, carriedOver: 0 });
  });

  it('do not start a new one in the hour after the known end', async () => {
    const tenant = await app.newTenant();
    const ending = subscriptionOf(tenant, [-30, -0.02], { cancel_at_period_end: true, ends_at: inDays(-0.02) });
    await emit('subscription.canceled', ending);
    expect([await use(tenant, LIMIT, -3), await use(tenant, 1)]).toEqual([201, 402]);
    expect(await quotaOf(tenant)).toMatchObject({ remaining: 0, periodStart: inDays(-30), resetsAt: inDays(-0.02) });
  });

  it('raise each alert once in a period, and count the carried-over tokens', async () => {
    const tenant = await app.newTenant();
    const monthly = subscriptionOf(tenant, [-10, 20]);
    await emit('subscription.active', monthly);
    await use(tenant, 2_600_000, -2);
    await emit('subscription.updated', withPeriod(monthly, [-1, 364]));
    for (const tokens of [1_400_000, 100_000]) expect(await use(tenant, tokens)).toBe(201);
    const { body } = await app.t.http.get(`${tenant.path}/usage/alerts`).set(tenant.admin.auth).expect(200);
    expect(body.data.map((alert: Record<string, unknown>) => [alert['periodStart'], alert['threshold'], alert['used']])).toEqual([
      [inDays(-1), 80, 4_000_000],
      [inDays(-1), 50, 4_000_000],
      [inDays(-10), 50, 2_600_000],
    ]);
  });

  it('are the same in every order of events, with duplicates', async () => {
    const [first, ...others] = [
      [-40, -10],
      [-10, 20],
      [-4, 361],
      [-2, 28],
    ] as [number, number][];
    const times = [0, 1, 2, 3].map(() => app.tick());
    // A third of all orders; the convergence proofs generate more.
    const orders = permutations([0, 1, 2, 3]).filter((_, index) => index % 3 === 0);
    const outcomes = new Map<string, number[][]>();
    for (const order of orders) {
      const tenant = await app.newTenant();
      const begun = subscriptionOf(tenant, first!);
      const events = [begun, ...others.map((period) => withPeriod(begun, period))];
      for (const index of [...order, order[0]!]) await emit('subscription.updated', events[index]!, times[index]);
      for (const [index, days] of [-30, -9, -3.5, -1, -39, -5, -2.5].entries()) await use(tenant, 1000 + index, days);
      const periods = await app.t.db.rows(
        `SELECT p.starts_at, p.ends_at FROM subscription_periods p JOIN subscriptions s ON s.id = p.subscription_id
          WHERE s.owner_id = $1 ORDER BY p.starts_at`,
        [tenant.id],
      );
      const { used, carriedOver, periodStart, resetsAt } = await quotaOf(tenant);
      const outcome = JSON.stringify({ periods, counted: await countedBy(tenant), used, carriedOver, periodStart, resetsAt });
      outcomes.set(outcome, [...(outcomes.get(outcome) ?? []), order]);
    }
    expect([...outcomes.values()]).toEqual([orders]);
    expect([...outcomes.keys()][0]).toContain(JSON.stringify({ periodStart: inDays(-2), resetsAt: inDays(28) }).slice(1));
  });
});

function permutations(items: number[]): number[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => permutations(items.filter((_, other) => other !== index)).map((rest) => [item, ...rest]));
}
