import type { NestExpressApplication } from '@nestjs/platform-express';
import { Metrics } from '../../../src/platform/metrics/metrics.service.js';
import { OutboxService } from '../../../src/outbox/outbox.service.js';
import { RenewalChecks } from '../../../src/subscriptions/reconciliation/renewal-checks.job.js';
import { SUBSCRIPTION_CANCELLATION } from '../../../src/subscriptions/customers/subscription-owners.service.js';
import { startTestApp } from '../../support/app.js';
import { type BillingSide, BillingWorld, keepTime, type ProviderName } from '../../support/billing/billing-world.js';
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

describe.each<ProviderName>(['polar', 'dodo'])('a subscription of %s whose date is over without an event', (name) => {
  let side: BillingSide;
  let id: string;

  beforeEach(async () => {
    side = world.side(name);
    id = side.subscribe({ seats: 2 });
    await world.hear(side);
  });

  /** A month is over, and nothing is told of it. */
  const aMonthLater = () => {
    world.clock.advance({ days: 32 });
    side.tick();
    world.miss(side);
  };

  it('is not asked about before', async () => {
    world.clock.advance({ days: 20 });
    expect(await confirm()).toBe(0);
    expect(side.calls).toEqual([]);
  });

  it('was renewed', async () => {
    const before = await world.row(id);
    aMonthLater();
    expect(await confirm()).toBe(1);
    const row = await world.row(id);
    expect(row).toMatchObject({ status: 'active', confirmed_at: world.clock.now() });
    expect(row['current_period_start']).toEqual(before['current_period_end']);
    expect((row['check_at'] as Date).getTime()).toBeGreaterThan((row['current_period_end'] as Date).getTime());
    expect(await outcomes()).toEqual([`${name} confirmed 1`]);
    expect(await confirm()).toBe(0);
  });

  it('has ended', async () => {
    side.cancel(id, 'period end');
    world.miss(side);
    aMonthLater();
    await confirm();
    expect(await world.row(id)).toMatchObject({ status: 'canceled', check_at: null });
  });

  it('was not paid', async () => {
    side.setCard(id, 'fails');
    aMonthLater();
    await confirm();
    expect(await world.row(id)).toMatchObject({ status: 'past_due', past_due_until: expect.any(Date) });
  });

  it('is as it was: that is written down', async () => {
    world.clock.advance({ days: 2 });
    await world.db.rows('UPDATE subscriptions SET check_at = $1', [world.clock.now()]);
    const { current_period_end: periodEnd, event_at: eventAt, event_id: eventId } = await world.row(id);
    await confirm();
    const row = await world.row(id);
    expect(row).toMatchObject({ status: 'active', current_period_end: periodEnd, confirmed_at: world.clock.now() });
    // An event of before that comes late must not take it back.
    if (name === 'polar') expect([row['event_at'], row['event_id']]).toEqual([eventAt, eventId]);
  });

  it('is unknown to its provider: it is over', async () => {
    const ghost = await world.insertGhost(name, { checkAt: world.clock.now() });
    expect(await confirm()).toBe(1);
    expect(await world.row(ghost)).toMatchObject({ status: 'canceled', ended_at: world.clock.now(), check_at: null });
    expect(await outcomes()).toEqual([`${name} gone 1`]);
  });

  it('stays when none of ours is known: that is the key of another account', async () => {
    await world.db.rows('DELETE FROM subscriptions');
    const ghosts = [await world.insertGhost(name, { checkAt: world.clock.now() }), await world.insertGhost(name)];
    await confirm();
    for (const ghost of ghosts) expect(await world.row(ghost)).toMatchObject({ status: 'active' });
    expect(await world.row(ghosts[0]!)).toMatchObject({ check_at: later(300) });
    expect(await outcomes()).toEqual([`${name} unanswered 1`]);
  });

  it('stays when it is the only one, and nothing tells whose key that is', async () => {
    await world.db.rows('DELETE FROM subscriptions');
    const ghost = await world.insertGhost(name, { checkAt: world.clock.now() });
    await confirm();
    expect(await world.row(ghost)).toMatchObject({ status: 'active', check_at: later(300) });
    expect(await outcomes()).toEqual([`${name} unanswered 1`]);
  });

  it('stays as it is while its provider is away, and is asked about in five minutes', async () => {
    for (let count = 0; count < 3; count += 1) side.subscribe();
    await world.hear(side);
    aMonthLater();
    const untouched = async () =>
      (await world.db.rows('SELECT * FROM subscriptions ORDER BY id')).map(({ check_at: _, updated_at: __, ...row }) => row);
    const before = await untouched();
    side.faults.push(...Array.from({ length: 4 }, () => ({ status: 503 })));
    expect(await confirm()).toBe(4);
    // The first tells that it is away; the others need not be tried.
    expect(side.calls).toHaveLength(4);
    expect(await untouched()).toEqual(before);
    expect(await world.db.rows('SELECT DISTINCT check_at FROM subscriptions')).toEqual([{ check_at: later(300) }]);
    expect(await outcomes()).toEqual([`${name} unanswered 4`]);
    expect(await confirm()).toBe(0);
    world.clock.advance({ minutes: 5 });
    expect(await confirm()).toBe(4);
    expect(await world.db.rows(`SELECT FROM subscriptions WHERE confirmed_at IS NOT NULL`)).toHaveLength(4);
  });

  it('stays as it is while there is no key to its provider', async () => {
    aMonthLater();
    const unconfigured = await world.open();
    await confirm(unconfigured);
    expect(await world.row(id)).toMatchObject({ status: 'active', confirmed_at: null, check_at: later(300) });
    expect(await outcomes(unconfigured)).toEqual([`${name} unanswered 1`]);
    await unconfigured.close();
  });

  it('does not keep others waiting that is refused', async () => {
    side.subscribe();
    await world.hear(side);
    aMonthLater();
    side.faults.push({ status: 400 });
    expect(await confirm()).toBe(2);
    expect((await outcomes()).toSorted()).toEqual([`${name} confirmed 1`, `${name} unanswered 1`]);
  });

  it('stays as it is when it cannot be read', async () => {
    aMonthLater();
    side.faults.push({ status: 200, body: JSON.stringify({ ...side.shown(id), status: 'asleep' }) });
    await confirm();
    expect(await world.row(id)).toMatchObject({ status: 'active', confirmed_at: null, check_at: later(3600) });
    expect(await outcomes()).toEqual([`${name} unreadable 1`]);
  });

  it('follows the event that comes while it is asked about', async () => {
    aMonthLater();
    side.control.onCall = async () => {
      side.control.onCall = undefined;
      world.clock.advance({ minutes: 1 });
      side.setSeats(id, 9);
      await world.hear(side);
    };
    await confirm();
    expect(await world.row(id)).toMatchObject({ seats: 9, confirmed_at: null });
    expect(await outcomes()).toEqual([`${name} overtaken 1`]);
  });

  it('is asked about by one of several replicas', async () => {
    for (let count = 0; count < 24; count += 1) side.subscribe();
    await world.hear(side);
    aMonthLater();
    const other = await world.open(side.environment);
    const counts = await Promise.all([confirm(), confirm(other)]);
    expect(counts[0] + counts[1]).toBe(25);
    expect(side.calls).toHaveLength(25);
    await other.close();
  });

  it('is asked about again in an hour by whoever is there, when the process died that did', async () => {
    aMonthLater();
    const asked = new Promise<void>((resolve) => {
      side.control.onCall = () => {
        side.control.onCall = undefined;
        side.faults.push('hang');
        resolve();
      };
    });
    const dying = new AbortController();
    const claimed = world.app.get(RenewalChecks).confirmDue(dying.signal);
    await asked;
    expect(await world.row(id)).toMatchObject({ check_at: later(3600) });
    expect(await confirm()).toBe(0);
    world.clock.advance({ hours: 1 });
    expect(await confirm()).toBe(1);
    expect(await world.row(id)).toMatchObject({ confirmed_at: world.clock.now() });
    // What a stop gives back was taken by another one meanwhile.
    const { check_at: checkAt } = await world.row(id);
    dying.abort(new Error('enough'));
    await claimed;
    expect(await world.row(id)).toMatchObject({ check_at: checkAt });
  });
});

describe('a subscription that nobody is there any more to pay for', () => {
  it.each<ProviderName>(['polar', 'dodo'])('is ended at %s, however often it takes', async (name) => {
    const side = world.side(name);
    const [id, over] = [side.subscribe(), side.subscribe()];
    side.cancel(over, 'now');
    await world.hear(side);
    await world.db.rows('UPDATE subscriptions SET end_requested_at = now() WHERE provider_subscription_id = ANY ($1)', [[id, over]]);
    const t = await startTestApp(side.environment, world.db);
    keepTime(t.app, world.clock);
    try {
      side.faults.push({ status: 503 });
      for (const providerSubscriptionId of [over, id])
        await t.app.get(OutboxService).enqueue(SUBSCRIPTION_CANCELLATION, { provider: name, providerSubscriptionId });
      await until(async () => {
        await world.db.rows('UPDATE outbox SET next_attempt_at = now() WHERE done_at IS NULL AND attempts > 0');
        return (await world.db.rows('SELECT FROM outbox WHERE done_at IS NULL')).length === 0;
      });
      expect([id, over].map((one) => side.statusOf(one))).toEqual(name === 'polar' ? ['canceled', 'canceled'] : ['cancelled', 'cancelled']);
    } finally {
      await t.close();
    }
  });
});
