import { polarEvent } from '../support/billing/polar-events.js';
import { DodoAccount } from '../simulators/dodo-account.js';
import type { DodoOptions } from '../simulators/dodo-billing.js';
import { PolarAccount } from '../simulators/polar-account.js';
import type { PolarOptions } from '../simulators/polar-billing.js';
import { bodyAt, type ProviderEvent } from '../simulators/provider-event.js';
import { addInterval, dodoTime, microsAt, polarTime, VirtualClock } from '../simulators/virtual-time.js';

const FAR = new Date(8.64e15);

interface EventBody {
  timestamp: string;
  type: string;
  data: Record<string, unknown> & { status?: string };
}

const read = (event: ProviderEvent, attemptAt = FAR) => JSON.parse(bodyAt(event, attemptAt)) as EventBody;

/** `subscription.updated active` */
const summary = (event: ProviderEvent) => [event.type, read(event, event.at).data.status].filter((part) => part !== undefined).join(' ');

/** The events during an action, without those that match `without`. */
function eventsDuring(account: { events: ProviderEvent[] }, act: () => void, without = /^customer\.|^checkout\./): string[] {
  const before = account.events.length;
  act();
  return account.events
    .slice(before)
    .filter(({ type }) => !without.test(type))
    .map(summary);
}

describe('a simulated Polar account', () => {
  function subscribed(options: Partial<PolarOptions> = {}, product = {}) {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1));
    const polar = new PolarAccount({ clock, ...options });
    const { id: productId } = polar.createProduct(product);
    const { id: customerId } = polar.createCustomer({ externalId: 'acme', email: 'acme@example.com' });
    const start = (given = {}) => polar.subscribe({ productId, customerId, metadata: { organizationId: 'o1' }, ...given });
    const advanceDays = (days: number) => {
      clock.advance({ days });
      polar.tick();
    };
    return { clock, polar, productId, customerId, start, advanceDays };
  }

  it('sends events about a purchase', () => {
    const { polar, start } = subscribed();
    expect(eventsDuring(polar, start)).toEqual([
      'subscription.created active',
      'subscription.active active',
      'subscription.updated active',
      'order.created pending',
      'order.updated paid',
      'order.paid paid',
    ]);
    const [subscription] = polar.listSubscriptions();
    expect(subscription).toMatchObject({ modified_at: null, metadata: { organizationId: 'o1' }, customer: { external_id: 'acme' } });
    expect(polar.listOrders()).toMatchObject([{ billing_reason: 'subscription_create', metadata: { organizationId: 'o1' } }]);
  });

  it('sells to the customer with the address, whatever external id the checkout has', () => {
    const { polar, productId, customerId } = subscribed();
    const sold = polar.subscribe({ productId, externalCustomerId: 'other', email: 'acme@example.com' });
    expect(sold.customer).toMatchObject({ id: customerId, external_id: 'acme' });
    const fresh = polar.subscribe({ productId, externalCustomerId: 'other', email: 'other@example.com' });
    expect(fresh.customer).toMatchObject({ external_id: 'other', email: 'other@example.com' });
    expect(polar.customers.size).toBe(2);
  });

  it('renews, whether or not the payment succeeds', () => {
    const { polar, start, advanceDays } = subscribed();
    const { id, customer_id: customerId, current_period_end: end } = start();
    const renewal = ['subscription.cycled active', 'subscription.updated active', 'order.created pending'];
    expect(eventsDuring(polar, () => advanceDays(31))).toEqual([...renewal, 'order.updated paid', 'order.paid paid']);
    expect(polar.subscription(id)).toMatchObject({ current_period_start: end, status: 'active' });
    polar.setCard(customerId, 'fails');
    const failure = ['subscription.updated past_due', 'subscription.past_due past_due'];
    expect(eventsDuring(polar, () => advanceDays(28))).toEqual([...renewal, ...failure]);
    expect(polar.subscription(id).past_due_at).toMatch(/^2026-03-01T00:00:00\.00\d{4}Z$/);
    polar.setCard(customerId, 'works');
    expect(eventsDuring(polar, () => advanceDays(3))).toEqual([
      'subscription.updated active',
      'subscription.active active',
      'order.updated paid',
      'order.paid paid',
    ]);
    expect(polar.subscription(id).past_due_at).toBeNull();
  });

  it.each([
    ['unpaid', ['subscription.updated unpaid', 'subscription.revoked unpaid', 'order.updated void']],
    [
      'canceled',
      ['subscription.updated canceled', 'subscription.canceled canceled', 'subscription.revoked canceled', 'order.updated void'],
    ],
  ] as const)('stops after 21 days without payment, as %s', (exhausted, sequence) => {
    const { polar, start, advanceDays } = subscribed({ exhausted });
    const { id, customer_id: customerId } = start();
    polar.setCard(customerId, 'fails');
    advanceDays(31);
    expect(eventsDuring(polar, () => advanceDays(20))).toEqual([]);
    expect(eventsDuring(polar, () => advanceDays(2))).toEqual(sequence);
    const { status, canceled_at: canceledAt } = polar.subscription(id);
    expect([status, canceledAt === null]).toEqual([exhausted, exhausted === 'unpaid']);
  });

  it('cancels at the end of the period or at once, and resumes', () => {
    const { polar, start, advanceDays } = subscribed();
    const { id } = start();
    expect(eventsDuring(polar, () => polar.cancel(id))).toEqual(['subscription.updated active', 'subscription.canceled active']);
    expect(polar.subscription(id)).toMatchObject({ cancel_at_period_end: true, ends_at: polar.subscription(id).current_period_end });
    expect(eventsDuring(polar, () => polar.uncancel(id))).toEqual(['subscription.updated active', 'subscription.uncanceled active']);
    polar.cancel(id);
    const ending = ['subscription.updated canceled', 'subscription.canceled canceled', 'subscription.revoked canceled'];
    expect(eventsDuring(polar, () => advanceDays(31))).toEqual(ending);
    const second = start();
    expect(eventsDuring(polar, () => polar.cancel(second.id, { when: 'now' }))).toEqual(ending);
    expect(eventsDuring(polar, () => polar.reinstate(second.id))).toEqual(['subscription.updated active', 'subscription.active active']);
    expect(polar.subscription(second.id)).toMatchObject({ ended_at: null, canceled_at: null, cancel_at_period_end: false });
  });

  it('starts with a trial, which becomes a paid period', () => {
    const { polar, start, advanceDays } = subscribed({}, { trialDays: 14 });
    expect(eventsDuring(polar, start).slice(0, 4)).toEqual([
      'subscription.created trialing',
      'subscription.active trialing',
      'subscription.updated trialing',
      'order.created pending',
    ]);
    const { trial_end: trialEnd, current_period_end: end } = polar.listSubscriptions()[0]!;
    expect(end).toBe(trialEnd);
    expect(eventsDuring(polar, () => advanceDays(14)).slice(0, 2)).toEqual(['subscription.cycled active', 'subscription.updated active']);
    expect(polar.listOrders().map(({ total_amount: amount }) => amount)).toEqual([0, 1000]);
  });

  it('pauses at the end of the period, and resumes with a new one', () => {
    const { polar, clock, start, advanceDays } = subscribed();
    const { id } = start();
    expect(eventsDuring(polar, () => polar.pause(id, { resumesAt: new Date(Date.UTC(2026, 2, 10)) }))).toEqual([
      'subscription.updated active',
    ]);
    expect(eventsDuring(polar, () => advanceDays(31))).toEqual(['subscription.updated paused', 'subscription.paused paused']);
    clock.set(new Date(Date.UTC(2026, 2, 10)));
    expect(eventsDuring(polar, () => polar.tick()).slice(0, 3)).toEqual([
      'subscription.updated active',
      'subscription.resumed active',
      'order.created pending',
    ]);
    expect(polar.subscription(id).current_period_end).toMatch(/^2026-04-10T00:00/);
  });

  it('leaves a first payment open', () => {
    const { polar, start } = subscribed();
    expect(eventsDuring(polar, () => start({ firstPayment: 'incomplete' }))).toEqual([
      'subscription.created incomplete',
      'subscription.updated incomplete',
    ]);
    const [failing] = polar.listSubscriptions();
    expect(eventsDuring(polar, () => polar.settleFirstPayment(failing!.id, 'failed'))).toEqual(['subscription.updated incomplete_expired']);
    const paying = start({ firstPayment: 'incomplete' });
    expect(eventsDuring(polar, () => polar.settleFirstPayment(paying.id, 'paid'))).toContain('subscription.active active');
  });

  it('changes the product and the seats, now or later', () => {
    const { polar, start, advanceDays } = subscribed({}, { perSeat: true, amount: 500 });
    const { id, amount } = start({ seats: 2 });
    expect(amount).toBe(1000);
    expect(eventsDuring(polar, () => polar.changeSeats(id, 3))).toEqual(['subscription.updated active']);
    expect(polar.subscription(id)).toMatchObject({ seats: 3, amount: 1500 });
    const yearly = polar.createProduct({ interval: 'year', amount: 9000 });
    polar.changeProduct(id, yearly.id, { when: 'period end' });
    expect(polar.subscription(id)).toMatchObject({ seats: 3, pending_update: { product_id: yearly.id } });
    advanceDays(31);
    expect(polar.subscription(id)).toMatchObject({ product_id: yearly.id, recurring_interval: 'year', amount: 9000, pending_update: null });
    expect(polar.subscription(id).current_period_end).toMatch(/^2027-02-01/);
  });

  it('refunds, and takes a refund back when it fails', () => {
    const { polar, start } = subscribed();
    start();
    const { id } = polar.listOrders()[0]!;
    const partly = () => polar.refund(id, { amount: 400 });
    expect(eventsDuring(polar, partly)).toEqual([
      'refund.created succeeded',
      'order.updated partially_refunded',
      'order.refunded partially_refunded',
    ]);
    const rest = polar.refund(id, { status: 'pending' });
    expect(polar.order(id)).toMatchObject({ status: 'partially_refunded', refunded_amount: 400 });
    polar.settleRefund(rest.id, 'succeeded');
    expect(polar.order(id)).toMatchObject({ status: 'refunded', refunded_amount: 1000 });
    polar.settleRefund(rest.id, 'failed');
    expect(polar.order(id)).toMatchObject({ status: 'partially_refunded', refunded_amount: 400 });
  });

  it('sends a customer’s state after a quiet second, with the state at that time', () => {
    const { clock, polar, customerId, start } = subscribed();
    const { id } = start();
    expect(eventsDuring(polar, () => polar.cancel(id), /^order/)).not.toContain('customer.state_changed');
    clock.advance({ seconds: 2 });
    expect(eventsDuring(polar, () => polar.tick(), /^order/)).toEqual(['customer.state_changed']);
    const { data } = read(polar.events.at(-1)!);
    expect(data).toMatchObject({ id: customerId, active_subscriptions: [{ id, cancel_at_period_end: true }] });
  });

  it('cancels the subscriptions of a deleted customer', () => {
    const { polar, customerId, start } = subscribed();
    const { id } = start();
    expect(eventsDuring(polar, () => polar.deleteCustomer(customerId), /state_changed/)).toEqual([
      'customer.deleted',
      'subscription.updated canceled',
      'subscription.canceled canceled',
      'subscription.revoked canceled',
    ]);
    expect(polar.subscription(id).customer).toMatchObject({ external_id: 'acme', deleted_at: expect.any(String) });
  });

  it('gives all events of one change the same data, and times that differ by microseconds', () => {
    const { polar, start } = subscribed();
    const { id } = start();
    polar.cancel(id);
    const [updated, canceled] = polar.events.slice(-2).map((event) => read(event));
    expect(updated!.data).toEqual(canceled!.data);
    expect(microsAt(canceled!.timestamp) - microsAt(updated!.timestamp)).toBeGreaterThan(0);
    const times = polar.events.map((event) => microsAt(read(event).timestamp));
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
  });

  it('sends irrelevant events of every kind', () => {
    const { polar, start } = subscribed();
    const { id } = start();
    const noise = eventsDuring(polar, () => Array.from({ length: 200 }, () => polar.makeNoise(id)));
    expect(new Set(noise).size).toBeGreaterThan(15);
  });

  it('is equal for equal seeds only', () => {
    const history = (seed: number) => {
      const { polar, start, advanceDays } = subscribed({ seed });
      start();
      advanceDays(100);
      return polar.events;
    };
    expect(history(7)).toEqual(history(7));
    const ids = new Set(history(7).map(({ messageId }) => messageId));
    expect(history(8).filter(({ messageId }) => ids.has(messageId))).toEqual([]);
  });
});

describe('a simulated Dodo account', () => {
  function subscribed(options: Partial<DodoOptions> = {}, product = {}) {
    const clock = new VirtualClock(Date.UTC(2026, 0, 1));
    // The test checks the sequence of changes, so bodies are rendered at the event time.
    const dodo = new DodoAccount({ clock, rendering: 'stored', ...options });
    const { product_id: productId } = dodo.createProduct(product);
    const { customer_id: customerId } = dodo.createCustomer({ email: 'acme@example.com' });
    const start = (given = {}) => dodo.subscribe({ productId, customerId, metadata: { organizationId: 'o1' }, ...given });
    const advanceDays = (days: number) => {
      clock.advance({ days });
      dodo.tick();
    };
    return { clock, dodo, productId, customerId, start, advanceDays };
  }

  it('sends events about a purchase, with the payment first or last', () => {
    const orders = Array.from({ length: 20 }, (_, seed) => {
      const { dodo, start } = subscribed({ seed });
      return eventsDuring(dodo, start);
    });
    for (const one of orders)
      expect(one.toSorted()).toEqual([
        'payment.succeeded succeeded',
        'subscription.active active',
        'subscription.renewed active',
        'subscription.updated active',
      ]);
    expect(new Set(orders.map(([first]) => first)).size).toBe(2);
  });

  it('renews after a payment', () => {
    const { dodo, start, advanceDays } = subscribed();
    const { subscription_id: id, next_billing_date: next } = start();
    expect(eventsDuring(dodo, () => advanceDays(31))).toEqual([
      'subscription.updated active',
      'subscription.renewed active',
      'payment.succeeded succeeded',
    ]);
    expect(dodo.subscription(id)).toMatchObject({ previous_billing_date: next });
  });

  it('has a grace period, and recovers in it', () => {
    const { dodo, customerId, start, advanceDays } = subscribed();
    const { subscription_id: id, next_billing_date: next } = start();
    dodo.setCard(customerId, 'fails');
    expect(eventsDuring(dodo, () => advanceDays(31))).toEqual([
      'payment.failed failed',
      'subscription.updated past_due',
      'subscription.past_due past_due',
      'dunning.started recovering',
    ]);
    expect(dodo.subscription(id)).toMatchObject({ next_billing_date: next, past_due_ends_at: expect.stringMatching(/^2026-02-08/) });
    dodo.setCard(customerId, 'works');
    expect(eventsDuring(dodo, () => advanceDays(2))).toEqual([
      'payment.succeeded succeeded',
      'subscription.updated active',
      'subscription.active active',
      'dunning.recovered recovered',
    ]);
    expect(dodo.subscription(id)).toMatchObject({ previous_billing_date: next, past_due_ends_at: null });
  });

  it.each([
    ['on_hold', 'on_hold'],
    ['cancelled', 'cancelled'],
  ] as const)('ends the grace period as %s', (exhausted, status) => {
    const { dodo, customerId, start, advanceDays } = subscribed({ exhausted });
    start();
    dodo.setCard(customerId, 'fails');
    advanceDays(31);
    expect(eventsDuring(dodo, () => advanceDays(8), /^payment/)).toEqual([
      `subscription.updated ${status}`,
      `subscription.${status} ${status}`,
    ]);
  });

  it('is put on hold at once, until a new card is added', () => {
    const { dodo, customerId, start, advanceDays } = subscribed({ unpaid: 'on_hold' });
    const { subscription_id: id } = start();
    dodo.setCard(customerId, 'fails');
    expect(eventsDuring(dodo, () => advanceDays(31), /^payment|^dunning/)).toEqual([
      'subscription.updated on_hold',
      'subscription.on_hold on_hold',
    ]);
    advanceDays(20);
    expect(eventsDuring(dodo, () => dodo.updatePaymentMethod(id), /^dunning/)).toEqual([
      'subscription.updated on_hold',
      'subscription.update_payment_method on_hold',
      'payment.succeeded succeeded',
      'subscription.updated active',
      'subscription.active active',
    ]);
  });

  it('cancels, pauses, changes the plan and expires', () => {
    const { dodo, start, advanceDays } = subscribed({}, { term: { count: 4, interval: 'Month' } });
    const { subscription_id: id } = start();
    const business = dodo.createProduct({ price: 3000 });
    expect(eventsDuring(dodo, () => dodo.changePlan(id, { productId: business.product_id, quantity: 2 }))).toEqual([
      'subscription.updated active',
      'subscription.plan_changed active',
      'payment.succeeded succeeded',
    ]);
    expect(dodo.subscription(id)).toMatchObject({ quantity: 2, recurring_pre_tax_amount: 6000 });
    expect(eventsDuring(dodo, () => dodo.pause(id))).toEqual(['subscription.updated paused', 'subscription.paused paused']);
    expect(eventsDuring(dodo, () => dodo.resume(id))).toEqual(['subscription.updated active', 'subscription.unpaused active']);
    expect(eventsDuring(dodo, () => dodo.cancel(id))).toEqual(['subscription.updated active']);
    dodo.uncancel(id);
    expect(eventsDuring(dodo, () => advanceDays(121)).slice(-2)).toEqual(['subscription.updated expired', 'subscription.expired expired']);
    const second = start();
    dodo.cancel(second.subscription_id);
    expect(eventsDuring(dodo, () => advanceDays(31))).toEqual(['subscription.updated cancelled', 'subscription.cancelled cancelled']);
  });

  it('starts with a trial, which has no own status', () => {
    const { dodo, start, advanceDays } = subscribed({}, { trialDays: 14 });
    const { subscription_id: id, ...trial } = start();
    expect(dodo.payments.size).toBe(0);
    expect(trial).toMatchObject({ status: 'active', trial_period_days: 14, next_billing_date: expect.stringMatching(/^2026-01-15/) });
    advanceDays(14);
    expect(dodo.subscription(id).next_billing_date).toMatch(/^2026-02-15/);
  });

  it('has refunds and disputes', () => {
    const { dodo, start } = subscribed();
    start();
    const paymentId = [...dodo.payments.keys()][0]!;
    expect(eventsDuring(dodo, () => dodo.refund(paymentId, { amount: 400 }))).toEqual(['refund.succeeded succeeded']);
    expect(dodo.payment(paymentId)).toMatchObject({ refund_status: 'partial', refunds: [{ amount: 400, is_partial: true }] });
    const pending = dodo.refund(paymentId, { amount: 600, status: 'pending' });
    expect(eventsDuring(dodo, () => dodo.settleRefund(pending.refund_id, 'failed'))).toEqual(['refund.failed failed']);
    const dispute = dodo.openDispute(paymentId);
    dodo.changeDispute(dispute.dispute_id, 'lost');
    expect(dodo.payment(paymentId).disputes).toMatchObject([{ dispute_status: 'dispute_lost', amount: '1000' }]);
  });

  it('renders either the state of the attempt under the event time, or the state of the event', () => {
    const outcome = (rendering: 'latest' | 'stored') => {
      const { clock, dodo, start } = subscribed({ rendering });
      const { subscription_id: id } = start();
      const event = dodo.events.find(({ type }) => type === 'subscription.active')!;
      const atOnce = read(event, clock.now());
      clock.advance({ hours: 1 });
      dodo.cancel(id, { when: 'now' });
      clock.advance({ hours: 1 });
      const late = read(event, clock.now());
      expect(late.timestamp).toBe(atOnce.timestamp);
      // An attempt in between shows the state at that time.
      expect(read(event, new Date(Date.UTC(2026, 0, 1, 0, 30))).data).toEqual(atOnce.data);
      return late.data.status;
    };
    expect(outcome('latest')).toBe('cancelled');
    expect(outcome('stored')).toBe('active');
  });

  it('gives the events of one change one time or several', () => {
    const shared = Array.from({ length: 20 }, (_, seed) => {
      const { dodo, start } = subscribed({ seed });
      dodo.cancel(start().subscription_id, { when: 'now' });
      const [updated, cancelled] = dodo.events.slice(-2).map((event) => read(event));
      return updated!.timestamp === cancelled!.timestamp;
    });
    expect(new Set(shared).size).toBe(2);
  });

  it('is equal for equal seeds', () => {
    const history = () => {
      const { dodo, start, advanceDays } = subscribed({ seed: 7 });
      start();
      advanceDays(100);
      return dodo.events.map((event) => ({ ...event, body: bodyAt(event, FAR) }));
    };
    expect(history()).toEqual(history());
  });
});

describe('the providers’ times', () => {
  it('are formatted as each provider does', () => {
    const second = Date.UTC(2026, 0, 1) * 1000;
    expect([0, 120_000, 417].map((micros) => polarTime(second + micros))).toEqual([
      '2026-01-01T00:00:00Z',
      '2026-01-01T00:00:00.120000Z',
      '2026-01-01T00:00:00.000417Z',
    ]);
    expect(dodoTime(second + 120_000)).toBe('2026-01-01T00:00:00.120Z');
    for (const micros of [0, 120_000, 417]) expect(microsAt(dodoTime(second + micros))).toBe(second + micros);
    expect(polarEvent('order.paid', {}, { at: polarTime(second) }).timestamp).toBe('2026-01-01T00:00:00Z');
  });

  it('keep the 31st for the months that have one', () => {
    let at = microsAt('2026-01-31T10:00:00.000123Z');
    const days = Array.from({ length: 3 }, () => polarTime((at = addInterval(at, 'month', 1, 31))));
    expect(days).toEqual(['2026-02-28T10:00:00.000123Z', '2026-03-31T10:00:00.000123Z', '2026-04-30T10:00:00.000123Z']);
    expect(polarTime(addInterval(microsAt('2028-02-29T00:00:00Z'), 'year', 1, 29))).toBe('2029-02-28T00:00:00Z');
  });
});
