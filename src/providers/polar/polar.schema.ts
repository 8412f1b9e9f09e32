import { z } from 'zod';
import { laterBy } from '../../platform/time/moments.js';
import {
  type CustomerSnapshot,
  type PaymentSnapshot,
  periodOf,
  type SubscriptionSnapshot,
} from '../../subscriptions/sync/billing-provider.port.js';
import type { PaymentStatus } from '../../subscriptions/payments/payments.table.js';
import type { SubscriptionStatus } from '../../subscriptions/subscriptions.table.js';
import {
  optionalCount,
  currency,
  id,
  metadata,
  optionalMoment,
  orNull,
  preciseMoment,
  parseObject,
  shortText,
  type,
  integer,
} from '../fields.schema.js';

/* Polar's objects, the same in webhooks and the API: https://polar.sh/docs/api-reference */

const NEVER = '-infinity';

export const polarEnvelope = z.object({ type, timestamp: preciseMoment, data: z.unknown().optional() });

/** Times for an event without one of its own. */
export const polarDatedObject = z.object({ created_at: preciseMoment, modified_at: preciseMoment });

/** An event with an unknown status is quarantined, and access stays as it was. */
const SUBSCRIPTION_STATUSES = {
  incomplete: 'incomplete',
  incomplete_expired: 'canceled',
  trialing: 'trialing',
  active: 'active',
  past_due: 'past_due',
  paused: 'paused',
  unpaid: 'unpaid',
  canceled: 'canceled',
} as const satisfies Record<string, SubscriptionStatus>;

const ORDER_STATUSES: Record<string, PaymentStatus> = {
  draft: 'pending',
  pending: 'pending',
  paid: 'succeeded',
  refunded: 'refunded',
  partially_refunded: 'partially_refunded',
  void: 'canceled',
};

const REFUND_STATUSES: Record<string, PaymentStatus> = {
  pending: 'pending',
  succeeded: 'succeeded',
  failed: 'failed',
  canceled: 'canceled',
};

const customerObject = z.object({ id, external_id: orNull(id), metadata, modified_at: preciseMoment, deleted_at: preciseMoment });

const nestedCustomer = orNull(customerObject);
const nestedProduct = orNull(z.object({ id }));

const subscriptionObject = z.object({
  id,
  created_at: optionalMoment,
  modified_at: preciseMoment,
  status: z.enum(Object.keys(SUBSCRIPTION_STATUSES) as (keyof typeof SUBSCRIPTION_STATUSES)[]),
  amount: orNull(integer),
  currency,
  current_period_start: optionalMoment,
  current_period_end: optionalMoment,
  trial_start: optionalMoment,
  trial_end: optionalMoment,
  cancel_at_period_end: z.boolean().catch(false),
  canceled_at: optionalMoment,
  started_at: optionalMoment,
  ends_at: optionalMoment,
  ended_at: optionalMoment,
  past_due_at: optionalMoment,
  customer_id: orNull(id),
  product_id: orNull(id),
  seats: optionalCount,
  metadata,
  customer: nestedCustomer,
  product: nestedProduct,
});

const orderObject = z.object({
  id,
  created_at: optionalMoment,
  status: shortText(),
  total_amount: orNull(integer),
  currency,
  subscription_id: orNull(id),
  customer_id: orNull(id),
  metadata,
  customer: nestedCustomer,
});

const refundObject = z.object({
  id,
  created_at: optionalMoment,
  status: shortText(),
  amount: orNull(integer),
  currency,
  order_id: orNull(id),
  subscription_id: orNull(id),
  customer_id: orNull(id),
});

/** For an object without its customer. */
const referenceObject = z.object({ customer_id: id });

/**
 * @param graceMs the grace period after a failed renewal, of which Polar reports the start only
 * @param at the time of the event, ISO 8601
 * @throws {MalformedPayload}
 */
export function parsePolarSubscription(data: unknown, { at, graceMs }: { at: string; graceMs: number }): SubscriptionSnapshot {
  const subscription = parseObject(subscriptionObject, data);
  const { status } = subscription;
  const pastDueAt = subscription.past_due_at ?? subscription.current_period_start ?? toDate(at);
  return {
    providerSubscriptionId: subscription.id,
    ...customerAndHints(data, subscription),
    productId: subscription.product_id ?? subscription.product?.id ?? null,
    status: SUBSCRIPTION_STATUSES[status],
    providerStatus: status,
    startedAt: subscription.started_at ?? subscription.current_period_start ?? subscription.created_at,
    currentPeriodStart: subscription.current_period_start,
    currentPeriodEnd: subscription.current_period_end,
    cancelAtPeriodEnd: subscription.cancel_at_period_end,
    canceledAt: subscription.canceled_at,
    endsAt: subscription.ends_at,
    endedAt: subscription.ended_at,
    trialEnd: subscription.trial_end,
    ...pastTrial(subscription),
    pastDueUntil: status === 'past_due' ? laterBy(pastDueAt, graceMs) : null,
    seats: subscription.seats,
    amount: subscription.amount,
    currency: subscription.currency,
  };
}

function pastTrial({
  trial_start: trialStart,
  trial_end: trialEnd,
  started_at: startedAt,
  current_period_start: periodStart,
}: z.infer<typeof subscriptionObject>): Pick<SubscriptionSnapshot, 'pastTrial'> {
  const trial = periodOf(trialStart ?? startedAt, trialEnd);
  return trial !== undefined && periodStart !== null && trial.end <= periodStart ? { pastTrial: trial } : {};
}

/** @throws {MalformedPayload} */
export function parsePolarCustomer(data: unknown): CustomerSnapshot {
  return toCustomerSnapshot(parseObject(customerObject, data));
}

function toCustomerSnapshot(customer: z.infer<typeof customerObject>): CustomerSnapshot {
  return {
    provider: 'polar',
    providerCustomerId: customer.id,
    ownerHints: { externalId: customer.external_id, customerMetadata: customer.metadata },
    modifiedAt: customer.modified_at ?? NEVER,
    isDeleted: customer.deleted_at !== null,
  };
}

/** @throws {MalformedPayload} */
export function parsePolarOrder(data: unknown, at: string): PaymentSnapshot {
  const order = parseObject(orderObject, data);
  const { status } = order;
  return {
    kind: 'payment',
    providerPaymentId: order.id,
    ...customerAndHints(data, order),
    providerSubscriptionId: order.subscription_id,
    ofProviderPaymentId: null,
    amount: order.total_amount,
    currency: order.currency,
    status: ORDER_STATUSES[status ?? ''] ?? 'unknown',
    providerStatus: status,
    occurredAt: order.created_at ?? toDate(at),
  };
}

/** @throws {MalformedPayload} */
export function parsePolarRefund(data: unknown, at: string): PaymentSnapshot {
  const refund = parseObject(refundObject, data);
  const { status } = refund;
  return {
    kind: 'refund',
    providerPaymentId: refund.id,
    ...customerAndHints(data, refund),
    providerSubscriptionId: refund.subscription_id,
    ofProviderPaymentId: refund.order_id,
    amount: refund.amount,
    currency: refund.currency,
    status: REFUND_STATUSES[status ?? ''] ?? 'unknown',
    providerStatus: status,
    occurredAt: refund.created_at ?? toDate(at),
  };
}

interface Reference {
  customer_id: string | null;
  customer?: z.infer<typeof nestedCustomer>;
  metadata?: z.infer<typeof metadata>;
}

/** The customer and the owner hints. An embedded customer with another id is ignored. @throws {MalformedPayload} */
function customerAndHints(data: unknown, { customer_id: customerId, customer, metadata: ownMetadata }: Reference) {
  const isPayer = customer != null && (customerId === null || customer.id === customerId);
  if (isPayer) {
    const snapshot = toCustomerSnapshot(customer);
    return { customer: snapshot, ownerHints: { metadata: ownMetadata, ...snapshot.ownerHints } };
  }
  const { customer_id: providerCustomerId } = parseObject(referenceObject, data);
  return {
    customer: { provider: 'polar' as const, providerCustomerId, ownerHints: null, modifiedAt: NEVER, isDeleted: false },
    ownerHints: { metadata: ownMetadata },
  };
}

function toDate(at: string): Date {
  return at === NEVER ? new Date(0) : new Date(at);
}
