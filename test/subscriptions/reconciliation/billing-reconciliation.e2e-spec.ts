import type { NestExpressApplication } from '@nestjs/platform-express';
import { BillingReconciliation } from '../../../src/subscriptions/reconciliation/billing-reconciliation.service.js';
import type { Difference, ReconciliationOptions } from '../../../src/sync/reconciliation.port.js';
import { DodoApi } from '../../../src/providers/dodo/dodo-api.client.js';
import { PolarApi } from '../../../src/providers/polar/polar-api.client.js';
import { startTestApp } from '../../support/app.js';
import {
  type BillingSide,
  BillingWorld,
  useClock,
  type ProviderName,
  startDodoSide,
  startPolarSide,
} from '../../support/billing/billing-world.js';
import { signUpOperator } from '../../support/people.js';
import { runJob } from '../../support/tenants.js';
import { skipJob } from '../../support/tenant-world.js';

let world: BillingWorld;
beforeEach(async () => {
  world = await BillingWorld.start();
});
afterEach(() => world.close());

async function reconcile(options: ReconciliationOptions = {}, on: NestExpressApplication = world.app): Promise<string[]> {
  const differences: Difference[] = [];
  const { found, repaired } = await on
    .get(BillingReconciliation)
    .reconcile({ ...options, onDifference: (difference) => differences.push(difference) });
  expect([found, repaired]).toEqual([differences.length, differences.filter(({ isRepaired }) => isRepaired).length]);
  return differences.map(({ kind, resource, id, details, isRepaired }) =>
    [kind, resource, id, ...(details.length === 0 ? [] : [`(${details.join(', ')})`]), ...(isRepaired ? ['repaired'] : [])].join(' '),
  );
}

/** A comparison without repair changes nothing, and a comparison after the repair finds nothing. */
async function expectRepaired(differences: string[]): Promise<void> {
  const before = await world.rows();
  expect((await reconcile()).toSorted()).toEqual(differences.toSorted());
  expect(await world.rows()).toEqual(before);
  expect((await reconcile({ fix: true })).toSorted()).toEqual(differences.map((one) => `${one} repaired`).toSorted());
  expect(await reconcile()).toEqual([]);
  expect(await reconcile({ fix: true })).toEqual([]);
}

const CHANGED_BY_HAND = [
  ['status', `status = 'paused'`],
  ['providerStatus', `provider_status = 'else'`],
  ['productId', `product_id = 'another'`],
  ['providerCustomerId', `provider_customer_id = 'another'`],
  ['ownerClaims', `owner_claims = '{user:another}'`],
  ['startedAt', `started_at = '2001-01-01'`],
  ['currentPeriodStart', `current_period_start = '2001-01-01'`],
  ['currentPeriodEnd', `current_period_end = '2101-01-01'`],
  ['cancelAtPeriodEnd', `cancel_at_period_end = true`],
  ['canceledAt', `canceled_at = '2001-01-01'`],
  ['endedAt', `ended_at = '2001-01-01'`],
  ['trialEnd', `trial_end = '2001-01-01'`],
  ['pastDueUntil', `past_due_until = '2001-01-01'`],
  ['seats', `seats = 77`],
  ['amount', `amount = 77`],
  ['currency', `currency = 'XTS'`],
] as const;

const sides = (): BillingSide[] => [world.polar, world.dodo];

describe.each<ProviderName>(['polar', 'dodo'])('reconciliation with %s', (name) => {
  let side: BillingSide;
  beforeEach(() => {
    side = world.side(name);
  });

  /** Runs an action at each request for one subscription after the list; earlier requests only check the account. */
  const onRequestFor = (id: string, action: (count: number) => void | Promise<void>) => {
    let count: number | undefined;
    side.control.onCall = async (call) => {
      if (call.includes('page')) count = 0;
      if (count !== undefined && call.includes(id)) await action((count += 1));
    };
  };

  it('finds no difference between equal states', async () => {
    const [, ends, ended, failing] = [side.subscribe(), side.subscribe({ seats: 3 }), side.subscribe(), side.subscribe()];
    side.cancel(ends, 'period end');
    side.cancel(ended, 'now');
    side.setCard(failing, 'fails');
    world.clock.advance({ days: 32 });
    side.tick();
    await world.deliverNew(side);
    const before = await world.rows();
    expect(await reconcile()).toEqual([]);
    expect(await reconcile({ fix: true })).toEqual([]);
    expect(await world.rows()).toEqual(before);
  });

  it('creates a missing subscription, and its late events change nothing', async () => {
    const id = side.subscribe({ seats: 2, metadata: { organizationId: 'org_1' } });
    const lost = world.loseNew(side);
    world.clock.advance({ minutes: 2 });
    await expectRepaired([`missing ${name} subscription ${id}`]);
    expect(await world.row(id)).toMatchObject({ status: 'active', seats: 2, owner_claims: ['organization:org_1'] });
    for (const event of lost) await world.apply(side, event);
    expect(await reconcile()).toEqual([]);
  });

  it('ignores a subscription in its first minutes, because its events may be on their way', async () => {
    side.subscribe();
    world.loseNew(side);
    expect(await reconcile({ fix: true })).toEqual([]);
  });

  it('repairs every change without an event', async () => {
    const [ends, ended, seats] = [side.subscribe(), side.subscribe(), side.subscribe({ seats: 2 })];
    await world.deliverNew(side);
    world.clock.advance({ days: 1 });
    side.cancel(ends, 'period end');
    side.cancel(ended, 'now');
    side.setSeats(seats, 5);
    const lost = world.loseNew(side);
    expect((await reconcile()).map((one) => one.split(' (')[0])).toEqual(
      expect.arrayContaining([ends, ended, seats].map((id) => `stale ${name} subscription ${id}`)),
    );
    expect(await reconcile({ fix: true })).toHaveLength(3);
    expect(await reconcile()).toEqual([]);
    expect(await world.row(ends)).toMatchObject({ status: 'active', cancel_at_period_end: true });
    expect(await world.row(ended)).toMatchObject({ status: 'canceled' });
    expect(await world.row(seats)).toMatchObject({ seats: 5 });
    for (const event of lost) await world.apply(side, event);
    expect(await reconcile()).toEqual([]);
  });

  it('repairs every field that was changed by hand', async () => {
    const id = side.subscribe({ seats: 2 });
    await world.deliverNew(side);
    const { updated_at: _, confirmed_at: __, ...right } = await world.row(id);
    for (const [field, change] of CHANGED_BY_HAND) {
      await world.db.rows(`UPDATE subscriptions SET ${change}`);
      expect(await reconcile({ only: name })).toEqual([`stale ${name} subscription ${id} (${field})`]);
      expect(await reconcile({ only: name, fix: true })).toEqual([`stale ${name} subscription ${id} (${field}) repaired`]);
      expect(await world.row(id)).toMatchObject({ ...right, check_at: expect.any(Date) });
    }
  });

  it('ends a subscription that the provider does not have, but not in its first minute', async () => {
    side.subscribe();
    await world.deliverNew(side);
    const unknown = await world.insertUnknown(name);
    await world.insertUnknown(name, { status: 'canceled' });
    await world.insertUnknown(name, { createdAt: world.clock.now() });
    await expectRepaired([`extra ${name} subscription ${unknown}`]);
    expect(await world.row(unknown)).toMatchObject({ status: 'canceled', ended_at: world.clock.now(), check_at: null });
    expect(await world.db.rows(`SELECT action FROM audit_log WHERE target_id = $1`, [(await world.row(unknown))['id']])).toEqual([
      { action: 'subscription.updated' },
    ]);
  });

  it('does not overwrite an event that arrives during the comparison', async () => {
    const id = side.subscribe({ seats: 2 });
    await world.deliverNew(side);
    world.clock.advance({ minutes: 1 });
    side.setSeats(id, 3);
    world.loseNew(side);
    onRequestFor(id, async (count) => {
      if (count > 1) return;
      world.clock.advance({ minutes: 1 });
      side.setSeats(id, 4);
      await world.deliverNew(side);
    });
    expect(await reconcile({ fix: true })).toHaveLength(1);
    expect(await world.row(id)).toMatchObject({ seats: 4 });
    expect(await reconcile()).toEqual([]);
  });

  it('does not end a subscription with a new event', async () => {
    side.subscribe();
    await world.deliverNew(side);
    const unknown = await world.insertUnknown(name);
    onRequestFor(unknown, async (count) => {
      if (count === 2)
        await world.db.rows(`UPDATE subscriptions SET event_id = 'just come', seats = 9 WHERE provider_subscription_id = $1`, [unknown]);
      if (count > 2) side.faults.push({ status: 503 });
    });
    await expect(reconcile({ fix: true })).rejects.toThrow('503');
    expect(await world.row(unknown)).toMatchObject({ status: 'active', seats: 9 });
  });

  it('reports a subscription that cannot be read, leaves it unchanged, and continues', async () => {
    const [first, second] = [side.subscribe(), side.subscribe()];
    world.loseNew(side);
    world.clock.advance({ minutes: 2 });
    const answered = JSON.stringify({ ...side.apiResponse(first), status: 'asleep' });
    const isRequestFor = (call: string) => call.startsWith('GET') && call.includes(first);
    side.control.onCall = (call) => void (isRequestFor(call) && side.faults.push({ status: 200, body: answered }));
    expect((await reconcile({ fix: true })).toSorted()).toEqual(
      [`missing ${name} subscription ${first} (Missing or invalid: status)`, `missing ${name} subscription ${second} repaired`].toSorted(),
    );
  });

  it('keeps its repairs when the provider becomes unavailable, and continues at the next run', async () => {
    const ids = [side.subscribe(), side.subscribe(), side.subscribe()];
    world.loseNew(side);
    world.clock.advance({ minutes: 2 });
    let requests = 0;
    side.control.onCall = (call) => {
      if (call.startsWith('GET') && ids.some((id) => call.includes(id)) && (requests += 1) > 2) side.faults.push({ status: 503 });
    };
    await expect(reconcile({ fix: true })).rejects.toMatchObject({ provider: name, status: 503 });
    expect(await world.db.rows('SELECT FROM subscriptions')).toHaveLength(1);
    side.control.onCall = undefined;
    expect(await reconcile({ fix: true })).toHaveLength(2);
    expect(await reconcile()).toEqual([]);
  });
});

describe('reconciliation with billing providers', () => {
  it('does not apply an API response that is older than the last event', async () => {
    const id = world.polar.subscribe({ seats: 2 });
    const stale = JSON.stringify(world.polar.apiResponse(id));
    world.clock.advance({ minutes: 1 });
    world.polar.setSeats(id, 3);
    await world.deliverNew(world.polar);
    // A stale replica, which shows an older modification time.
    const lag = () => world.polar.faults.push({ status: 200, body: stale });
    world.polar.control.onCall = (call) => void (call.includes(id) && lag());
    await world.db.rows('UPDATE subscriptions SET amount = 1');
    const before = await world.row(id);
    expect(await reconcile({ fix: true })).toEqual([
      `stale polar subscription ${id} (seats, amount, the answer is older than an event of it)`,
    ]);
    expect(await world.row(id)).toEqual(before);
  });

  it('compares the end of a fixed term, which Dodo’s lists omit, only with the single subscription', async () => {
    const [listed, unlisted] = [world.dodo.subscribe(), world.dodo.subscribe()];
    await world.deliverNew(world.dodo);
    await world.db.rows(`UPDATE subscriptions SET ends_at = '2001-01-01'`);
    expect(await reconcile()).toEqual([]);
    world.dodo.faults.push({ status: 200, body: JSON.stringify({ items: [world.dodo.apiResponse(listed)] }) });
    expect(await reconcile()).toEqual([`stale dodo subscription ${listed} (endsAt)`, `stale dodo subscription ${unlisted} (endsAt)`]);
  });

  it('does not replace the known end of a grace period with an estimate', async () => {
    const id = world.dodo.subscribe();
    world.dodo.setCard(id, 'fails');
    world.clock.advance({ days: 32 });
    world.dodo.tick();
    await world.deliverNew(world.dodo);
    const { past_due_until: knownEnd } = await world.row(id);
    await world.db.rows(`UPDATE subscriptions SET seats = 7`);
    await expectRepaired([`stale dodo subscription ${id} (seats)`]);
    expect(await world.row(id)).toMatchObject({ status: 'past_due', past_due_until: knownEnd });
  });

  it('replaces the end of an earlier grace period with an estimate', async () => {
    const id = world.dodo.subscribe();
    const failPaymentAfter = (days: number) => {
      world.dodo.setCard(id, 'fails');
      world.clock.advance({ days });
      world.dodo.tick();
    };
    failPaymentAfter(32);
    await world.deliverNew(world.dodo);
    const { past_due_until: knownEnd } = await world.row(id);
    world.dodo.setCard(id, 'works');
    world.clock.advance({ days: 3 });
    world.dodo.tick();
    failPaymentAfter(26);
    expect(world.dodo.statusOf(id)).toBe('past_due');
    world.loseNew(world.dodo);
    await expectRepaired([`stale dodo subscription ${id} (currentPeriodStart, currentPeriodEnd, pastDueUntil)`]);
    const { past_due_until: until, current_period_end: end } = await world.row(id);
    expect(until).toEqual(new Date((end as Date).getTime() + 7 * 86_400_000));
    expect(until).not.toEqual(knownEnd);
  });

  it('compares both providers, or the selected one', async () => {
    const [polar, dodo] = sides().map((side) => side.subscribe());
    sides().map((side) => world.loseNew(side));
    world.clock.advance({ minutes: 2 });
    expect(await reconcile()).toEqual([`missing polar subscription ${polar}`, `missing dodo subscription ${dodo}`]);
    expect(await reconcile({ only: 'dodo' })).toEqual([`missing dodo subscription ${dodo}`]);
    await expect(reconcile({ only: 'stripe' })).rejects.toThrow('stripe is not configured: there is no key to its API.');
    const unconfigured = await world.open();
    await expect(reconcile({}, unconfigured)).rejects.toThrow('No billing provider is configured.');
    await unconfigured.close();
  });

  it('ignores grants', async () => {
    await world.db.rows(
      `INSERT INTO subscriptions (id, provider, tier, status, created_at) VALUES (gen_random_uuid(), 'manual', 'pro', 'active', '2001-01-01')`,
    );
    expect(await reconcile({ fix: true })).toEqual([]);
  });

  describe('with a key for another account', () => {
    const startOtherAccount = async () => {
      const [polar, dodo] = [await startPolarSide(world.clock, 2), await startDodoSide(world.clock, 2)];
      const app = await world.open({ ...polar.environment, ...dodo.environment });
      return { polar, dodo, app, close: () => Promise.all([app.close(), polar.close(), dodo.close()]) };
    };

    it('repairs nothing, however few subscriptions there are, unless forced', async () => {
      const other = await startOtherAccount();
      world.polar.subscribe();
      await world.deliverNew(world.polar);
      other.polar.subscribe();
      world.clock.advance({ minutes: 2 });
      const before = await world.rows();
      await expect(reconcile({ fix: true }, other.app)).rejects.toThrow('polar knows none of our subscriptions');
      expect(await world.rows()).toEqual(before);
      expect(await reconcile({}, other.app)).toHaveLength(2);
      expect(await reconcile({ fix: true, force: true }, other.app)).toHaveLength(2);
      expect(await reconcile({ fix: true }, other.app)).toEqual([]);
      await other.close();
    });

    it('refuses to end most of the subscriptions, and half is not most', async () => {
      for (let count = 0; count < 11; count += 1) world.dodo.subscribe();
      await world.deliverNew(world.dodo);
      world.clock.advance({ minutes: 2 });
      for (let count = 0; count < 12; count += 1) await world.insertUnknown('dodo');
      const before = await world.rows();
      await expect(reconcile({ fix: true })).rejects.toThrow('dodo does not know 12 of our 23 subscriptions: this looks like the key');
      expect(await world.rows()).toEqual(before);
      for (let count = 0; count < 2; count += 1) world.dodo.subscribe();
      await world.deliverNew(world.dodo);
      world.clock.advance({ minutes: 2 });
      expect(await reconcile({ fix: true })).toHaveLength(12);
      expect(await reconcile()).toEqual([]);
    });
  });

  describe('as a job', () => {
    const operatorOf = async () => {
      const t = await startTestApp({ ...world.polar.environment, ...world.dodo.environment }, world.db);
      useClock(t.app, world.clock);
      t.app.get(PolarApi).calls.limits.pageSize = 2;
      t.app.get(DodoApi).calls.limits.pageSize = 2;
      return { t, operator: await signUpOperator(t) };
    };
    const lists = (side: BillingSide) => side.calls.filter((call) => /^GET [^?]*\/subscriptions\/?\?/.test(call));
    const pagesOf = (side: BillingSide) => lists(side).map((call) => /page(?:_number)?=(\d+)/.exec(call)![1]);

    beforeEach(async () => {
      await skipJob(world.db, 'reconcile_billing', 86_400);
    });

    it('repairs, and counts the differences', async () => {
      world.polar.subscribe();
      world.loseNew(world.polar);
      const id = world.dodo.subscribe();
      await world.deliverNew(world.dodo);
      world.dodo.cancel(id, 'now');
      world.clock.advance({ minutes: 2 });
      const { t, operator } = await operatorOf();
      try {
        await runJob(t, operator, 'reconcile_billing');
        expect(await reconcile()).toEqual([]);
        const { text } = await t.http.get('/metrics').expect(200);
        for (const outcome of ['found', 'repaired']) {
          expect(text).toContain(`tenantry_billing_differences{provider="polar",kind="missing",outcome="${outcome}"} 1`);
          expect(text).toContain(`tenantry_billing_differences{provider="dodo",kind="stale",outcome="${outcome}"} 1`);
        }
        expect(text).toContain('tenantry_billing_differences{provider="polar",kind="extra",outcome="found"} 0');
        const [run] = await world.db.rows(
          `SELECT count, error FROM job_runs WHERE job = 'reconcile_billing' ORDER BY started_at DESC LIMIT 1`,
        );
        expect(run).toEqual({ count: 2, error: null });
      } finally {
        await t.close();
      }
    });

    it('continues where it stopped, and an unavailable provider does not affect the other one', async () => {
      for (let count = 0; count < 7; count += 1) world.polar.subscribe();
      world.dodo.subscribe();
      sides().map((side) => world.loseNew(side));
      world.clock.advance({ minutes: 2 });
      const { t, operator } = await operatorOf();
      try {
        world.polar.control.onCall = (call) => void (call.includes('page=3') && world.polar.faults.push({ status: 503 }));
        await expect(runJob(t, operator, 'reconcile_billing')).rejects.toThrow('polar could not list subscriptions: 503');
        expect(pagesOf(world.polar).slice(0, 3)).toEqual(['1', '2', '3']);
        expect(await world.db.rows(`SELECT provider, phase, position FROM billing_walks`)).toEqual([
          { provider: 'polar', phase: 'theirs', position: '3' },
        ]);
        expect(await world.db.rows(`SELECT FROM subscriptions WHERE provider = 'dodo'`)).toHaveLength(1);
        world.polar.control.onCall = undefined;
        world.polar.calls.length = 0;
        await runJob(t, operator, 'reconcile_billing');
        expect(pagesOf(world.polar)).toEqual(['3', '4']);
        expect(await world.db.rows('SELECT FROM billing_walks')).toEqual([]);
        expect(await reconcile()).toEqual([]);
      } finally {
        await t.close();
      }
    });

    it('continues in the list of our subscriptions, and finds again the ones to end', async () => {
      world.polar.subscribe();
      await world.deliverNew(world.polar);
      const unknowns: string[] = [];
      for (let count = 0; count < 3; count += 1) unknowns.push(await world.insertUnknown('polar'));
      const { t, operator } = await operatorOf();
      try {
        const isSecondRequest = (call: string) => call.includes(unknowns[2]!) && world.polar.calls.some((one) => one.includes('page='));
        world.polar.control.onCall = (call) => void (isSecondRequest(call) && world.polar.faults.push({ status: 503 }));
        await expect(runJob(t, operator, 'reconcile_billing')).rejects.toThrow('503');
        expect(await world.db.rows('SELECT phase, position FROM billing_walks')).toEqual([{ phase: 'ours', position: null }]);
        expect(await reconcile({ only: 'dodo' })).toEqual([]);
        world.polar.control.onCall = undefined;
        world.polar.calls.length = 0;
        await runJob(t, operator, 'reconcile_billing');
        expect(lists(world.polar)).toEqual([]);
        expect(await reconcile()).toEqual([]);
      } finally {
        await t.close();
      }
    });

    it('does not exist without a key', async () => {
      const t = await startTestApp({}, world.db);
      try {
        const operator = await signUpOperator(t);
        await t.http.post('/v1/jobs/reconcile_billing/run').set(operator.auth).expect(404);
      } finally {
        await t.close();
      }
    });
  });
});
