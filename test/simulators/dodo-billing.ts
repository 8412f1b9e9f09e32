import type DodoPayments from 'dodopayments';
import { DODO_BUSINESS_ID, dodoDispute, dodoPayment, dodoRefund, type DodoSubscription } from '../support/billing/dodo-events.js';
import { DodoLedger, type LedgerOptions } from './dodo-ledger.js';
import type { Due } from './provider-account.js';
import { addInterval, dateOf, dodoTime, type Interval, type Micros, microsAt, MICROS_A_DAY } from './virtual-time.js';

const GRACE_DAYS = 7;
const RETRY_DAYS = 2;

export interface DodoOptions extends LedgerOptions {
  /** The state after a renewal that cannot be paid. */
  unpaid?: 'past_due' | 'on_hold';
  /** The state after the grace period. */
  exhausted?: 'on_hold' | 'cancelled';
}

/**
 * Renewals, dunning, refunds and disputes. Dodo's server is not public; where its documentation is silent, this does the simplest thing
 * that fits (a period starts only when it is paid, and a subscription on hold starts a new one).
 */
export abstract class DodoBilling extends DodoLedger {
  private readonly unpaid: 'past_due' | 'on_hold';
  private readonly exhausted: 'on_hold' | 'cancelled';
  /** The next retry of a subscription's failed payment, and the number of retries. */
  private readonly retries = new Map<string, { at: Micros; count: number }>();
  /** The day of the month on which renewals happen, where it exists. */
  private readonly anchors = new Map<string, number>();

  constructor({ unpaid = 'past_due', exhausted = 'on_hold', ...options }: DodoOptions) {
    super(options);
    this.unpaid = unpaid;
    this.exhausted = exhausted;
  }

  /** A refund of a payment, in full by default. A pending refund has no event. */
  refund(paymentId: string, given: { amount?: number; status?: 'pending' | 'succeeded' } = {}): DodoPayments.Refund {
    this.tick();
    const { status = 'succeeded', ...rest } = given;
    const id = this.chance.id('ref');
    const refund = dodoRefund({ refund_id: id, created_at: this.stampText(), ...rest, status: 'pending' }, this.payment(paymentId));
    this.keep(this.refunds, id, refund);
    if (status === 'succeeded') this.settleRefund(id, status);
    return this.refunds.get(id)!;
  }

  settleRefund(id: string, status: 'succeeded' | 'failed'): void {
    this.tick();
    const refund = { ...this.refunds.get(id)!, status };
    this.keep(this.refunds, id, refund);
    if (status === 'succeeded') {
      const payment = this.payment(refund.payment_id);
      const { customer: _customer, brand_id: _brand, metadata: _metadata, ...item } = refund;
      const refunds = [...payment.refunds, item];
      const isWhole = refunds.reduce((sum, { amount }) => sum + (amount ?? 0), 0) >= payment.total_amount;
      this.changePayment(refund.payment_id, { refunds, refund_status: isWhole ? 'full' : 'partial' });
    }
    this.send([`refund.${status}`], id);
  }

  openDispute(paymentId: string): DodoPayments.GetDispute {
    this.tick();
    const id = this.chance.id('dp');
    this.keep(this.disputes, id, dodoDispute({ dispute_id: id, created_at: this.stampText() }, this.payment(paymentId)));
    return this.sendDispute(id, 'opened');
  }

  changeDispute(id: string, to: 'expired' | 'accepted' | 'cancelled' | 'challenged' | 'won' | 'lost'): void {
    this.tick();
    this.sendDispute(id, to);
  }

  protected *dues(): Iterable<Due> {
    for (const one of this.subscriptions.values()) yield* this.duesOf(one, (state) => this.subscriptionDues(state));
    for (const [id, { at }] of this.retries) yield { at, run: () => this.retry(id) };
  }

  /** A payment, successful or not. */
  protected pay(id: string, status: DodoPayments.IntentStatus, given: Partial<DodoPayments.Payment> = {}): string {
    const paymentId = this.chance.id('pay');
    const failed = status === 'failed' ? { error_code: 'INSUFFICIENT_FUNDS', error_message: 'Insufficient funds' } : {};
    const payment = dodoPayment(
      { payment_id: paymentId, created_at: this.stampText(), status, ...failed, ...given },
      this.subscription(id),
    );
    this.keep(this.payments, paymentId, payment);
    this.send([`payment.${status}`], paymentId);
    return paymentId;
  }

  protected beginPeriod(id: string, start: Micros, interval: DodoPayments.TimeInterval, anchor = dateOf(start).getUTCDate()) {
    this.anchors.set(id, anchor);
    const end = addInterval(start, plain(interval), 1, anchor);
    return { previous_billing_date: dodoTime(start), next_billing_date: dodoTime(end) };
  }

  /** The customer pays the debt, by hand or because the card works again. */
  protected recover(id: string, retryAttempt = 0): void {
    const { status, next_billing_date: next, payment_frequency_interval: interval } = this.subscription(id);
    this.retries.delete(id);
    const isInGrace = status === 'past_due';
    const period = isInGrace
      ? this.beginPeriod(id, microsAt(next), interval, this.anchors.get(id))
      : this.beginPeriod(id, this.stamp(), interval);
    this.pay(id, 'succeeded', { retry_attempt: retryAttempt });
    this.change(id, { status: 'active', past_due_ends_at: null, ...period }, ['active']);
    this.sendDunning(id, 'recovered', status);
  }

  protected stopRetries(id: string): void {
    this.retries.delete(id);
  }

  private subscriptionDues({ subscription_id: id, status, ...dates }: DodoSubscription): Due[] {
    const { next_billing_date: next, past_due_ends_at: graceEnds, expires_at: expires } = dates;
    if (['cancelled', 'failed', 'expired', 'pending'].includes(status)) return [];
    const dues: Due[] = [];
    if (expires != null) dues.push({ at: microsAt(expires), run: () => this.expire(id) });
    if (status === 'active') dues.push({ at: microsAt(next), run: () => this.endPeriod(id) });
    if (status === 'past_due' && graceEnds !== null) dues.push({ at: microsAt(graceEnds), run: () => this.endGrace(id) });
    return dues;
  }

  private endPeriod(id: string): void {
    const { cancel_at_next_billing_date: cancels, customer } = this.subscription(id);
    if (cancels) this.change(id, { status: 'cancelled', cancelled_at: this.stampText() }, ['cancelled']);
    else if (this.cardOf(customer.customer_id) === 'works') this.renew(id);
    else this.failRenewal(id);
  }

  private renew(id: string): void {
    const { next_billing_date: next, scheduled_change: planned } = this.subscription(id);
    if (planned != null) this.switchPlan(id, planned.product_id, planned.quantity);
    const { payment_frequency_interval: interval } = this.subscription(id);
    const period = this.beginPeriod(id, microsAt(next), interval, this.anchors.get(id));
    this.change(id, period, ['renewed']);
    this.pay(id, 'succeeded');
  }

  protected switchPlan(id: string, productId: string, quantity: number): void {
    const { price, interval } = this.product(productId);
    const plan = { product_id: productId, quantity, recurring_pre_tax_amount: price * quantity, payment_frequency_interval: interval };
    this.change(id, { ...plan, scheduled_change: null }, ['plan_changed']);
  }

  /** A renewal could not be paid. */
  private failRenewal(id: string): void {
    this.pay(id, 'failed');
    const now = this.stamp();
    const graceEnds = this.unpaid === 'past_due' ? dodoTime(now + GRACE_DAYS * MICROS_A_DAY) : null;
    this.retries.set(id, { at: now + RETRY_DAYS * MICROS_A_DAY, count: 1 });
    this.change(id, { status: this.unpaid, past_due_ends_at: graceEnds }, [this.unpaid]);
    this.sendDunning(id, 'recovering', this.unpaid);
  }

  private retry(id: string): void {
    const { count, at } = this.retries.get(id)!;
    const { customer } = this.subscription(id);
    if (this.cardOf(customer.customer_id) === 'works') return this.recover(id, count);
    this.pay(id, 'failed', { retry_attempt: count });
    if (count < 3) this.retries.set(id, { at: at + RETRY_DAYS * MICROS_A_DAY, count: count + 1 });
    else this.retries.delete(id);
  }

  private endGrace(id: string): void {
    this.retries.delete(id);
    const ended = this.exhausted === 'cancelled' ? { cancelled_at: this.stampText() } : {};
    this.change(id, { status: this.exhausted, past_due_ends_at: null, ...ended }, [this.exhausted]);
  }

  private expire(id: string): void {
    this.retries.delete(id);
    this.change(id, { status: 'expired' }, ['expired']);
  }

  /** A dunning that fails has no event. */
  private sendDunning(id: string, status: 'recovering' | 'recovered', trigger: string): void {
    const { customer } = this.subscription(id);
    this.sendLoose(status === 'recovering' ? 'dunning.started' : 'dunning.recovered', id, {
      brand_id: DODO_BUSINESS_ID,
      created_at: this.stampText(),
      customer_id: customer.customer_id,
      payment_id: null,
      subscription_id: id,
      status,
      trigger_state: trigger,
    });
  }

  private sendDispute(id: string, to: string): DodoPayments.GetDispute {
    const dispute = { ...this.disputes.get(id)!, dispute_status: `dispute_${to}` as DodoPayments.DisputeStatus };
    this.keep(this.disputes, id, dispute);
    const { customer: _customer, brand_id: _brand, payment_provider: _provider, reason: _reason, ...item } = dispute;
    const others = this.payment(dispute.payment_id).disputes.filter((one) => one.dispute_id !== id);
    this.changePayment(dispute.payment_id, { disputes: [...others, item] });
    this.send([`dispute.${to}`], id);
    return dispute;
  }
}

export const plain = (interval: DodoPayments.TimeInterval) => interval.toLowerCase() as Interval;
