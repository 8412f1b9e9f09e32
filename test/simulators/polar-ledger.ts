import type { models } from '@polar-sh/sdk/2026-10';
import { polarCustomerState, polarEvent, polarOrder, polarSubscription } from '../support/billing/polar-events.js';
import { type Due, ProviderAccount } from './provider-account.js';
import { dateOf, type Micros, polarTime } from './virtual-time.js';

/** Without the objects that are added when a subscription is rendered. */
export type SubscriptionFields = Omit<models.Subscription, 'customer' | 'product' | 'prices' | 'discount' | 'meters'>;
export type OrderFields = Omit<models.Order, 'customer' | 'product' | 'subscription' | 'discount'>;

const SECOND = 1_000_000;

export const isActive = (status: models.SubscriptionStatus) => status === 'active' || status === 'trialing';
const isRevoked = (status: models.SubscriptionStatus) => status === 'canceled' || status === 'unpaid';

/**
 * Polar's state, and the events about its changes, in the order of Polar's server (polarsource/polar, server/polar/subscription/service.py,
 * `_after_subscription_updated`).
 */
export abstract class PolarLedger extends ProviderAccount {
  readonly products = new Map<string, models.Product>();
  readonly customers = new Map<string, models.CustomerIndividual>();
  readonly checkouts = new Map<string, models.Checkout>();
  readonly refunds = new Map<string, models.Refund>();
  protected readonly subscriptions = new Map<string, SubscriptionFields>();
  protected readonly orders = new Map<string, OrderFields>();
  /** Customers with a changed state that was not sent yet. */
  private readonly pendingStates = new Map<string, { since: Micros; due: Micros }>();

  hasSubscription = (id: string) => this.subscriptions.has(id);

  /** A subscription as the API returns it now. */
  subscription(id: string): models.Subscription {
    const fields = this.subscriptionFields(id);
    return polarSubscription({ ...fields, customer: this.customer(fields.customer_id), product: this.product(fields.product_id) });
  }

  order(id: string): models.Order {
    const fields = get(this.orders, id);
    const { customer, product, subscription } = polarOrder({ id }, this.subscription(fields.subscription_id!));
    return { ...fields, customer, product, subscription, discount: null };
  }

  listSubscriptions(): models.Subscription[] {
    return [...this.subscriptions.keys()].map((id) => this.subscription(id));
  }

  listOrders(): models.Order[] {
    return [...this.orders.keys()].map((id) => this.order(id));
  }

  product = (id: string) => get(this.products, id);

  customer = (id: string) => get(this.customers, id);

  customerState(id: string): models.CustomerState {
    const own = [...this.subscriptions.values()].filter((one) => one.customer_id === id).map((one) => this.subscription(one.id));
    return polarCustomerState(this.customer(id), own);
  }

  protected dues(): Iterable<Due> {
    return [...this.pendingStates].map(([id, { due }]) => ({ at: due, run: () => this.sendState(id) }));
  }

  protected subscriptionFields = (id: string) => get(this.subscriptions, id);

  protected stampText = () => polarTime(this.stamp());

  /** Renders and stores the event once; every delivery has the same body. */
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
    this.scheduleState(fields.customer_id);
  }

  /** `first` is an event that is sent before the others, with the new state. */
  protected change(id: string, changes: Partial<SubscriptionFields>, { first }: { first?: string } = {}): void {
    const before = this.subscriptionFields(id);
    const after = { ...before, ...changes, modified_at: this.stampText() };
    this.subscriptions.set(id, after);
    if (first !== undefined) this.sendSubscription(id, first);
    this.sendSubscription(id, 'updated');
    for (const what of eventsOfChange(before, after)) this.sendSubscription(id, what);
    this.scheduleState(after.customer_id);
  }

  protected changeOrder(id: string, changes: Partial<OrderFields>): void {
    this.orders.set(id, { ...get(this.orders, id), ...changes, modified_at: this.stampText() });
  }

  protected sendOrder(id: string, what: string): void {
    this.send(`order.${what}`, id, this.order(id));
  }

  protected sendCustomer(id: string, what: string): void {
    this.send(`customer.${what}`, id, this.customer(id));
    this.sendState(id);
  }

  /** The state is sent after a second without changes, or after five seconds. */
  protected scheduleState(customerId: string): void {
    const now = this.stamp();
    const since = this.pendingStates.get(customerId)?.since ?? now;
    this.pendingStates.set(customerId, { since, due: Math.min(now + SECOND, since + 5 * SECOND) });
  }

  private sendState(customerId: string): void {
    this.pendingStates.delete(customerId);
    this.send('customer.state_changed', customerId, this.customerState(customerId));
  }

  private sendSubscription(id: string, what: string): void {
    this.send(`subscription.${what}`, id, this.subscription(id));
  }
}

/** The additional events of a change besides `updated`, in Polar's order. */
function eventsOfChange(before: SubscriptionFields, after: SubscriptionFields): string[] {
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
    // Sent again when a canceled subscription ends; the published sequences omit this.
    [isCanceled && (!wasCanceled || revoked), 'canceled'],
    [revoked, 'revoked'],
  ];
  return all.filter(([did]) => did).map(([, what]) => what);
}

function get<T>(map: ReadonlyMap<string, T>, id: string): T {
  const object = map.get(id);
  if (object === undefined) throw new Error(`There is no ${id}`);
  return object;
}
