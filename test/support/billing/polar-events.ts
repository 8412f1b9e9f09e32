import { randomUUID } from 'node:crypto';
import type { models } from '@polar-sh/sdk/2026-10';
import { addInterval, microsAt, microsOf, polarTime } from '../../simulators/virtual-time.js';

/** The envelope of every Polar event. */
export interface PolarEvent {
  type: string;
  timestamp: string;
  api_version: string;
  data: object;
}

export const POLAR_ORGANIZATION_ID = '1f0a3c52-6f1d-4f0e-9a67-0c5b8d2e4a31';

const ADDRESS: models.Address = {
  line1: '1 Sample Street',
  line2: null,
  postal_code: '12345',
  city: 'Sampletown',
  state: 'US-NY',
  country: 'US',
};

const now = () => polarTime(microsOf(new Date()));

const born = (createdAt = now()) => ({ created_at: createdAt, modified_at: null });

export function polarCustomer(given: Partial<models.CustomerIndividual> = {}): models.CustomerIndividual {
  const id = given.id ?? randomUUID();
  return {
    id,
    ...born(given.created_at),
    metadata: {},
    external_id: null,
    email: `${id}@example.com`,
    email_verified: false,
    type: 'individual',
    name: 'A Customer',
    billing_name: 'A Customer',
    billing_address: ADDRESS,
    tax_id: null,
    locale: 'en',
    organization_id: POLAR_ORGANIZATION_ID,
    default_payment_method_id: null,
    deleted_at: null,
    first_user_event_at: null,
    avatar_url: 'https://www.gravatar.com/avatar/nobody?d=404',
    ...given,
  };
}

export interface PriceGiven {
  id?: string;
  productId?: string;
  amount?: number;
  perSeat?: boolean;
  interval?: models.RecurringInterval;
  createdAt?: string;
}

export function polarPrice({ id = randomUUID(), amount = 1000, perSeat = false, ...given }: PriceGiven = {}): models.ProductPrice {
  // Still sent, but no longer in the SDK's types.
  const legacy = { type: 'recurring', recurring_interval: given.interval ?? 'month' };
  const price = {
    ...born(given.createdAt),
    id,
    source: 'catalog' as const,
    price_currency: 'usd',
    tax_behavior: 'exclusive' as const,
    is_archived: false,
    product_id: given.productId ?? randomUUID(),
    ...legacy,
  };
  if (!perSeat) return { ...price, amount_type: 'fixed', price_amount: amount };
  const tiers = [{ min_seats: 1, max_seats: null, price_per_seat: amount }];
  return { ...price, amount_type: 'seat_based', seat_tiers: { tiers, minimum_seats: 1, maximum_seats: null } };
}

export function polarProduct(given: Partial<models.Product> = {}): models.Product {
  const id = given.id ?? randomUUID();
  return {
    id,
    ...born(given.created_at),
    trial_interval: null,
    trial_interval_count: null,
    name: 'Pro',
    description: null,
    visibility: 'public',
    recurring_interval: 'month',
    recurring_interval_count: 1,
    meter_interval: null,
    meter_interval_count: null,
    is_recurring: true,
    is_archived: false,
    is_deletable: false,
    organization_id: POLAR_ORGANIZATION_ID,
    metadata: {},
    prices: [polarPrice({ productId: id, createdAt: given.created_at, interval: given.recurring_interval ?? 'month' })],
    benefits: [],
    medias: [],
    attached_custom_fields: [],
    ...given,
  };
}

/** Active for a month from now by default; the customer and the product determine their ids. */
export function polarSubscription(given: Partial<models.Subscription> = {}): models.Subscription {
  const createdAt = given.created_at ?? now();
  const customer = given.customer ?? polarCustomer({ created_at: createdAt, ...(given.customer_id && { id: given.customer_id }) });
  const product = given.product ?? polarProduct({ created_at: createdAt, ...(given.product_id && { id: given.product_id }) });
  const start = given.current_period_start ?? createdAt;
  const [price] = product.prices;
  // Deprecated and no longer in the SDK's types, but still sent.
  const legacy = {
    price_id: price?.id,
    price,
    user_id: customer.id,
    user: { id: customer.id, email: customer.email, public_name: customer.name ?? '', avatar_url: null, github_username: null },
  };
  return {
    ...born(createdAt),
    id: randomUUID(),
    amount: price !== undefined && 'price_amount' in price ? price.price_amount : 1000,
    currency: 'usd',
    recurring_interval: product.recurring_interval ?? 'month',
    recurring_interval_count: 1,
    status: 'active',
    current_period_start: start,
    current_period_end: inAMonth(start),
    current_meter_period_start: null,
    current_meter_period_end: null,
    trial_start: null,
    trial_end: null,
    cancel_at_period_end: false,
    canceled_at: null,
    started_at: start,
    ends_at: null,
    ended_at: null,
    past_due_at: null,
    pause_at_period_end: false,
    paused_at: null,
    resumes_at: null,
    customer_id: customer.id,
    product_id: product.id,
    discount_id: null,
    checkout_id: null,
    seats: null,
    units: null,
    customer_cancellation_reason: null,
    customer_cancellation_comment: null,
    metadata: {},
    custom_field_data: {},
    customer,
    product,
    discount: null,
    prices: product.prices,
    meters: [],
    pending_update: null,
    ...legacy,
    ...given,
  };
}

const LEGACY_KEYS = ['price_id', 'price', 'user'] as never[];
const NOT_IN_ORDERS = [
  ...(['customer', 'product', 'prices', 'discount', 'meters', 'pending_update', 'custom_field_data'] as const),
  ...LEGACY_KEYS,
];

/** A paid first order; the subscription determines its owner and product. */
export function polarOrder(given: Partial<models.Order> = {}, subscription = polarSubscription()): models.Order {
  const createdAt = given.created_at ?? now();
  const { customer, product, prices } = subscription;
  const amount = given.subtotal_amount ?? subscription.amount;
  const status = given.status ?? 'paid';
  // No longer in the SDK's types.
  const stillSent = { product_price_id: prices[0]?.id ?? null };
  return {
    id: randomUUID(),
    ...born(createdAt),
    status,
    paid: !['draft', 'pending', 'void'].includes(status),
    subtotal_amount: amount,
    discount_amount: 0,
    net_amount: amount,
    tax_amount: 0,
    total_amount: amount,
    applied_balance_amount: 0,
    due_amount: amount,
    refunded_amount: 0,
    refunded_tax_amount: 0,
    currency: 'usd',
    billing_reason: 'subscription_create',
    billing_name: customer.name,
    billing_address: customer.billing_address,
    invoice_number: 'SAMPLE-0001',
    is_invoice_generated: false,
    receipt_number: null,
    seats: subscription.seats,
    units: null,
    customer_id: customer.id,
    product_id: product.id,
    discount_id: null,
    subscription_id: subscription.id,
    checkout_id: subscription.checkout_id,
    next_payment_attempt_at: null,
    metadata: subscription.metadata,
    custom_field_data: {},
    platform_fee_amount: 0,
    platform_fee_currency: 'usd',
    customer,
    product: without(product, ['prices', 'benefits', 'medias', 'attached_custom_fields', 'is_deletable']),
    discount: null,
    subscription: without(subscription, NOT_IN_ORDERS),
    items: [
      {
        ...born(createdAt),
        id: given.id ?? randomUUID(),
        label: product.name,
        amount,
        tax_amount: 0,
        proration: false,
        product_price_id: prices[0]?.id ?? null,
        start_timestamp: subscription.current_period_start,
        end_timestamp: subscription.current_period_end,
      },
    ],
    description: product.name,
    refundable_amount: amount - (given.refunded_amount ?? 0),
    refundable_tax_amount: 0,
    ...stillSent,
    ...given,
  };
}

export function polarRefund(given: Partial<models.Refund> = {}, order = polarOrder()): models.Refund {
  return {
    id: randomUUID(),
    ...born(given.created_at),
    metadata: {},
    status: 'succeeded',
    reason: 'customer_request',
    amount: order.refundable_amount,
    tax_amount: 0,
    currency: order.currency,
    organization_id: POLAR_ORGANIZATION_ID,
    order_id: order.id,
    subscription_id: order.subscription_id,
    customer_id: order.customer_id,
    revoke_benefits: false,
    dispute: null,
    ...given,
  };
}

/** The customer with the current subscriptions. */
export function polarCustomerState(customer: models.Customer, subscriptions: models.Subscription[] = []): models.CustomerState {
  const active = subscriptions
    .filter(({ status }) => status === 'active' || status === 'trialing')
    .map(({ customer: _customer, product: _product, discount: _discount, prices: _prices, pending_update: _pending, ...rest }) => ({
      ...rest,
      seats: rest.seats ?? null,
      // The SDK's type has a benefit's status here, but Polar sends the subscription's status.
      status: rest.status as never,
      meters: [],
    }));
  return { ...customer, active_subscriptions: active, granted_benefits: [], active_meters: [] };
}

/** `api_version` is the endpoint's; older servers send none. */
export function polarEvent(type: string, data: object, { at = now() }: { at?: string } = {}): PolarEvent {
  return { type, timestamp: at, api_version: '2026-10', data };
}

function without<T extends object, Key extends keyof T>(all: T, keys: readonly Key[]): Omit<T, Key> {
  return Object.fromEntries(Object.entries(all).filter(([key]) => !keys.includes(key as Key))) as Omit<T, Key>;
}

const inAMonth = (time: string) => polarTime(addInterval(microsAt(time), 'month', 1));
