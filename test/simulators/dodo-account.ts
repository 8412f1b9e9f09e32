import type DodoPayments from 'dodopayments';
import { dodoCustomer, dodoCustomerDetails, dodoSubscription, type DodoSubscription } from '../support/billing/dodo-events.js';
import { DODO_NOISE } from '../support/billing/dodo-noise.js';
import { DodoBilling, plain } from './dodo-billing.js';
import type { DodoProduct } from './dodo-ledger.js';
import type { Card } from './provider-account.js';
import { addInterval, dodoTime, MICROS_A_DAY } from './virtual-time.js';

export type Metadata = Record<string, string | number | boolean>;

export interface DodoCustomerGiven {
  email?: string;
  name?: string;
  metadata?: Metadata;
  card?: Card;
}

export interface DodoCheckout {
  session_id: string;
  created_at: string;
  product_id: string;
  quantity: number;
  customer_id: string | null;
  email: string | null;
  name: string | null;
  metadata: Metadata;
  return_url: string | null;
  payment_id: string | null;
}

export interface DodoCheckoutGiven {
  productId: string;
  quantity?: number;
  customerId?: string;
  email?: string;
  name?: string;
  metadata?: Metadata;
  returnUrl?: string;
}

/**
 * A DodoPayments account with the actions of merchant, customers and time (`tick`). It hardly validates: the caller asks only for possible
 * actions. Every action first runs the due changes.
 */
export class DodoAccount extends DodoBilling {
  readonly checkouts = new Map<string, DodoCheckout>();

  createProduct(given: Partial<Omit<DodoProduct, 'product_id'>> = {}): DodoProduct {
    this.tick();
    const term = { count: 10, interval: 'Year' as const };
    const product: DodoProduct = {
      name: 'Pro',
      price: 1000,
      interval: 'Month',
      trialDays: 0,
      term,
      ...given,
      product_id: this.chance.id('pdt'),
    };
    this.products.set(product.product_id, product);
    return product;
  }

  createCustomer({ card, ...given }: DodoCustomerGiven = {}): DodoPayments.Customer {
    this.tick();
    const id = this.chance.id('cus');
    const customer = dodoCustomer({ customer_id: id, created_at: this.stampText(), ...given, email: given.email ?? `${id}@example.com` });
    this.keepCustomer(customer);
    if (card !== undefined) this.setCard(id, card);
    return customer;
  }

  updateCustomer(id: string, changes: Partial<Pick<DodoPayments.Customer, 'email' | 'name' | 'metadata' | 'phone_number'>>): void {
    this.tick();
    this.keepCustomer({ ...this.customer(id), ...changes });
  }

  openCheckout({ productId, quantity = 1, ...given }: DodoCheckoutGiven): DodoCheckout {
    this.tick();
    const checkout: DodoCheckout = {
      session_id: this.chance.id('cks'),
      created_at: this.stampText(),
      product_id: this.product(productId).product_id,
      quantity,
      customer_id: given.customerId ?? null,
      email: given.email ?? null,
      name: given.name ?? null,
      metadata: given.metadata ?? {},
      return_url: given.returnUrl ?? null,
      payment_id: null,
    };
    this.checkouts.set(checkout.session_id, checkout);
    return checkout;
  }

  /** The customer pays; with `incomplete`, `settleFirstPayment` decides later. */
  completeCheckout(id: string, { firstPayment = 'paid' }: { firstPayment?: 'paid' | 'incomplete' } = {}): DodoSubscription {
    this.tick();
    const { customer_id: known, email, name, ...checkout } = this.checkouts.get(id)!;
    const named = { ...(email !== null && { email }), ...(name !== null && { name }) };
    const customer = known === null ? (this.customerWith(email) ?? this.createCustomer(named)) : this.customer(known);
    const subscriptionId = this.begin(checkout, customer);
    const paymentId = this.settleCheckout(id, subscriptionId, firstPayment);
    this.checkouts.set(id, { ...this.checkouts.get(id)!, customer_id: customer.customer_id, payment_id: paymentId });
    return this.subscription(subscriptionId);
  }

  /** Opens and completes a checkout. */
  subscribe({ firstPayment, ...checkout }: DodoCheckoutGiven & { firstPayment?: 'paid' | 'incomplete' }): DodoSubscription {
    return this.completeCheckout(this.openCheckout(checkout).session_id, { firstPayment });
  }

  settleFirstPayment(id: string, outcome: 'paid' | 'failed'): void {
    this.tick();
    const paymentId = [...this.payments.values()].find((one) => one.subscription_id === id)!.payment_id;
    const status = outcome === 'paid' ? 'succeeded' : 'failed';
    this.changePayment(paymentId, { status });
    this.send([`payment.${status}`], paymentId);
    if (outcome === 'paid') this.change(id, { status: 'active' }, ['active']);
    else this.change(id, { status: 'failed' }, ['failed']);
  }

  cancel(id: string, { when = 'period end' }: { when?: 'now' | 'period end' } = {}): void {
    this.tick();
    if (when === 'period end') return this.change(id, { cancel_at_next_billing_date: true }, []);
    this.stopRetries(id);
    this.change(id, { status: 'cancelled', cancelled_at: this.stampText(), past_due_ends_at: null }, ['cancelled']);
  }

  uncancel(id: string): void {
    this.tick();
    this.change(id, { cancel_at_next_billing_date: false }, []);
  }

  pause(id: string): void {
    this.tick();
    this.change(id, { status: 'paused', paused_at: this.stampText() }, ['paused']);
  }

  /** Continues a paid period, or starts and charges a new one. */
  resume(id: string): void {
    this.tick();
    const { next_billing_date: next, payment_frequency_interval: interval } = this.subscription(id);
    const isPaidFor = new Date(next) > this.now();
    const period = isPaidFor ? {} : this.beginPeriod(id, this.stamp(), interval);
    this.change(id, { status: 'active', paused_at: null, ...period }, ['unpaused']);
    if (!isPaidFor) this.pay(id, 'succeeded');
  }

  changePlan(
    id: string,
    { productId, quantity, when = 'now' }: { productId?: string; quantity?: number; when?: 'now' | 'period end' },
  ): void {
    this.tick();
    const before = this.subscription(id);
    const plan = { product_id: productId ?? before.product_id, quantity: quantity ?? before.quantity };
    if (when === 'period end') return this.schedule(id, plan);
    this.switchPlan(id, plan.product_id, plan.quantity);
    const difference = this.subscription(id).recurring_pre_tax_amount - before.recurring_pre_tax_amount;
    if (difference > 0) this.pay(id, 'succeeded', { total_amount: difference });
  }

  /** Cancels a change that is planned for the next period. */
  cancelPlannedChange(id: string): void {
    this.tick();
    this.change(id, { scheduled_change: null }, []);
  }

  /** With a working card, the debt is paid at once. */
  updatePaymentMethod(id: string, card: Card = 'works'): void {
    this.tick();
    this.setCard(this.subscription(id).customer.customer_id, card);
    this.change(id, { payment_method_id: this.chance.id('pm') }, ['update_payment_method']);
    const owes = ['past_due', 'on_hold'].includes(this.subscription(id).status);
    if (owes && card === 'works') this.recover(id);
  }

  updateMetadata(id: string, metadata: Metadata): void {
    this.tick();
    this.change(id, { metadata }, []);
  }

  /** Sends an event that does not change a subscription. */
  makeNoise(subscriptionId: string, type = this.chance.pick(Object.keys(DODO_NOISE))): void {
    this.tick();
    const id = this.chance.id('x').slice(2);
    const around = { id, at: this.stampText(), subscription: this.subscription(subscriptionId) };
    this.sendLoose(type, id, DODO_NOISE[type]!(around));
  }

  /** The order of the payment and the activation is not documented. A trial is charged at its end. */
  private settleCheckout(checkoutId: string, id: string, firstPayment: 'paid' | 'incomplete'): string | null {
    const payment = { checkout_session_id: checkoutId };
    if (firstPayment === 'incomplete') return this.pay(id, 'processing', payment);
    if (this.subscription(id).trial_period_days > 0) {
      this.change(id, { status: 'active' }, ['active']);
      return null;
    }
    const paid = this.chance.chance(0.5) ? this.pay(id, 'succeeded', payment) : undefined;
    // Documented: every charge also sends a renewal, including the first.
    this.change(id, { status: 'active' }, ['active', 'renewed']);
    return paid ?? this.pay(id, 'succeeded', payment);
  }

  private begin(
    { product_id: productId, quantity, metadata }: Pick<DodoCheckout, 'product_id' | 'quantity' | 'metadata'>,
    customer: DodoPayments.Customer,
  ) {
    const { price, interval, trialDays, term } = this.product(productId);
    const [id, start] = [this.chance.id('sub'), this.stamp()];
    const trialEnd = dodoTime(start + trialDays * MICROS_A_DAY);
    const subscription = dodoSubscription({
      subscription_id: id,
      status: 'pending',
      customer: dodoCustomerDetails(customer),
      product_id: productId,
      quantity,
      recurring_pre_tax_amount: price * quantity,
      created_at: dodoTime(start),
      ...(trialDays > 0 ? { previous_billing_date: dodoTime(start), next_billing_date: trialEnd } : this.beginPeriod(id, start, interval)),
      expires_at: dodoTime(addInterval(start, plain(term.interval), term.count)),
      trial_period_days: trialDays,
      payment_frequency_interval: interval,
      subscription_period_count: term.count,
      subscription_period_interval: term.interval,
      payment_method_id: this.chance.id('pm'),
      metadata,
    });
    this.keep(this.subscriptions, id, subscription);
    return id;
  }

  private schedule(id: string, plan: { product_id: string; quantity: number }): void {
    const born = { id: this.chance.id('spc'), created_at: this.stampText(), effective_at: this.subscription(id).next_billing_date };
    this.change(id, { scheduled_change: { ...born, ...plan, addons: [] } }, []);
  }

  private customerWith(email: string | null): DodoPayments.Customer | undefined {
    return [...this.customers.values()].findLast((one) => one.email === email);
  }
}
