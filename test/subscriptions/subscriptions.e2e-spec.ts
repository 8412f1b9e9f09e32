import { BillingApp, type Effective, inDays, PRODUCT } from '../support/billing/billing-app.js';
import { addMember } from '../support/tenants.js';
import { polarCustomer } from '../support/billing/polar-events.js';
import { signUp } from '../support/people.js';

const MINUTES = 1 / 24 / 60;

describe('the effective subscription', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  it('is the free plan without a subscription', async () => {
    const { admin, id } = await billing.newTenant();
    const nothing = {
      tier: 'free',
      status: null,
      access: false,
      reason: 'none',
      until: null,
      limits: expect.objectContaining({ seats: 100, features: [] }),
      currentPeriodStart: null,
      currentPeriodEnd: null,
      cancelAtPeriodEnd: false,
      trialEnd: null,
      endsAt: null,
      explain: { subscriptionId: null, rule: 'there is no subscription', considered: [] },
    };
    expect(await billing.userSubscription(admin)).toEqual({ ...nothing, seats: { used: 1, limit: 100 } });
    expect(await billing.organizationSubscription(id)).toEqual({ ...nothing, seats: { used: 1, limit: 100 } });
  });

  it('is the bought plan, with all details', async () => {
    const { admin } = await billing.newTenant();
    const [start, end] = [inDays(-10), inDays(20)];
    const bought = await billing.buyAtPolar({
      metadata: { userId: admin.id },
      current_period_start: start,
      current_period_end: end,
      seats: 3,
    });
    const state = await billing.userSubscription(admin);
    expect(state).toMatchObject({
      tier: 'pro',
      status: 'active',
      access: true,
      reason: 'active',
      until: end,
      limits: { seats: 500, features: ['usage_export'] },
      // The plan is not per seat, so the provider's quantity changes nothing.
      seats: { used: 1, limit: 500 },
      currentPeriodStart: start,
      currentPeriodEnd: end,
      cancelAtPeriodEnd: false,
      explain: { subscriptionId: await billing.idOf(bought.id), rule: `active in a period until ${end}` },
    });
    expect(state.explain.considered).toMatchObject([
      {
        provider: 'polar',
        providerSubscriptionId: bought.id,
        productId: PRODUCT.pro,
        tier: 'pro',
        status: 'active',
        providerStatus: 'active',
        grants: true,
        reason: 'active',
        until: end,
        rule: `active in a period until ${end}`,
      },
    ]);
  });

  type Expected = Partial<Pick<Effective, 'tier' | 'status' | 'access' | 'reason' | 'until'>>;
  const soon = inDays(5);
  const justOver = inDays(-30 * MINUTES);
  const longOver = inDays(-40);

  it.each<[string, Parameters<BillingApp['buyAtPolar']>[0], Expected]>([
    [
      'in a trial',
      { status: 'trialing', trial_end: soon },
      { tier: 'pro', status: 'trialing', access: true, reason: 'trialing', until: soon },
    ],
    [
      'until it ends, when canceled',
      { cancel_at_period_end: true, current_period_end: soon, ends_at: soon },
      { tier: 'pro', status: 'active', access: true, reason: 'ends', until: soon },
    ],
    [
      'for a short slack after the paid time',
      { cancel_at_period_end: true, current_period_end: justOver, ends_at: justOver },
      { tier: 'pro', access: true, reason: 'ends', until: justOver },
    ],
    [
      'no longer after the slack',
      { current_period_end: longOver, ends_at: longOver },
      { tier: 'free', access: false, reason: 'lapsed', until: null },
    ],
    [
      'in the configured grace period',
      { status: 'past_due', past_due_at: inDays(-1), current_period_end: soon },
      { tier: 'pro', status: 'past_due', access: true, reason: 'grace' },
    ],
    [
      'no longer after the grace period',
      { status: 'past_due', past_due_at: inDays(-60) },
      { tier: 'free', access: false, reason: 'lapsed' },
    ],
    [
      'while its renewal is unconfirmed',
      { current_period_start: inDays(-31), current_period_end: inDays(-1) },
      { tier: 'pro', status: 'active', access: true, reason: 'unconfirmed' },
    ],
    [
      'but not unconfirmed forever',
      { current_period_start: inDays(-71), current_period_end: longOver },
      { tier: 'free', status: 'active', access: false, reason: 'lapsed' },
    ],
    ['not while it is paused', { status: 'paused' }, { tier: 'free', status: 'paused', access: false, reason: 'paused' }],
    ['not while it is unpaid', { status: 'unpaid' }, { tier: 'free', status: 'unpaid', access: false, reason: 'unpaid' }],
    ['not before the first payment', { status: 'incomplete' }, { tier: 'free', status: 'incomplete', access: false, reason: 'incomplete' }],
    ['not after its end', { status: 'canceled' }, { tier: 'free', status: 'canceled', access: false, reason: 'lapsed' }],
    ['not for an unknown product', { product_id: 'a-mug' }, { tier: 'free', status: 'active', access: false, reason: 'unknown_product' }],
  ])('is the plan of a Polar subscription %s', async (_when, given, shown) => {
    const { id } = await billing.newTenant();
    await billing.buyAtPolar({ metadata: { organizationId: id }, ...given });
    expect(await billing.organizationSubscription(id)).toMatchObject(shown);
  });

  it.each<[string, Parameters<BillingApp['buyAtDodo']>[0], Expected]>([
    ['while it is active', { next_billing_date: soon }, { tier: 'pro', status: 'active', access: true, reason: 'active', until: soon }],
    ['in a trial', { created_at: inDays(-1), trial_period_days: 14 }, { tier: 'pro', status: 'active', access: true, reason: 'trialing' }],
    [
      'until it ends, when canceled',
      { next_billing_date: soon, cancel_at_next_billing_date: true },
      { tier: 'pro', status: 'active', access: true, reason: 'ends', until: soon },
    ],
    [
      'in grace',
      { status: 'past_due', past_due_ends_at: soon },
      { tier: 'pro', status: 'past_due', access: true, reason: 'grace', until: soon },
    ],
    ['not while it is on hold', { status: 'on_hold' }, { tier: 'free', status: 'unpaid', access: false, reason: 'unpaid' }],
    ['not after it failed', { status: 'failed' }, { tier: 'free', status: 'canceled', access: false, reason: 'lapsed' }],
    ['not after its end', { status: 'cancelled' }, { tier: 'free', status: 'canceled', access: false, reason: 'lapsed' }],
  ])('is the plan of a Dodo subscription %s', async (_when, given, shown) => {
    const { id } = await billing.newTenant();
    await billing.buyAtDodo({ metadata: { organizationId: id }, ...given });
    expect(await billing.organizationSubscription(id)).toMatchObject(shown);
  });

  it('follows the state in the event, whatever the event type', async () => {
    const { id } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
    const states: [string, string][] = [];
    for (const [type, changes] of [
      ['subscription.canceled', { cancel_at_period_end: true }],
      ['subscription.uncanceled', {}],
      ['subscription.active', { status: 'past_due', past_due_at: inDays(-1) }],
      ['subscription.revoked', { status: 'active' }],
      ['subscription.updated', { product_id: PRODUCT.business }],
      ['subscription.active', { status: 'canceled' }],
    ] as const) {
      await billing.emitPolar(type, { ...bought, ...changes });
      const { tier, reason } = await billing.organizationSubscription(id);
      states.push([tier, reason]);
    }
    expect(states).toEqual([
      ['pro', 'ends'],
      ['pro', 'active'],
      ['pro', 'grace'],
      ['pro', 'active'],
      ['business', 'active'],
      ['free', 'lapsed'],
    ]);
  });

  it('is not changed by an older event', async () => {
    const { id } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
    const [earlier, later] = [billing.tick(), billing.tick()];
    await billing.emitPolar('subscription.revoked', { ...bought, status: 'canceled' }, later);
    await billing.emitPolar('subscription.active', bought, earlier);
    expect(await billing.organizationSubscription(id)).toMatchObject({ reason: 'lapsed' });
  });

  describe('the quantity on a plan that is not per seat', () => {
    it('is neither returned as seats nor a limit, whatever its source', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const polar = await billing.buyAtPolar({ metadata, seats: 3 });
      const dodo = await billing.buyAtDodo({ metadata, quantity: 1 });
      // A grant from before such grants were refused.
      const granted = await billing.t.http
        .post('/v1/subscriptions')
        .set(billing.operator.auth)
        .send({ organizationId: id, tier: 'pro' })
        .expect(201);
      await billing.t.db.rows('UPDATE subscriptions SET seats = 2 WHERE id = $1', [granted.body.id]);
      expect((await billing.organizationSubscription(id)).seats).toEqual({ used: 1, limit: 500 });
      const rows = await billing.list({ ownerId: id });
      expect(rows.map(({ id: one, seats }) => [one, seats])).toEqual(
        expect.arrayContaining([
          [await billing.idOf(polar.id), null],
          [await billing.idOf(dodo.subscription_id), null],
          [granted.body.id, null],
        ]),
      );
    });

    it('does not decide which subscription is effective', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const longer = await billing.buyAtPolar({ metadata, current_period_end: inDays(20), seats: null });
      await billing.buyAtPolar({ metadata, current_period_end: inDays(10), seats: 50 });
      expect((await billing.organizationSubscription(id)).explain.subscriptionId).toBe(await billing.idOf(longer.id));
    });
  });

  describe('with several subscriptions', () => {
    it('is the best one that grants access, first in the list of all', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const over = await billing.buyAtPolar({ metadata, product_id: PRODUCT.business, status: 'canceled' });
      const pro = await billing.buyAtDodo({ metadata });
      const best = await billing.buyAtPolar({ metadata, product_id: PRODUCT.business, seats: 7 });
      const unknownProduct = await billing.buyAtDodo({ metadata, product_id: 'a-mug' });
      const { explain, ...state } = await billing.organizationSubscription(id);
      expect(state).toMatchObject({ tier: 'business', access: true, reason: 'active', seats: { used: 1, limit: 7 } });
      expect(explain.subscriptionId).toBe(await billing.idOf(best.id));
      const [first, ...others] = explain.considered;
      expect(first).toMatchObject({
        id: explain.subscriptionId,
        providerSubscriptionId: best.id,
        tier: 'business',
        grants: true,
      });
      const shown = new Map(others.map((one) => [one.providerSubscriptionId, [one.tier, one.grants, one.reason]]));
      expect(Object.fromEntries(shown)).toEqual({
        [over.id]: ['business', false, 'lapsed'],
        [pro.subscription_id]: ['pro', true, 'active'],
        [unknownProduct.subscription_id]: [null, false, 'unknown_product'],
      });
    });

    it('is the next best one when the best ends, and finally the free plan', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const best = await billing.buyAtPolar({ metadata, product_id: PRODUCT.business });
      const next = await billing.buyAtDodo({ metadata });
      await billing.emitPolar('subscription.revoked', { ...best, status: 'unpaid' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro', reason: 'active' });
      await billing.emitDodo('subscription.expired', { ...next, status: 'expired' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', access: false });
    });
  });

  describe('with seats', () => {
    it('counts the members, and the seats that were bought where the plan is per seat', async () => {
      const { id } = await billing.newTenant();
      await addMember(billing.t, id, await signUp(billing.t));
      expect((await billing.organizationSubscription(id)).seats).toEqual({ used: 2, limit: 100 });
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id }, product_id: PRODUCT.business, seats: 12 });
      expect((await billing.organizationSubscription(id)).seats).toEqual({ used: 2, limit: 12 });
      await billing.emitPolar('subscription.updated', { ...bought, seats: 4 });
      expect((await billing.organizationSubscription(id)).seats).toEqual({ used: 2, limit: 4 });
      await billing.emitPolar('subscription.updated', { ...bought, seats: null });
      expect((await billing.organizationSubscription(id)).seats).toEqual({ used: 2, limit: null });
      await billing.emitPolar('subscription.revoked', { ...bought, status: 'canceled', seats: 4 });
      expect((await billing.organizationSubscription(id)).seats).toEqual({ used: 2, limit: 100 });
    });
  });

  describe('access to it', () => {
    it('is for members and API keys with the scope only', async () => {
      const { admin, id, path } = await billing.newTenant();
      const [member, outsider] = [await signUp(billing.t), await signUp(billing.t)];
      await addMember(billing.t, id, member);
      const key = async (scopes: string[]) =>
        (await billing.t.http.post(`${path}/api-keys`).set(admin.auth).send({ name: 'A key', scopes }).expect(201)).body.key as string;
      const read = async (headers: Record<string, string>) => (await billing.t.http.get(`${path}/subscription`).set(headers)).status;
      expect(await read(member.auth)).toBe(200);
      expect(await read({ 'x-api-key': await key(['subscription:read']) })).toBe(200);
      expect(await read({ 'x-api-key': await key(['members:read', 'usage:read']) })).toBe(403);
      expect(await read(outsider.auth)).toBe(404);
      expect(await read({})).toBe(401);
      await billing.t.http.post(`/v1/users/${member.id}/suspend`).set(billing.operator.auth).expect(200);
      expect(await read(member.auth)).toBe(403);
    });
  });

  describe('with an unknown product', () => {
    it('keeps the plan when the product of a known subscription changes to an unknown one', async () => {
      const { id } = await billing.newTenant();
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id }, product_id: PRODUCT.business });
      const unknown = { ...bought, product_id: 'a-new-product', product: { ...bought.product, id: 'a-new-product' } };
      await billing.emitPolar('subscription.updated', unknown);
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'business', access: true, reason: 'active' });
      expect(await billing.find(bought.id)).toMatchObject({ productId: 'a-new-product', tier: 'business', grants: true });
      // It still ends like any other.
      await billing.emitPolar('subscription.revoked', { ...unknown, status: 'canceled' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', reason: 'lapsed' });
    });

    it('uses the last known product, in any order of events', async () => {
      const { id } = await billing.newTenant();
      const customer = polarCustomer();
      const moments = [billing.tick(), billing.tick(), billing.tick()];
      const first = await billing.buyAtPolar({ metadata: { organizationId: id }, customer, product_id: 'a-new-product' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', reason: 'unknown_product' });
      await billing.emitPolar('subscription.updated', { ...first, product_id: PRODUCT.business }, moments[0]);
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'business' });
      await billing.emitPolar('subscription.updated', { ...first, product_id: PRODUCT.pro }, moments[2]);
      await billing.emitPolar('subscription.updated', { ...first, product_id: PRODUCT.business }, moments[1]);
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro' });
    });
  });
});
