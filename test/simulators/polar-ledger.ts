import type { models } from '@polar-sh/sdk/2026-10';
import { polarCustomerState, polarEvent, polarOrder, polarSubscription } from '../support/billing/polar-events.js';
import { type Due, ProviderAccount } from './provider-account.js';
import { dateOf, type Micros, polarTime } from './virtual-time.js';

/** Without what is looked up whenever they are shown. */
export type SubscriptionFields = Omit<models.Subscription, 'customer' | 'product' | 'prices' | 'discount' | 'meters'>;
export type OrderFields = Omit<models.Order, 'customer' | 'product' | 'subscription' | 'discount'>;

const SECOND = 1_000_000;

export const isActive = (status: models.SubscriptionStatus) => status === 'active' || status === 'trialing';
const isRevoked = (status: models.SubscriptionStatus) => status === 'canceled' || status === 'unpaid';

/**
 * What Polar knows, and what it tells of each change. The sequences are those of its server
 * (polarsource/polar, server/polar/subscription/service.py, `_after_subscription_updated`).
 */
export abstract class PolarLedger extends ProviderAccount {
  readonly products = new Map<string, models.Product>();
  readonly customers = new Map<string, models.CustomerIndividual>();
  readonly checkouts = new Map<string, models.Checkout>();
  readonly refunds = new Map<string, models.Refund>();
  protected readonly subscriptions = new Map<string, SubscriptionFields>();
  protected readonly orders = new Map<string, OrderFields>();
  /** Whose state changed and has not been told of yet. */
  private readonly restless = new Map<string, { since: Micros; due: Micros }>();

  hasSubscription = (id: string) => this.subscriptions.has(id);

  /** As the API shows it now. */
  subscription(id: string): models.Subscription {
    const fields = this.subscriptionFields(id);
    return polarSubscription({ ...fields, customer: this.customer(fields.customer_id), product: this.product(fields.product_id) });
  }

  order(id: string): models.Order {
    const fields = known(this.orders, id);
    const { customer, product, subscription } = polarOrder({ id }, this.subscription(fields.subscription_id!));
    return { ...fields, customer, product, subscription, discount: null };
  }

  listSubscriptions(): models.Subscription[] {
    return [...this.subscriptions.keys()].map((id) => this.subscription(id));
  }

  listOrders(): models.Order[] {
    return [...this.orders.keys()].map((id) => this.order(id));
  }

  product = (id: string) => known(this.products, id);

  customer = (id: string) => known(this.customers, id);

  customerState(id: string): models.CustomerState {
    const own = [...this.subscriptions.values()].filter((one) => one.customer_id === id).map((one) => this.subscription(one.id));
    return polarCustomerState(this.customer(id), own);
  }

  protected dues(): Iterable<Due> {
    return [...this.restless].map(([id, { due }]) => ({ at: due, run: () => this.sendState(id) }));
  }

  protected subscriptionFields = (id: string) => known(this.subscriptions, id);

  protected stampText = () => polarTime(this.stamp());

  /** Rendered and stored when the event comes to be: every delivery carries the same. */
  protected send(type: string, objectId: string, data: object): void {
    const at = this.stamp();
    const body = JSON.stringify(polarEvent(type, data, { at: polarTime(at) }));
    this.events.push({ messageId: this.chance.uuid(), type, objectId, at: dateOf(at), body });
  }

  protected add(fields: SubscriptionFields): void {
    const { id, status } = fields;
    this.subscriptions.set(id, fields);
    this.sendSubscription(id, 'created');
    if (isActive(status)) this.sendSubscription(id, 'active');
    this.sendSubscription(id, 'updated');
    this.stir(fields.customer_id);
  }

  /** `first` is told of before anything else, with the new state. */
  protected change(id: string, changes: Partial<SubscriptionFields>, { first }: { first?: string } = {}): void {
    const before = this.subscriptionFields(id);
    const after = { ...before, ...changes, modified_at: this.stampText() };
    this.subscriptions.set(id, after);
    if (first !== undefined) this.sendSubscription(id, first);
    this.sendSubscription(id, 'updated');
    for (const what of becameOf(before, after)) this.sendSubscription(id, what);
    this.stir(after.customer_id);
  }

  protected changeOrder(id: string, changes: Partial<OrderFields>): void {
    this.orders.set(id, { ...known(this.orders, id), ...changes, modified_at: this.stampText() });
  }

  protected sendOrder(id: string, what: string): void {
    this.send(`order.${what}`, id, this.order(id));
  }

  protected sendCustomer(id: string, what: string): void {
    this.send(`customer.${what}`, id, this.customer(id));
    this.sendState(id);
  }

  /** The state is told of when nothing has changed for a second, after five seconds at the latest. */
  protected stir(customerId: string): void {
    const now = this.stamp();
    const since = this.restless.get(customerId)?.since ?? now;
    this.restless.set(customerId, { since, due: Math.min(now + SECOND, since + 5 * SECOND) });
  }

  private sendState(customerId: string): void {
    this.restless.delete(customerId);
    this.send('customer.state_changed', customerId, this.customerState(customerId));
  }

  private sendSubscription(id: string, what: string): void {
    this.send(`subscription.${what}`, id, this.subscription(id));
  }
}

/** What a change is told as, besides `updated`, in Polar's order. */
function becameOf(before: SubscriptionFields, after: SubscriptionFields): string[] {
  const wasCanceled = before.canceled_at !== null;
  const isCanceled = after.canceled_at !== null;
  const became = (status: models.SubscriptionStatus) => after.status === status && before.status !== status;
  const resumed = isActive(after.status) && before.status === 'paused';
  const activated = isActive(after.status) && !isActive(before.status) && !resumed;
  const reinstated = activated && before.status === 'canceled';
  const revoked = isRevoked(after.status) && !isRevoked(before.status);
  const all: [boolean, string][] = [
    [activated, 'active'],
    [became('paused'), 'paused'],
    [resumed, 'resumed'],
    [wasCanceled && !isCanceled && !reinstated, 'uncanceled'],
    [became('past_due'), 'past_due'],
    // A second time when what was canceled ends; the published sequences leave it out.
    [isCanceled && (!wasCanceled || revoked), 'canceled'],
    [revoked, 'revoked'],
  ];
  return all.filter(([did]) => did).map(([, what]) => what);
}

function known<T>(things: ReadonlyMap<string, T>, id: string): T {
  const thing = things.get(id);
  if (thing === undefined) throw new Error(`There is no ${id}`);
  return thing;
}
