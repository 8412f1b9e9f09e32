import type { models } from '@polar-sh/sdk/2026-10';
import { polarCheckout } from '../support/billing/polar-checkouts.js';
import { polarCustomer, polarPrice, polarProduct } from '../support/billing/polar-events.js';
import { POLAR_NOISE } from '../support/billing/polar-noise.js';
import { PolarBilling } from './polar-billing.js';
import type { Card } from './provider-account.js';
import { addInterval, type Interval, microsAt, polarTime } from './virtual-time.js';

export interface ProductGiven {
  name?: string;
  /** In cents, for one seat if the product is sold by seat. */
  amount?: number;
  interval?: Interval;
  trialDays?: number;
  perSeat?: boolean;
}

export interface PolarCustomerGiven {
  email?: string;
  name?: string;
  externalId?: string | null;
  metadata?: models.MetadataOutputType;
  card?: Card;
}

export interface CheckoutGiven {
  productId: string;
  customerId?: string;
  /** A new customer is created when the checkout succeeds. */
  externalCustomerId?: string;
  email?: string;
  metadata?: models.MetadataOutputType;
  seats?: number | null;
  successUrl?: string;
}

/** The outcome of the first payment; with `incomplete`, `settleFirstPayment` decides later. */
export type FirstPayment = 'paid' | 'incomplete';

/**
 * A Polar account with the actions of merchant, customers and time (`tick`). It hardly validates: the caller asks only for possible
 * actions. Every action first runs the due changes.
 */
export class PolarAccount extends PolarBilling {
  createProduct({ name = 'Pro', amount = 1000, interval = 'month', trialDays, perSeat = false }: ProductGiven = {}): models.Product {
    this.tick();
    const [id, createdAt] = [this.chance.uuid(), this.stampText()];
    const product = polarProduct({
      id,
      name,
      created_at: createdAt,
      recurring_interval: interval,
      prices: [polarPrice({ id: this.chance.uuid(), productId: id, amount, perSeat, interval, createdAt })],
      ...(trialDays !== undefined && { trial_interval: 'day', trial_interval_count: trialDays }),
    });
    this.products.set(id, product);
    this.send('product.created', id, product);
    return product;
  }

  createCustomer({ card, externalId = null, ...given }: PolarCustomerGiven = {}): models.CustomerIndividual {
    this.tick();
    const id = this.chance.uuid();
    const email = given.email ?? `${id}@example.com`;
    const customer = polarCustomer({ id, created_at: this.stampText(), external_id: externalId, ...given, email });
    this.customers.set(id, customer);
    if (card !== undefined) this.setCard(id, card);
    this.sendCustomer(id, 'created');
    return customer;
  }

  updateCustomer(id: string, changes: Partial<Pick<models.CustomerIndividual, 'email' | 'name' | 'metadata' | 'external_id'>>): void {
    this.tick();
    this.customers.set(id, { ...this.customer(id), ...changes, modified_at: this.stampText() });
    this.sendCustomer(id, 'updated');
  }

  /** Ends the customer's subscriptions; the external id stays. */
  deleteCustomer(id: string, { anonymize = false } = {}): void {
    this.tick();
    const deletedAt = this.stampText();
    const gone = { deleted_at: deletedAt, modified_at: deletedAt };
    const nobody = { email: `${id}@deleted.example.com`, name: 'deleted', email_verified: false };
    this.customers.set(id, { ...this.customer(id), ...gone, ...(anonymize && nobody) });
    this.sendCustomer(id, 'deleted');
    for (const { id: subscriptionId, customer_id: owner, status } of this.listSubscriptions()) {
      if (owner === id && ['active', 'trialing', 'past_due'].includes(status)) this.cancel(subscriptionId, { when: 'now' });
    }
  }

  openCheckout({ productId, customerId, externalCustomerId, ...given }: CheckoutGiven): models.Checkout {
    this.tick();
    const customer = this.liveCustomer(customerId, externalCustomerId);
    const checkout = polarCheckout(
      {
        id: this.chance.uuid(),
        created_at: this.stampText(),
        customer_id: customer?.id ?? null,
        customer_email: customer?.email ?? given.email ?? null,
        external_customer_id: customer?.external_id ?? externalCustomerId ?? null,
        metadata: given.metadata ?? {},
        seats: given.seats ?? null,
        ...(given.successUrl !== undefined && { success_url: given.successUrl }),
      },
      this.product(productId),
    );
    this.checkouts.set(checkout.id, checkout);
    this.send('checkout.created', checkout.id, checkout);
    return checkout;
  }

  /** The customer pays, which creates a subscription and its first order. */
  completeCheckout(id: string, { firstPayment = 'paid' }: { firstPayment?: FirstPayment } = {}): models.Subscription {
    this.tick();
    this.changeCheckout(id, { status: 'confirmed' });
    const checkout = this.checkouts.get(id)!;
    const customer = this.customerOf(checkout);
    const subscriptionId = this.begin(checkout, customer, firstPayment);
    this.changeCheckout(id, { status: 'succeeded', customer_id: customer, subscription_id: subscriptionId });
    return this.subscription(subscriptionId);
  }

  /** Opens and completes a checkout. */
  subscribe({ firstPayment, ...checkout }: CheckoutGiven & { firstPayment?: FirstPayment }): models.Subscription {
    return this.completeCheckout(this.openCheckout(checkout).id, { firstPayment });
  }

  settleFirstPayment(id: string, outcome: 'paid' | 'failed'): void {
    this.tick();
    const { trial_end: trialEnd, amount } = this.subscription(id);
    if (outcome === 'failed') return this.change(id, { status: 'incomplete_expired' });
    this.change(id, { status: trialEnd === null ? 'active' : 'trialing' });
    this.collect(this.openOrder(id, 'subscription_create', trialEnd === null ? amount : 0));
  }

  cancel(id: string, { when = 'period end', reason = null }: Cancellation = {}): void {
    this.tick();
    const now = this.stampText();
    const cancellation = { canceled_at: now, pause_at_period_end: false, resumes_at: null, customer_cancellation_reason: reason };
    if (when === 'now') {
      this.change(id, { ...cancellation, status: 'canceled', ends_at: now, ended_at: now });
      this.voidOrders(id);
    } else this.change(id, { ...cancellation, cancel_at_period_end: true, ends_at: this.subscription(id).current_period_end });
  }

  uncancel(id: string): void {
    this.tick();
    this.change(id, { cancel_at_period_end: false, ends_at: null, canceled_at: null, customer_cancellation_reason: null });
  }

  /** Reactivates a revoked subscription on behalf of the merchant. */
  reinstate(id: string): void {
    this.tick();
    const { current_period_end: end, recurring_interval: interval } = this.subscription(id);
    const hasEnded = microsAt(end) <= this.stamp();
    this.change(id, {
      status: 'active',
      ...(hasEnded && { current_period_start: end, current_period_end: polarTime(addInterval(microsAt(end), interval, 1)) }),
      cancel_at_period_end: false,
      canceled_at: null,
      ends_at: null,
      ended_at: null,
      past_due_at: null,
      paused_at: null,
      resumes_at: null,
      customer_cancellation_reason: null,
      pending_update: null,
    });
  }

  /** Takes effect at the end of the period. */
  pause(id: string, { resumesAt }: { resumesAt?: Date } = {}): void {
    this.tick();
    this.change(id, { pause_at_period_end: true, resumes_at: resumesAt === undefined ? null : polarTime(resumesAt.getTime() * 1000) });
  }

  cancelPause(id: string): void {
    this.tick();
    this.change(id, { pause_at_period_end: false, resumes_at: null });
  }

  resume(id: string): void {
    this.tick();
    this.resumeNow(id);
  }

  changeProduct(id: string, productId: string, { when = 'now' }: { when?: When } = {}): void {
    this.tick();
    if (when === 'period end') this.plan(id, { product_id: productId });
    else this.switchProduct(id, productId);
  }

  changeSeats(id: string, seats: number, { when = 'now' }: { when?: When } = {}): void {
    this.tick();
    if (when === 'period end') this.plan(id, { seats });
    else this.change(id, { seats, amount: this.amountOf(this.subscription(id).product_id, seats) });
  }

  updateMetadata(id: string, metadata: models.MetadataOutputType): void {
    this.tick();
    this.change(id, { metadata });
  }

  /** The customer pays the open order. */
  payPending(id: string): void {
    this.tick();
    for (const order of this.listOrders()) if (order.subscription_id === id && order.status === 'pending') this.collect(order.id);
  }

  /** Sends an event that does not change a subscription. */
  makeNoise(subscriptionId: string, type = this.chance.pick(Object.keys(POLAR_NOISE))): void {
    this.tick();
    const around = { id: this.chance.uuid(), at: this.stampText(), subscription: this.subscription(subscriptionId) };
    const data = POLAR_NOISE[type]!(around);
    this.send(type, data.id, data);
  }

  private changeCheckout(id: string, changes: Partial<models.Checkout>): void {
    const checkout = { ...this.checkouts.get(id)!, ...changes, modified_at: this.stampText() };
    this.checkouts.set(id, checkout);
    this.send('checkout.updated', id, checkout);
  }

  /** A known address takes precedence over an unknown external id, which is then dropped (server/polar/checkout/service.py). */
  private customerOf({ customer_id: id, customer_email: email, external_customer_id: externalId }: models.Checkout): string {
    if (id !== null) return id;
    const namesake = [...this.customers.values()].find((one) => one.deleted_at === null && one.email === email);
    const found = namesake ?? this.liveCustomer(undefined, externalId);
    return found?.id ?? this.createCustomer({ externalId, ...(email !== null && { email }) }).id;
  }

  private liveCustomer(id: string | undefined, externalId: string | null | undefined): models.CustomerIndividual | undefined {
    const living = [...this.customers.values()].filter((one) => one.deleted_at === null);
    return living.find((one) => one.id === id || (externalId != null && one.external_id === externalId));
  }
}

export type When = 'now' | 'period end';

interface Cancellation {
  when?: When;
  reason?: models.CustomerCancellationReason | null;
}
