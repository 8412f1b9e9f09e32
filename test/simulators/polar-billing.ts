import type { models } from '@polar-sh/sdk/2026-10';
import { polarOrder, polarRefund, polarSubscription } from '../support/billing/polar-events.js';
import { PolarLedger, type SubscriptionFields } from './polar-ledger.js';
import type { AccountOptions, Due } from './provider-account.js';
import { addInterval, dateOf, microsAt, type Micros, MICROS_A_DAY, polarTime } from './virtual-time.js';

/** Days between attempts to collect an order: `DUNNING_RETRY_INTERVALS` of Polar's server. */
const DUNNING_DAYS = [2, 5, 7, 7];

export interface PolarOptions extends AccountOptions {
  /** The state of a subscription when collection has failed: documented as `unpaid`; the server of August 2026 cancels. */
  exhausted?: 'unpaid' | 'canceled';
}

/** Periods, orders, dunning and refunds: Polar's changes over time and after payments. */
export abstract class PolarBilling extends PolarLedger {
  private readonly exhausted: 'unpaid' | 'canceled';
  /** Failed attempts to collect an order. */
  private readonly failures = new Map<string, number>();
  /** The day of the month on which renewals happen, where it exists. */
  private readonly anchors = new Map<string, number>();

  constructor({ exhausted = 'unpaid', ...options }: PolarOptions) {
    super(options);
    this.exhausted = exhausted;
  }

  /** A refund of an order, in full by default. */
  refund(orderId: string, given: { amount?: number; status?: 'pending' | 'succeeded' } = {}): models.Refund {
    this.tick();
    const refund = polarRefund({ id: this.chance.uuid(), created_at: this.stampText(), ...given }, this.order(orderId));
    this.refunds.set(refund.id, refund);
    this.send('refund.created', refund.id, refund);
    if (refund.status === 'succeeded') this.subtractRefund(orderId, refund.amount);
    return refund;
  }

  settleRefund(id: string, status: 'succeeded' | 'failed' | 'canceled'): void {
    this.tick();
    const before = this.refunds.get(id)!;
    const refund = { ...before, status, modified_at: this.stampText() };
    this.refunds.set(id, refund);
    this.send('refund.updated', id, refund);
    if (status === 'succeeded' && before.status !== 'succeeded') this.subtractRefund(refund.order_id, refund.amount);
    // A bank may reverse a refund that had succeeded.
    else if (status !== 'succeeded' && before.status === 'succeeded') this.subtractRefund(refund.order_id, -refund.amount);
  }

  protected override *dues(): Iterable<Due> {
    yield* super.dues();
    for (const one of this.subscriptions.values()) yield* this.duesOf(one, (state) => this.subscriptionDues(state));
    for (const { id, next_payment_attempt_at: at } of this.orders.values()) {
      if (at != null) yield { at: microsAt(at), run: () => this.charge(id) };
    }
    for (const { id, status, expires_at: at } of this.checkouts.values()) {
      if (status === 'open') yield { at: microsAt(at), run: () => this.expireCheckout(id) };
    }
  }

  protected begin(checkout: models.Checkout, customerId: string, firstPayment: 'paid' | 'incomplete'): string {
    const [id, start, product] = [this.chance.uuid(), this.stamp(), this.product(checkout.product_id!)];
    const trialEnd = product.trial_interval === null ? null : start + product.trial_interval_count! * MICROS_A_DAY;
    this.anchors.set(id, dateOf(start).getUTCDate());
    const {
      customer: _customer,
      product: _product,
      prices: _prices,
      discount: _discount,
      meters: _meters,
      ...fields
    } = polarSubscription({
      id,
      created_at: polarTime(start),
      customer: this.customer(customerId),
      product,
      status: firstPayment === 'incomplete' ? 'incomplete' : trialEnd === null ? 'active' : 'trialing',
      amount: this.amountOf(product.id, checkout.seats),
      current_period_start: polarTime(start),
      current_period_end: polarTime(trialEnd ?? addInterval(start, product.recurring_interval!, 1)),
      ...(trialEnd !== null && { trial_start: polarTime(start), trial_end: polarTime(trialEnd) }),
      checkout_id: checkout.id,
      seats: checkout.seats,
      metadata: checkout.metadata,
    });
    this.add(fields);
    if (firstPayment === 'paid') this.collect(this.openOrder(id, 'subscription_create', trialEnd === null ? fields.amount : 0));
    return id;
  }

  protected amountOf(productId: string, seats: number | null | undefined): number {
    const [price] = this.product(productId).prices;
    if (price !== undefined && price.amount_type === 'seat_based') return price.seat_tiers.tiers[0]!.price_per_seat * (seats ?? 1);
    return price !== undefined && 'price_amount' in price ? price.price_amount : 0;
  }

  protected openOrder(id: string, reason: models.OrderBillingReason, amount: number): string {
    const [orderId, createdAt] = [this.chance.uuid(), this.stampText()];
    const given = {
      id: orderId,
      created_at: createdAt,
      status: 'pending' as const,
      billing_reason: reason,
      subtotal_amount: amount,
      invoice_number: `SAMPLE-${String(this.orders.size + 1).padStart(4, '0')}`,
    };
    const {
      customer: _customer,
      product: _product,
      subscription: _subscription,
      discount: _discount,
      ...fields
    } = polarOrder(given, this.subscription(id));
    this.orders.set(orderId, fields);
    this.sendOrder(orderId, 'created');
    return orderId;
  }

  protected collect(orderId: string): void {
    const { subscription_id: id } = this.order(orderId);
    this.changeOrder(orderId, { status: 'paid', paid: true, next_payment_attempt_at: null });
    if (this.subscription(id!).status === 'past_due') this.change(id!, { status: 'active', past_due_at: null });
    this.sendOrder(orderId, 'updated');
    this.sendOrder(orderId, 'paid');
  }

  /** A new product applies at once; another interval starts a new period. */
  protected switchProduct(id: string, productId: string): void {
    const before = this.subscription(id);
    const { recurring_interval: interval } = this.product(productId);
    const amount = this.amountOf(productId, before.seats);
    const isNewInterval = interval !== before.recurring_interval;
    const period = isNewInterval ? this.periodFrom(id, this.stamp(), interval!) : {};
    this.change(id, { product_id: productId, amount, recurring_interval: interval!, pending_update: null, ...period });
    if (before.status !== 'active') return;
    const difference = isNewInterval ? amount : amount - before.amount;
    if (difference > 0) this.bill(id, 'subscription_update', difference);
  }

  /** A change that is planned for the next period. */
  protected plan(id: string, { product_id = null, seats = null }: { product_id?: string | null; seats?: number | null }): void {
    const { current_period_end: appliesAt } = this.subscription(id);
    const born = { id: this.chance.uuid(), created_at: this.stampText(), modified_at: null };
    this.change(id, { pending_update: { ...born, applies_at: appliesAt, product_id, seats, units: null } });
  }

  protected resumeNow(id: string): void {
    const { recurring_interval: interval } = this.subscription(id);
    this.change(id, { status: 'active', paused_at: null, resumes_at: null, ...this.periodFrom(id, this.stamp(), interval) });
    this.bill(id, 'subscription_cycle');
  }

  protected voidOrders(subscriptionId: string): void {
    for (const { id, status, subscription_id: owner } of this.orders.values()) {
      if (owner !== subscriptionId || status !== 'pending') continue;
      this.changeOrder(id, { status: 'void', next_payment_attempt_at: null });
      this.sendOrder(id, 'updated');
    }
  }

  private subscriptionDues({ id, status, current_period_end: end, resumes_at: resumesAt }: SubscriptionFields): Due[] {
    if (status === 'active' || status === 'trialing') return [{ at: microsAt(end), run: () => this.endPeriod(id) }];
    if (status === 'paused' && resumesAt !== null) return [{ at: microsAt(resumesAt), run: () => this.resumeNow(id) }];
    return [];
  }

  private endPeriod(id: string): void {
    const { cancel_at_period_end: cancels, pause_at_period_end: pauses } = this.subscription(id);
    if (cancels) this.change(id, { status: 'canceled', ended_at: this.stampText() });
    else if (pauses) this.change(id, { status: 'paused', paused_at: this.stampText(), pause_at_period_end: false });
    else this.renew(id);
  }

  /** The next period starts whether or not it can be paid. */
  private renew(id: string): void {
    const { status, pending_update: pending, seats, product_id: productId, current_period_end: end } = this.subscription(id);
    const next = { product_id: pending?.product_id ?? productId, seats: pending?.seats ?? seats ?? null };
    const { recurring_interval: interval } = this.product(next.product_id);
    if (status === 'trialing') this.anchors.set(id, dateOf(microsAt(end)).getUTCDate());
    const changes: Partial<SubscriptionFields> = {
      ...next,
      status: 'active',
      amount: this.amountOf(next.product_id, next.seats),
      recurring_interval: interval!,
      current_period_start: end,
      current_period_end: polarTime(addInterval(microsAt(end), interval!, 1, this.anchors.get(id))),
      pending_update: null,
    };
    this.change(id, changes, { first: 'cycled' });
    this.bill(id, 'subscription_cycle');
  }

  private periodFrom(id: string, start: Micros, interval: models.RecurringInterval) {
    this.anchors.set(id, dateOf(start).getUTCDate());
    return { current_period_start: polarTime(start), current_period_end: polarTime(addInterval(start, interval, 1)) };
  }

  /** Creates an order and tries to collect it. */
  private bill(id: string, reason: models.OrderBillingReason, amount = this.subscription(id).amount): void {
    this.charge(this.openOrder(id, reason, amount));
  }

  private charge(orderId: string): void {
    const { customer_id: customerId, total_amount: amount } = this.order(orderId);
    if (amount === 0 || this.cardOf(customerId) === 'works') this.collect(orderId);
    else this.fail(orderId);
  }

  private fail(orderId: string): void {
    const id = this.order(orderId).subscription_id!;
    const failures = (this.failures.get(orderId) ?? 0) + 1;
    this.failures.set(orderId, failures);
    const wait = DUNNING_DAYS[failures - 1];
    if (wait === undefined) return this.giveUp(id);
    const { status, past_due_at: since } = this.subscription(id);
    if (status !== 'past_due') this.change(id, { status: 'past_due', past_due_at: since ?? this.stampText() });
    this.changeOrder(orderId, { next_payment_attempt_at: polarTime(this.stamp() + wait * MICROS_A_DAY) });
  }

  private giveUp(id: string): void {
    const now = this.stampText();
    const canceled = { canceled_at: now, ends_at: now, ended_at: now };
    this.change(id, { status: this.exhausted, ...(this.exhausted === 'canceled' && canceled) });
    this.voidOrders(id);
  }

  private subtractRefund(orderId: string, amount: number): void {
    const { refunded_amount: refunded, net_amount: net } = this.order(orderId);
    const total = refunded + amount;
    const status = total === 0 ? 'paid' : total < net ? 'partially_refunded' : 'refunded';
    this.changeOrder(orderId, { refunded_amount: total, refundable_amount: net - total, status });
    this.sendOrder(orderId, 'updated');
    if (amount > 0) this.sendOrder(orderId, 'refunded');
  }

  private expireCheckout(id: string): void {
    const checkout = { ...this.checkouts.get(id)!, status: 'expired' as const, modified_at: this.stampText() };
    this.checkouts.set(id, checkout);
    this.send('checkout.expired', id, checkout);
  }
}
