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

describe('money that went back', () => {
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
    const { tier, access, reason, explain } = await billing.ownState(person);
    return { tier, access, reason, rule: explain.rule };
  };
  const inPeriod = expect.stringMatching(/^active in a period until /);

  /** Somebody who bought at Dodo, ten days into the period. */
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
    await billing.tellDodo('payment.succeeded', payment);
    return { person, subscription, payment };
  }

  describe('shows in the state of its payment', () => {
    it('refund by refund at Dodo, which says nothing more of the payment itself', async () => {
      const { person, payment } = await buyer();
      const refund = async (amount: number, status = 'succeeded', more: object = {}) =>
        billing.tellDodo(`refund.${status}`, { ...dodoRefund({ amount }, payment), status, ...more });
      await refund(2000, 'failed');
      expect(await statusOf(person, payment.payment_id)).toBe('succeeded');
      await refund(1500);
      expect(await statusOf(person, payment.payment_id)).toBe('partially_refunded');
      // Another currency says nothing of how much of this one went back.
      await refund(2000, 'succeeded', { currency: 'EUR' });
      expect(await statusOf(person, payment.payment_id)).toBe('partially_refunded');
      await refund(500);
      expect(await statusOf(person, payment.payment_id)).toBe('refunded');
    });

    it('as Polar tells it of the order, with or without the refund', async () => {
      const person = await signUp(billing.t);
      const polar = await billing.buyAtPolar({ metadata: { userId: person.id } });
      const [told, untold] = [polarOrder({ total_amount: 1190 }, polar), polarOrder({ total_amount: 1190 }, polar)];
      for (const order of [told, untold]) await billing.tellPolar('order.paid', order);
      // Without its tax: the order alone knows that this is all.
      await billing.tellPolar('refund.created', polarRefund({ amount: 1000 }, told));
      expect(await statusOf(person, told.id)).toBe('partially_refunded');
      for (const order of [told, untold]) await billing.tellPolar('order.refunded', { ...order, status: 'refunded' });
      expect(await statusOf(person, told.id)).toBe('refunded');
      expect(await statusOf(person, untold.id)).toBe('refunded');
    });

    it('while a dispute is open, and as it ends', async () => {
      const { person, payment } = await buyer();
      const dispute = dodoDispute({}, payment);
      const become = async (status: string) => billing.tellDodo(`dispute.${status}`, { ...dispute, dispute_status: `dispute_${status}` });
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

    it('to a filter, for the owner and for operators', async () => {
      const [{ person, payment, subscription }, other] = [await buyer(), await buyer()];
      await billing.tellDodo('dispute.opened', dodoDispute({}, payment));
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

    it('to a metric', async () => {
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
      await billing.tellDodo('refund.succeeded', dodoRefund({}, one.payment));
      await billing.tellDodo('dispute.opened', dodoDispute({}, two.payment));
      await billing.tellDodo('refund.succeeded', dodoRefund({ amount: 1 }, three.payment));
      expect(await counted()).toEqual({
        ...before,
        refunded: before['refunded']! + 1,
        disputed: before['disputed']! + 1,
        partially_refunded: before['partially_refunded']! + 1,
      });
    });
  });

  describe('with onRefund: end', () => {
    it('ends access with a full refund, and no sooner', async () => {
      const { person, payment } = await buyer();
      await billing.tellDodo('refund.succeeded', dodoRefund({ amount: 1999 }, payment));
      expect(await accessOf(person)).toEqual({ tier: 'pro', access: true, reason: 'active', rule: inPeriod });
      await billing.tellDodo('refund.succeeded', dodoRefund({ amount: 1 }, payment));
      expect(await accessOf(person)).toEqual({
        tier: 'free',
        access: false,
        reason: 'refunded',
        rule: 'the payment of its period was refunded',
      });
      const { explain } = await billing.ownState(person);
      expect(explain.considered).toMatchObject([{ grants: false, reason: 'refunded', until: null, status: 'active' }]);
    });

    it('ends access with a lost dispute, and gives it back with one that is won after all', async () => {
      const { person, payment } = await buyer();
      const dispute = dodoDispute({ amount: '500' }, payment);
      await billing.tellDodo('dispute.opened', dispute);
      expect(await accessOf(person)).toMatchObject({ access: true, reason: 'active' });
      await billing.tellDodo('dispute.lost', { ...dispute, dispute_status: 'dispute_lost' });
      expect(await accessOf(person)).toEqual({
        tier: 'free',
        access: false,
        reason: 'dispute_lost',
        rule: 'a dispute about the payment of its period was lost',
      });
      await billing.tellDodo('dispute.won', { ...dispute, dispute_status: 'dispute_won' });
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true, reason: 'active' });
    });

    it('counts the current period alone: earlier money may go back, and the next payment opens it again', async () => {
      const { person, subscription, payment } = await buyer();
      const earlier = dodoPayment({ created_at: inDays(-40), total_amount: 2000 }, subscription);
      await billing.tellDodo('payment.succeeded', earlier);
      await billing.tellDodo('refund.succeeded', dodoRefund({}, earlier));
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true });
      await billing.tellDodo('refund.succeeded', dodoRefund({}, payment));
      expect(await accessOf(person)).toMatchObject({ access: false, reason: 'refunded' });
      // Replacing the card is a payment over nothing, and pays for nothing.
      await billing.tellDodo('payment.succeeded', dodoPayment({ created_at: inDays(-1), total_amount: 0 }, subscription));
      expect(await accessOf(person)).toMatchObject({ access: false, reason: 'refunded' });
      await billing.tellDodo('payment.succeeded', dodoPayment({ created_at: inDays(-1), total_amount: 2000 }, subscription));
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true });
    });

    it('leaves grants, other subscriptions and other plans alone', async () => {
      const { person, payment } = await buyer();
      await billing.tellDodo('refund.succeeded', dodoRefund({}, payment));
      await billing.buyAtPolar({ metadata: { userId: person.id } });
      expect(await accessOf(person)).toMatchObject({ tier: 'pro', access: true });
      const kept = await buyer('business');
      await billing.tellDodo('refund.succeeded', dodoRefund({}, kept.payment));
      const dispute = dodoDispute({ dispute_status: 'dispute_lost' }, kept.payment);
      await billing.tellDodo('dispute.lost', dispute);
      expect(await accessOf(kept.person)).toMatchObject({ tier: 'business', access: true });
      expect(await statusOf(kept.person, kept.payment.payment_id)).toBe('dispute_lost');
    });

    it('holds for recording usage as well', async () => {
      const { person, payment } = await buyer();
      const limit = async () => (await billing.t.http.get('/v1/usage/quota').set(person.auth).expect(200)).body.limit as number;
      expect(await limit()).toBe(5_000_000);
      await billing.tellDodo('refund.succeeded', dodoRefund({}, payment));
      expect(await limit()).toBe(100_000);
    });
  });

  it('ends the same in whatever order it is told', async () => {
    const outcomes = new Set<string>();
    const orders = permutationsOf(['subscription', 'payment', 'refund', 'opened', 'closed'] as const);
    // Each fifth: all begin and end with each kind, and every pair comes in both orders.
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
      for (const name of order) await billing.tellDodo(events[name][0], events[name][1], times[name]);
      const all = (await payments(person)).map(({ kind, status }) => `${kind} ${status}`).toSorted();
      const { access, reason } = await accessOf(person);
      outcomes.add(JSON.stringify({ all, access, reason }));
    }
    expect([...outcomes].map((one) => JSON.parse(one) as unknown)).toEqual([
      { all: ['dispute lost', 'payment dispute_lost', 'refund succeeded'], access: false, reason: 'dispute_lost' },
    ]);
  });
});
