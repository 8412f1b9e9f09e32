import { BillingApp, type Effective, inDays, PRODUCT } from '../support/billing/billing-app.js';
import { addMember } from '../support/tenants.js';
import { polarCustomer } from '../support/billing/polar-events.js';
import { signUp } from '../support/people.js';

const MINUTES = 1 / 24 / 60;

describe('what an owner may use', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  it('is the free plan of whoever bought nothing', async () => {
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
    expect(await billing.ownState(admin)).toEqual({ ...nothing, seats: { used: 1, limit: 100 } });
    expect(await billing.stateOf(id)).toEqual({ ...nothing, seats: { used: 1, limit: 100 } });
  });

  it('is the plan that was bought, told whole', async () => {
    const { admin } = await billing.newTenant();
    const [start, end] = [inDays(-10), inDays(20)];
    const bought = await billing.buyAtPolar({
      metadata: { userId: admin.id },
      current_period_start: start,
      current_period_end: end,
      seats: 3,
    });
    const state = await billing.ownState(admin);
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

  type Shown = Partial<Pick<Effective, 'tier' | 'status' | 'access' | 'reason' | 'until'>>;
  const soon = inDays(5);
  const justOver = inDays(-30 * MINUTES);
  const longOver = inDays(-40);

  it.each<[string, Parameters<BillingApp['buyAtPolar']>[0], Shown]>([
    [
      'in a trial',
      { status: 'trialing', trial_end: soon },
      { tier: 'pro', status: 'trialing', access: true, reason: 'trialing', until: soon },
    ],
    [
      'until it ends, once canceled',
      { cancel_at_period_end: true, current_period_end: soon, ends_at: soon },
      { tier: 'pro', status: 'active', access: true, reason: 'ends', until: soon },
    ],
    [
      'for a little longer than it is paid for',
      { cancel_at_period_end: true, current_period_end: justOver, ends_at: justOver },
      { tier: 'pro', access: true, reason: 'ends', until: justOver },
    ],
    [
      'no longer than that',
      { current_period_end: longOver, ends_at: longOver },
      { tier: 'free', access: false, reason: 'lapsed', until: null },
    ],
    [
      'in grace, for as long as the configuration says',
      { status: 'past_due', past_due_at: inDays(-1), current_period_end: soon },
      { tier: 'pro', status: 'past_due', access: true, reason: 'grace' },
    ],
    [
      'no longer, when the grace is over',
      { status: 'past_due', past_due_at: inDays(-60) },
      { tier: 'free', access: false, reason: 'lapsed' },
    ],
    [
      'while nobody can say whether it was renewed',
      { current_period_start: inDays(-31), current_period_end: inDays(-1) },
      { tier: 'pro', status: 'active', access: true, reason: 'unconfirmed' },
    ],
    [
      'not for ever, though',
      { current_period_start: inDays(-71), current_period_end: longOver },
      { tier: 'free', status: 'active', access: false, reason: 'lapsed' },
    ],
    ['not while it is paused', { status: 'paused' }, { tier: 'free', status: 'paused', access: false, reason: 'paused' }],
    ['not while it is unpaid', { status: 'unpaid' }, { tier: 'free', status: 'unpaid', access: false, reason: 'unpaid' }],
    ['not before the first payment', { status: 'incomplete' }, { tier: 'free', status: 'incomplete', access: false, reason: 'incomplete' }],
    ['not when it is over', { status: 'canceled' }, { tier: 'free', status: 'canceled', access: false, reason: 'lapsed' }],
    [
      'not for a product that is in no plan',
      { product_id: 'a-mug' },
      { tier: 'free', status: 'active', access: false, reason: 'unknown_product' },
    ],
  ])('is a plan of Polar %s', async (_when, given, shown) => {
    const { id } = await billing.newTenant();
    await billing.buyAtPolar({ metadata: { organizationId: id }, ...given });
    expect(await billing.stateOf(id)).toMatchObject(shown);
  });

  it.each<[string, Parameters<BillingApp['buyAtDodo']>[0], Shown]>([
    ['while it runs', { next_billing_date: soon }, { tier: 'pro', status: 'active', access: true, reason: 'active', until: soon }],
    ['in a trial', { created_at: inDays(-1), trial_period_days: 14 }, { tier: 'pro', status: 'active', access: true, reason: 'trialing' }],
    [
      'until it ends, once canceled',
      { next_billing_date: soon, cancel_at_next_billing_date: true },
      { tier: 'pro', status: 'active', access: true, reason: 'ends', until: soon },
    ],
    [
      'in grace',
      { status: 'past_due', past_due_ends_at: soon },
      { tier: 'pro', status: 'past_due', access: true, reason: 'grace', until: soon },
    ],
    ['not on hold', { status: 'on_hold' }, { tier: 'free', status: 'unpaid', access: false, reason: 'unpaid' }],
    ['not when it has failed', { status: 'failed' }, { tier: 'free', status: 'canceled', access: false, reason: 'lapsed' }],
    ['not when it is over', { status: 'cancelled' }, { tier: 'free', status: 'canceled', access: false, reason: 'lapsed' }],
  ])('is a plan of Dodo %s', async (_when, given, shown) => {
    const { id } = await billing.newTenant();
    await billing.buyAtDodo({ metadata: { organizationId: id }, ...given });
    expect(await billing.stateOf(id)).toMatchObject(shown);
  });

  it('follows what the provider tells, whatever the event is called', async () => {
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
      await billing.tellPolar(type, { ...bought, ...changes });
      const { tier, reason } = await billing.stateOf(id);
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

  it('is not changed by what was told before', async () => {
    const { id } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
    const [earlier, later] = [billing.tick(), billing.tick()];
    await billing.tellPolar('subscription.revoked', { ...bought, status: 'canceled' }, later);
    await billing.tellPolar('subscription.active', bought, earlier);
    expect(await billing.stateOf(id)).toMatchObject({ reason: 'lapsed' });
  });

  describe('a quantity on a plan that is not per seat', () => {
    it('is neither shown as seats nor a limit, whoever gave it', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const polar = await billing.buyAtPolar({ metadata, seats: 3 });
      const dodo = await billing.buyAtDodo({ metadata, quantity: 1 });
      // A grant of before they were refused.
      const granted = await billing.t.http
        .post('/v1/subscriptions')
        .set(billing.operator.auth)
        .send({ organizationId: id, tier: 'pro' })
        .expect(201);
      await billing.t.db.rows('UPDATE subscriptions SET seats = 2 WHERE id = $1', [granted.body.id]);
      expect((await billing.stateOf(id)).seats).toEqual({ used: 1, limit: 500 });
      const rows = await billing.list({ ownerId: id });
      expect(rows.map(({ id: one, seats }) => [one, seats])).toEqual(
        expect.arrayContaining([
          [await billing.idOf(polar.id), null],
          [await billing.idOf(dodo.subscription_id), null],
          [granted.body.id, null],
        ]),
      );
    });

    it('does not decide which of several counts', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const longer = await billing.buyAtPolar({ metadata, current_period_end: inDays(20), seats: null });
      await billing.buyAtPolar({ metadata, current_period_end: inDays(10), seats: 50 });
      expect((await billing.stateOf(id)).explain.subscriptionId).toBe(await billing.idOf(longer.id));
    });
  });

  describe('of several subscriptions', () => {
    it('is the best that grants, and all are shown, that one first', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const over = await billing.buyAtPolar({ metadata, product_id: PRODUCT.business, status: 'canceled' });
      const pro = await billing.buyAtDodo({ metadata });
      const best = await billing.buyAtPolar({ metadata, product_id: PRODUCT.business, seats: 7 });
      const mug = await billing.buyAtDodo({ metadata, product_id: 'a-mug' });
      const { explain, ...state } = await billing.stateOf(id);
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
        [mug.subscription_id]: [null, false, 'unknown_product'],
      });
    });

    it('is the next best when the best is over, and the free plan at last', async () => {
      const { id } = await billing.newTenant();
      const metadata = { organizationId: id };
      const best = await billing.buyAtPolar({ metadata, product_id: PRODUCT.business });
      const next = await billing.buyAtDodo({ metadata });
      await billing.tellPolar('subscription.revoked', { ...best, status: 'unpaid' });
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'pro', reason: 'active' });
      await billing.tellDodo('subscription.expired', { ...next, status: 'expired' });
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'free', access: false });
    });
  });

  describe('in seats', () => {
    it('counts the members, and as many as were bought where the plan is by the seat', async () => {
      const { id } = await billing.newTenant();
      await addMember(billing.t, id, await signUp(billing.t));
      expect((await billing.stateOf(id)).seats).toEqual({ used: 2, limit: 100 });
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id }, product_id: PRODUCT.business, seats: 12 });
      expect((await billing.stateOf(id)).seats).toEqual({ used: 2, limit: 12 });
      await billing.tellPolar('subscription.updated', { ...bought, seats: 4 });
      expect((await billing.stateOf(id)).seats).toEqual({ used: 2, limit: 4 });
      await billing.tellPolar('subscription.updated', { ...bought, seats: null });
      expect((await billing.stateOf(id)).seats).toEqual({ used: 2, limit: null });
      await billing.tellPolar('subscription.revoked', { ...bought, status: 'canceled', seats: 4 });
      expect((await billing.stateOf(id)).seats).toEqual({ used: 2, limit: 100 });
    });
  });

  describe('is read', () => {
    it('by members, by whoever has a key for it, and by nobody else', async () => {
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

  describe('of a product that is in no plan', () => {
    it('is what it was, where the product of a known subscription changes to it', async () => {
      const { id } = await billing.newTenant();
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id }, product_id: PRODUCT.business });
      const unknown = { ...bought, product_id: 'a-new-product', product: { ...bought.product, id: 'a-new-product' } };
      await billing.tellPolar('subscription.updated', unknown);
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'business', access: true, reason: 'active' });
      expect(await billing.find(bought.id)).toMatchObject({ productId: 'a-new-product', tier: 'business', grants: true });
      // It still ends as any other.
      await billing.tellPolar('subscription.revoked', { ...unknown, status: 'canceled' });
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'free', reason: 'lapsed' });
    });

    it('is the last that was known, in whatever order it was told', async () => {
      const { id } = await billing.newTenant();
      const customer = polarCustomer();
      const moments = [billing.tick(), billing.tick(), billing.tick()];
      const first = await billing.buyAtPolar({ metadata: { organizationId: id }, customer, product_id: 'a-new-product' });
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'free', reason: 'unknown_product' });
      await billing.tellPolar('subscription.updated', { ...first, product_id: PRODUCT.business }, moments[0]);
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'business' });
      await billing.tellPolar('subscription.updated', { ...first, product_id: PRODUCT.pro }, moments[2]);
      await billing.tellPolar('subscription.updated', { ...first, product_id: PRODUCT.business }, moments[1]);
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'pro' });
    });
  });
});
