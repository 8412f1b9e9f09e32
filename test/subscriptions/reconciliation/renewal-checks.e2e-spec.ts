import type { NestExpressApplication } from '@nestjs/platform-express';
import { Metrics } from '../../../src/platform/metrics/metrics.service.js';
import { OutboxService } from '../../../src/outbox/outbox.service.js';
import { RenewalChecks } from '../../../src/subscriptions/reconciliation/renewal-checks.job.js';
import { SUBSCRIPTION_CANCELLATION } from '../../../src/subscriptions/customers/subscription-owners.service.js';
import { startTestApp } from '../../support/app.js';
import { type BillingSide, BillingWorld, useClock, type ProviderName } from '../../support/billing/billing-world.js';
import { until } from '../../support/until.js';

let world: BillingWorld;
beforeEach(async () => {
  world = await BillingWorld.start();
});
afterEach(() => world.close());

const confirm = (on: NestExpressApplication = world.app) => on.get(RenewalChecks).confirmDue(new AbortController().signal);

const later = (seconds: number) => new Date(world.clock.now().getTime() + seconds * 1000);

async function outcomes(on: NestExpressApplication = world.app): Promise<string[]> {
  const { values } = await on.get(Metrics).registry.getSingleMetric('tenantry_subscription_checks_total')!.get();
  return values.map(({ labels, value }) => `${labels['provider']} ${labels['outcome']} ${value}`);
}

describe.each<ProviderName>(['polar', 'dodo'])('the renewal check of a %s subscription', (name) => {
  let side: BillingSide;
  let id: string;

  beforeEach(async () => {
    side = world.side(name);
    id = side.subscribe({ seats: 2 });
    await world.deliverNew(side);
  });

  /** Advances a month, and loses all events of it. */
  const loseOneMonth = () => {
    world.clock.advance({ days: 32 });
    side.tick();
    world.loseNew(side);
  };

  it('does not run before the date', async () => {
    world.clock.advance({ days: 20 });
    expect(await confirm()).toBe(0);
    expect(side.calls).toEqual([]);
  });

  it('records a renewal', async () => {
    const before = await world.row(id);
    loseOneMonth();
    expect(await confirm()).toBe(1);
    const row = await world.row(id);
    expect(row).toMatchObject({ status: 'active', confirmed_at: world.clock.now() });
    expect(row['current_period_start']).toEqual(before['current_period_end']);
    expect((row['check_at'] as Date).getTime()).toBeGreaterThan((row['current_period_end'] as Date).getTime());
    expect(await outcomes()).toEqual([`${name} confirmed 1`]);
    expect(await confirm()).toBe(0);
  });

  it('records the end', async () => {
    side.cancel(id, 'period end');
    world.loseNew(side);
    loseOneMonth();
    await confirm();
    expect(await world.row(id)).toMatchObject({ status: 'canceled', check_at: null });
  });

  it('records a failed payment', async () => {
    side.setCard(id, 'fails');
    loseOneMonth();
    await confirm();
    expect(await world.row(id)).toMatchObject({ status: 'past_due', past_due_until: expect.any(Date) });
  });

  it('records that nothing has changed', async () => {
    world.clock.advance({ days: 2 });
    await world.db.rows('UPDATE subscriptions SET check_at = $1', [world.clock.now()]);
    const { current_period_end: periodEnd, event_at: eventAt, event_id: eventId } = await world.row(id);
    await confirm();
    const row = await world.row(id);
    expect(row).toMatchObject({ status: 'active', current_period_end: periodEnd, confirmed_at: world.clock.now() });
    // A late older event must not overwrite it.
    if (name === 'polar') expect([row['event_at'], row['event_id']]).toEqual([eventAt, eventId]);
  });

  it('ends a subscription that the provider does not know', async () => {
    const unknown = await world.insertUnknown(name, { checkAt: world.clock.now() });
    expect(await confirm()).toBe(1);
    expect(await world.row(unknown)).toMatchObject({ status: 'canceled', ended_at: world.clock.now(), check_at: null });
    expect(await outcomes()).toEqual([`${name} gone 1`]);
  });

  it('ends nothing when the provider knows none of ours, because the key may belong to another account', async () => {
    await world.db.rows('DELETE FROM subscriptions');
    const unknowns = [await world.insertUnknown(name, { checkAt: world.clock.now() }), await world.insertUnknown(name)];
    await confirm();
    for (const unknown of unknowns) expect(await world.row(unknown)).toMatchObject({ status: 'active' });
    expect(await world.row(unknowns[0]!)).toMatchObject({ check_at: later(300) });
    expect(await outcomes()).toEqual([`${name} unanswered 1`]);
  });

  it('ends nothing when the only subscription is unknown, because the key may belong to another account', async () => {
    await world.db.rows('DELETE FROM subscriptions');
    const unknown = await world.insertUnknown(name, { checkAt: world.clock.now() });
    await confirm();
    expect(await world.row(unknown)).toMatchObject({ status: 'active', check_at: later(300) });
    expect(await outcomes()).toEqual([`${name} unanswered 1`]);
  });

  it('changes nothing while the provider is unavailable, and runs again in five minutes', async () => {
    for (let count = 0; count < 3; count += 1) side.subscribe();
    await world.deliverNew(side);
    loseOneMonth();
    const untouched = async () =>
      (await world.db.rows('SELECT * FROM subscriptions ORDER BY id')).map(({ check_at: _, updated_at: __, ...row }) => row);
    const before = await untouched();
    side.faults.push(...Array.from({ length: 4 }, () => ({ status: 503 })));
    expect(await confirm()).toBe(4);
    // The first failure shows that the provider is unavailable, so the others are not tried.
    expect(side.calls).toHaveLength(4);
    expect(await untouched()).toEqual(before);
    expect(await world.db.rows('SELECT DISTINCT check_at FROM subscriptions')).toEqual([{ check_at: later(300) }]);
    expect(await outcomes()).toEqual([`${name} unanswered 4`]);
    expect(await confirm()).toBe(0);
    world.clock.advance({ minutes: 5 });
    expect(await confirm()).toBe(4);
    expect(await world.db.rows(`SELECT FROM subscriptions WHERE confirmed_at IS NOT NULL`)).toHaveLength(4);
  });

  it('changes nothing without a key for the provider', async () => {
    loseOneMonth();
    const unconfigured = await world.open();
    await confirm(unconfigured);
    expect(await world.row(id)).toMatchObject({ status: 'active', confirmed_at: null, check_at: later(300) });
    expect(await outcomes(unconfigured)).toEqual([`${name} unanswered 1`]);
    await unconfigured.close();
  });

  it('goes on with other subscriptions when the provider refuses one', async () => {
    side.subscribe();
    await world.deliverNew(side);
    loseOneMonth();
    side.faults.push({ status: 400 });
    expect(await confirm()).toBe(2);
    expect((await outcomes()).toSorted()).toEqual([`${name} confirmed 1`, `${name} unanswered 1`]);
  });

  it('changes nothing when the response cannot be read', async () => {
    loseOneMonth();
    side.faults.push({ status: 200, body: JSON.stringify({ ...side.apiResponse(id), status: 'asleep' }) });
    await confirm();
    expect(await world.row(id)).toMatchObject({ status: 'active', confirmed_at: null, check_at: later(3600) });
    expect(await outcomes()).toEqual([`${name} unreadable 1`]);
  });

  it('does not overwrite an event that arrives during the check', async () => {
    loseOneMonth();
    side.control.onCall = async () => {
      side.control.onCall = undefined;
      world.clock.advance({ minutes: 1 });
      side.setSeats(id, 9);
      await world.deliverNew(side);
    };
    await confirm();
    expect(await world.row(id)).toMatchObject({ seats: 9, confirmed_at: null });
    expect(await outcomes()).toEqual([`${name} overtaken 1`]);
  });

  it('runs once for each subscription on several replicas', async () => {
    for (let count = 0; count < 24; count += 1) side.subscribe();
    await world.deliverNew(side);
    loseOneMonth();
    const other = await world.open(side.environment);
    const counts = await Promise.all([confirm(), confirm(other)]);
    expect(counts[0] + counts[1]).toBe(25);
    expect(side.calls).toHaveLength(25);
    await other.close();
  });

  it('runs again after an hour when its process dies', async () => {
    loseOneMonth();
    const requested = new Promise<void>((resolve) => {
      side.control.onCall = () => {
        side.control.onCall = undefined;
        side.faults.push('hang');
        resolve();
      };
    });
    const stopping = new AbortController();
    const claimed = world.app.get(RenewalChecks).confirmDue(stopping.signal);
    await requested;
    expect(await world.row(id)).toMatchObject({ check_at: later(3600) });
    expect(await confirm()).toBe(0);
    world.clock.advance({ hours: 1 });
    expect(await confirm()).toBe(1);
    expect(await world.row(id)).toMatchObject({ confirmed_at: world.clock.now() });
    // The check was leased again meanwhile, so the stopped run must not release it.
    const { check_at: checkAt } = await world.row(id);
    stopping.abort(new Error('enough'));
    await claimed;
    expect(await world.row(id)).toMatchObject({ check_at: checkAt });
  });
});

describe('a subscription of a deleted owner', () => {
  it.each<ProviderName>(['polar', 'dodo'])('is canceled at %s, with retries', async (name) => {
    const side = world.side(name);
    const [id, endedId] = [side.subscribe(), side.subscribe()];
    side.cancel(endedId, 'now');
    await world.deliverNew(side);
    await world.db.rows('UPDATE subscriptions SET end_requested_at = now() WHERE provider_subscription_id = ANY ($1)', [[id, endedId]]);
    const t = await startTestApp(side.environment, world.db);
    useClock(t.app, world.clock);
    try {
      side.faults.push({ status: 503 });
      for (const providerSubscriptionId of [endedId, id])
        await t.app.get(OutboxService).enqueue(SUBSCRIPTION_CANCELLATION, { provider: name, providerSubscriptionId });
      await until(async () => {
        await world.db.rows('UPDATE outbox SET next_attempt_at = now() WHERE done_at IS NULL AND attempts > 0');
        return (await world.db.rows('SELECT FROM outbox WHERE done_at IS NULL')).length === 0;
      });
      expect([id, endedId].map((one) => side.statusOf(one))).toEqual(
        name === 'polar' ? ['canceled', 'canceled'] : ['cancelled', 'cancelled'],
      );
    } finally {
      await t.close();
    }
  });
});
