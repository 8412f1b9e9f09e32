import { startTestApp } from '../../support/app.js';
import { BILLING_ENVIRONMENT, BillingApp, inDays, type Paid, PRODUCT } from '../../support/billing/billing-app.js';
import { dodoDispute, dodoPayment, dodoRefund, dodoSubscription, type DodoSubscription } from '../../support/billing/dodo-events.js';
import { polarOrder, polarRefund } from '../../support/billing/polar-events.js';
import { type SignedInPerson, signUp } from '../../support/people.js';
import { strictPlans } from '../../support/strict-plans.js';

function permutationsOf<T>(all: T[]): T[][] {
  if (all.length < 2) return [all];
  return all.flatMap((one, index) => permutationsOf(all.toSpliced(index, 1)).map((rest) => [one, ...rest]));
}

describe('refunds and disputes', () => {
  let billing: BillingApp;
  const plans = strictPlans('pro');
  beforeAll(async () => {
    billing = await BillingApp.start({ PLANS_FILE: plans.file });
  });
  afterAll(async () => {
    await billing.close();
    plans.remove();
  });

  const payments = async ({ auth }: SignedInPerson, query: Record<string, string> = {}) =>
    (await billing.t.http.get('/v1/subscription/payments').query(query).set(auth).expect(200)).body.data as Paid[];
  const statusOf = async (person: SignedInPerson, id: string) =>
    (await payments(person)).find(({ providerPaymentId }) => providerPaymentId === id)?.status;
  const accessOf = async (person: SignedInPerson) => {
    const { tier, access, reason, explain } = await billing.userSubscription(person);
    return { tier, access, reason, rule: explain.rule };
  };
  const inPeriod = expect.stringMatching(/^active in a period until /);

  /** A buyer at Dodo, ten days into the period. */
  async function buyer(product: keyof typeof PRODUCT = 'pro') {
    const person = await signUp(billing.t);
    const subscription = await billing.buyAtDodo({
      metadata: { userId: person.id },
      product_id: PRODUCT[product],
      created_at: inDays(-40),
      previous_billing_date: inDays(-10),
      next_billing_date: inDays(20),
    });
    const payment = dodoPayment({ created_at: inDays(-10), total_amount: 2000 }, subscription);
    await billing.emitDodo('payment.succeeded', payment);
    return { person, subscription, payment };
  }

  describe('change the state of their payment', () => {
    it('with each refund at Dodo, which sends no event about the payment', async () => {
      const { person, payment } = await buyer();
      const refund = async (amount: number, status = 'succeeded', more: object = {}) =>
        billing.emitDodo(`refund.${status}`, { ...dodoRefund({ amount }, payment), status, ...more });
      await refund(2000, 'failed');
      expect(await statusOf(person, payment.payment_id)).toBe('succeeded');
      await refund(1500);
      expect(await statusOf(person, payment.payment_id)).toBe('partially_refunded');
      // A refund in another currency does not count.
      await refund(2000, 'succeeded', { currency: 'EUR' });
      expect(await statusOf(person, payment.payment_id)).toBe('partially_refunded');
      await refund(500);
      expect(await statusOf(person, payment.payment_id)).toBe('refunded');
    });

    it('with the order’s event at Polar, with or without a refund event', async () => {
      const person = await signUp(billing.t);
      const polar = await billing.buyAtPolar({ metadata: { userId: person.id } });
      const [withRefundEvent, withoutRefundEvent] = [polarOrder({ total_amount: 1190 }, polar), polarOrder({ total_amount: 1190 }, polar)];
      for (const order of [withRefundEvent, withoutRefundEvent]) await billing.emitPolar('order.paid', order);
      // The refund excludes tax, so only the order shows that it is complete.
      await billing.emitPolar('refund.created', polarRefund({ amount: 1000 }, withRefundEvent));
      expect(await statusOf(person, withRefundEvent.id)).toBe('partially_refunded');
      for (const order of [withRefundEvent, withoutRefundEvent])
        await billing.emitPolar('order.refunded', { ...order, status: 'refunded' });
      expect(await statusOf(person, withRefundEvent.id)).toBe('refunded');
      expect(await statusOf(person, withoutRefundEvent.id)).toBe('refunded');
    });

    it('while a dispute is open, and when it ends', async () => {
      const { person, payment } = await buyer();
      const dispute = dodoDispute({}, payment);
      const become = async (status: string) => billing.emitDodo(`dispute.${status}`, { ...dispute, dispute_status: `dispute_${status}` });
      const seen: unknown[] = [];
      for (const status of ['opened', 'challenged', 'won', 'lost', 'won', 'expired', 'cancelled', 'accepted']) {
        await become(status);
        seen.push([status, await statusOf(person, payment.payment_id)]);
      }
      expect(seen).toEqual([
        ['opened', 'disputed'],
        ['challenged', 'disputed'],
        ['won', 'succeeded'],
        ['lost', 'dispute_lost'],
        ['won', 'succeeded'],
        ['expired', 'dispute_lost'],
        ['cancelled', 'succeeded'],
        ['accepted', 'dispute_lost'],
      ]);
    });

    it('which is a filter for the owner and for operators', async () => {
      const [{ person, payment, subscription }, other] = [await buyer(), await buyer()];
      await billing.emitDodo('dispute.opened', dodoDispute({}, payment));
      const shown = (await payments(person, { status: 'disputed' })).map(({ providerPaymentId }) => providerPaymentId);
      expect(shown).toEqual([payment.payment_id]);
      expect(await payments(person, { status: 'succeeded' })).toEqual([]);
      expect((await payments(person, { status: 'pending' })).map(({ kind }) => kind)).toEqual(['dispute']);
      const listed = (await billing.list({ paymentStatus: 'disputed' })).map(({ providerSubscriptionId }) => providerSubscriptionId);
      expect(listed).toContain(subscription.subscription_id);
      expect(listed).not.toContain(other.subscription.subscription_id);
      const { body } = await billing.t.http.get('/v1/subscription/payments').query({ status: 'gone' }).set(person.auth).expect(400);
      expect(body.errors[0].path).toBe('query.status');
    });

    it('which is a metric', async () => {
      const counted = async () => {
        const t = await startTestApp({ ...BILLING_ENVIRONMENT, PLANS_FILE: plans.file }, billing.t.db);
        try {
          const { text } = await t.http.get('/metrics').expect(200);
          const found = [...text.matchAll(/^tenantry_payments_returned\{status="(\w+)"\} (\d+)$/gm)];
          return Object.fromEntries(found.map(([, status, value]) => [status!, Number(value)]));
        } finally {
          await t.close();
        }
      };
      const before = await counted();
      expect(Object.keys(before).toSorted()).toEqual(['dispute_lost', 'disputed', 'partially_refunded', 'refunded']);
      const [one, two, three] = [await buyer(), await buyer(), await buyer()];
      await billing.emitDodo('refund.succeeded', dodoRefund({}, one.payment));
      await billing.emitDodo('dispute.opened', dodoDispute({}, two.payment));
      await billing.emitDodo('refund.succeeded', dodoRefund({ amount: 1 }, three.payment));
      expect(await counted()).toEqual({
        ...before,
        refunded: before['refunded']! + 1,
        disputed: before['disputed']! + 1,
        partially_refunded: before['partially_refunded']! + 1,
      });
    });
  });

  describe('with onRefund: end', () => {
    it('end access with a full refund only', async () => {
      const { person, payment } = await buyer();
      await billing.emitDodo('refund.succeeded', dodoRefund({ amount: 1999 }, payment));
      expect(await accessOf(person)).toEqual({ tier: 'pro', access: true, reason: 'active', rule: inPeriod });
      await billing.emitDodo('refund.succeeded', dodoRefund({ amount: 1 }, payment));
      expect(await accessOf(person)).toEqual({
        tier: 'free',
        access: false,
        reason: 'refunded',
        rule: 'the payment of its period was refunded',
      });
      const { explain } = await billing.userSubscription(person);
      expect(explain.considered).toMatchObject([{ grants: false, reason: 'refunded', until: null, status: 'active' }]);
    });

    it('end access with a lost dispute, and restore it when the dispute is won', async () => {
      const { person, payment } = await buyer();
      const dispute = dodoDispute({ amount: '500' }, payment);
      await billing.emitDodo('dispute.opened', dispute);
      expect(await accessOf(person)).toMatchObject({ access: true, reason: 'active' });
      await billing.emitDodo('dispute.lost', { ...dispute, dispute_status: 'dispute_lost' });
      expect(await accessOf(person)).toEqual({
        tier: 'free',
        access: false,
        reason: 'dispute_lost',
        rule: 'a dispute about the payment of its period was lost',
      });
      await billing.emitDodo('dispute.won', { ...dispute, dispute_status: 'dispute_won' });
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true, reason: 'active' });
    });

    it('count in the current period only, and the next payment restores access', async () => {
      const { person, subscription, payment } = await buyer();
      const earlier = dodoPayment({ created_at: inDays(-40), total_amount: 2000 }, subscription);
      await billing.emitDodo('payment.succeeded', earlier);
      await billing.emitDodo('refund.succeeded', dodoRefund({}, earlier));
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true });
      await billing.emitDodo('refund.succeeded', dodoRefund({}, payment));
      expect(await accessOf(person)).toMatchObject({ access: false, reason: 'refunded' });
      // Replacing the card is a payment of zero, which does not restore access.
      await billing.emitDodo('payment.succeeded', dodoPayment({ created_at: inDays(-1), total_amount: 0 }, subscription));
      expect(await accessOf(person)).toMatchObject({ access: false, reason: 'refunded' });
      await billing.emitDodo('payment.succeeded', dodoPayment({ created_at: inDays(-1), total_amount: 2000 }, subscription));
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true });
    });

    it('do not affect grants, other subscriptions and other plans', async () => {
      const { person, payment } = await buyer();
      await billing.emitDodo('refund.succeeded', dodoRefund({}, payment));
      await billing.buyAtPolar({ metadata: { userId: person.id } });
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true });
      const kept = await buyer('business');
      await billing.emitDodo('refund.succeeded', dodoRefund({}, kept.payment));
      const dispute = dodoDispute({ dispute_status: 'dispute_lost' }, kept.payment);
      await billing.emitDodo('dispute.lost', dispute);
      expect(await accessOf(kept.person)).toMatchObject({ tier: 'business', access: true });
      expect(await statusOf(kept.person, kept.payment.payment_id)).toBe('dispute_lost');
    });

    it('also apply to the usage quota', async () => {
      const { person, payment } = await buyer();
      const limit = async () => (await billing.t.http.get('/v1/usage/quota').set(person.auth).expect(200)).body.limit as number;
      expect(await limit()).toBe(5_000_000);
      await billing.emitDodo('refund.succeeded', dodoRefund({}, payment));
      expect(await limit()).toBe(100_000);
    });
  });

  it('end in the same state in any order of events', async () => {
    const outcomes = new Set<string>();
    const orders = permutationsOf(['subscription', 'payment', 'refund', 'opened', 'closed'] as const);
    // Every fifth order: each kind is first and last, and every pair comes in both orders.
    for (const order of orders.filter((_, index) => index % 5 === 0)) {
      const person = await signUp(billing.t);
      const subscription: DodoSubscription = dodoSubscription({ metadata: { userId: person.id }, product_id: PRODUCT.pro });
      const payment = dodoPayment({ total_amount: 2000 }, subscription);
      const dispute = dodoDispute({}, payment);
      const events = {
        subscription: ['subscription.active', subscription],
        payment: ['payment.succeeded', payment],
        refund: ['refund.succeeded', dodoRefund({ amount: 100 }, payment)],
        opened: ['dispute.opened', dispute],
        closed: ['dispute.lost', { ...dispute, dispute_status: 'dispute_lost' }],
      } as const;
      const times = {
        subscription: billing.tick(),
        payment: billing.tick(),
        refund: billing.tick(),
        opened: billing.tick(),
        closed: billing.tick(),
      };
      for (const name of order) await billing.emitDodo(events[name][0], events[name][1], times[name]);
      const all = (await payments(person)).map(({ kind, status }) => `${kind} ${status}`).toSorted();
      const { access, reason } = await accessOf(person);
      outcomes.add(JSON.stringify({ all, access, reason }));
    }
    expect([...outcomes].map((one) => JSON.parse(one) as unknown)).toEqual([
      { all: ['dispute lost', 'payment dispute_lost', 'refund succeeded'], access: false, reason: 'dispute_lost' },
    ]);
  });
});
