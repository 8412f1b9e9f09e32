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
import { DAY_MS } from '../../platform/time/durations.js';

/* Dodo's objects, the same in webhooks and the API: https://docs.dodopayments.com/api-reference */

const NEVER = '-infinity';

export const dodoEnvelope = z.object({ type, timestamp: preciseMoment, data: z.unknown().optional() });

/** A time for an event without one of its own. */
export const dodoDatedObject = z.object({ created_at: preciseMoment });

/** An event with an unknown status is quarantined, and access stays as it was. */
const SUBSCRIPTION_STATUSES = {
  pending: 'incomplete',
  active: 'active',
  past_due: 'past_due',
  on_hold: 'unpaid',
  paused: 'paused',
  cancelled: 'canceled',
  failed: 'canceled',
  expired: 'canceled',
} as const satisfies Record<string, SubscriptionStatus>;

/** The statuses of a payment intent. */
const PAYMENT_STATUSES: Record<string, PaymentStatus> = {
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'canceled',
  processing: 'pending',
  requires_customer_action: 'pending',
  requires_merchant_action: 'pending',
  requires_payment_method: 'pending',
  requires_confirmation: 'pending',
  requires_capture: 'pending',
  partially_captured: 'pending',
  partially_captured_and_capturable: 'pending',
};

const REFUND_STATUSES: Record<string, PaymentStatus> = { succeeded: 'succeeded', failed: 'failed', pending: 'pending', review: 'pending' };

const DISPUTE_STATUSES: Record<string, PaymentStatus> = {
  dispute_opened: 'pending',
  dispute_challenged: 'pending',
  dispute_won: 'won',
  dispute_lost: 'lost',
  // Expired without a response, or accepted: either way the money is lost.
  dispute_expired: 'lost',
  dispute_accepted: 'lost',
  dispute_cancelled: 'canceled',
};

const customerObject = z.object({ customer_id: id, metadata });

const subscriptionObject = z.object({
  subscription_id: id,
  status: z.enum(Object.keys(SUBSCRIPTION_STATUSES) as (keyof typeof SUBSCRIPTION_STATUSES)[]),
  customer: customerObject,
  product_id: orNull(id),
  quantity: optionalCount,
  currency,
  recurring_pre_tax_amount: orNull(integer),
  created_at: optionalMoment,
  previous_billing_date: optionalMoment,
  next_billing_date: optionalMoment,
  cancel_at_next_billing_date: z.boolean().catch(false),
  cancelled_at: optionalMoment,
  expires_at: optionalMoment,
  past_due_ends_at: optionalMoment,
  trial_period_days: optionalCount,
  metadata,
});

const paymentObject = z.object({
  payment_id: id,
  status: shortText(),
  customer: customerObject,
  subscription_id: orNull(id),
  subscription_ids: orNull(z.array(id)),
  total_amount: orNull(integer),
  currency,
  created_at: optionalMoment,
  metadata,
});

const refundObject = z.object({
  refund_id: id,
  payment_id: orNull(id),
  status: shortText(),
  customer: customerObject,
  amount: orNull(integer),
  currency,
  created_at: optionalMoment,
});

/** Disputes have their amount as a string of digits. */
const digits = orNull(
  z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number),
);

const disputeObject = z.object({
  dispute_id: id,
  payment_id: orNull(id),
  dispute_status: shortText(),
  customer: customerObject,
  amount: digits,
  currency,
  created_at: optionalMoment,
});

/**
 * @param graceMs the grace period after a failed renewal if Dodo reports no end of it, as in its API
 * @param at the time of the event, ISO 8601
 * @throws {MalformedPayload}
 */
export function parseDodoSubscription(data: unknown, { at, graceMs }: { at: string; graceMs: number }): SubscriptionSnapshot {
  const subscription = parseObject(subscriptionObject, data);
  const { status, customer, created_at: createdAt, next_billing_date: periodEnd, trial_period_days: trialDays } = subscription;
  const { cancel_at_next_billing_date: cancelAtPeriodEnd, past_due_ends_at: pastDueEnd } = subscription;
  const { previous_billing_date: periodStart } = subscription;
  const isPastDue = status === 'past_due';
  const trialEnd = createdAt === null || !trialDays ? null : laterBy(createdAt, trialDays * DAY_MS);
  const trial = periodOf(createdAt, trialEnd);
  return {
    providerSubscriptionId: subscription.subscription_id,
    customer: toCustomerSnapshot(customer),
    ownerHints: { metadata: subscription.metadata, customerMetadata: customer.metadata },
    productId: subscription.product_id,
    status: SUBSCRIPTION_STATUSES[status],
    providerStatus: status,
    startedAt: createdAt ?? periodStart,
    currentPeriodStart: periodStart,
    currentPeriodEnd: periodEnd,
    cancelAtPeriodEnd,
    canceledAt: subscription.cancelled_at,
    endsAt: (cancelAtPeriodEnd ? periodEnd : null) ?? subscription.expires_at,
    endedAt: SUBSCRIPTION_STATUSES[status] === 'canceled' ? subscription.cancelled_at : null,
    trialEnd,
    ...(trial !== undefined && periodStart !== null && trial.end <= periodStart && { pastTrial: trial }),
    pastDueUntil: isPastDue ? (pastDueEnd ?? laterBy(periodEnd ?? toDate(at), graceMs)) : null,
    isGraceEstimated: isPastDue && pastDueEnd === null,
    seats: subscription.quantity,
    amount: subscription.recurring_pre_tax_amount,
    currency: subscription.currency,
  };
}

/** @throws {MalformedPayload} */
export function parseDodoPayment(data: unknown, at: string): PaymentSnapshot {
  const payment = parseObject(paymentObject, data);
  const { customer, status } = payment;
  return {
    kind: 'payment',
    providerPaymentId: payment.payment_id,
    customer: toCustomerSnapshot(customer),
    ownerHints: { metadata: payment.metadata, customerMetadata: customer.metadata },
    // A payment for several subscriptions is shown with the first.
    providerSubscriptionId: payment.subscription_id ?? payment.subscription_ids?.[0] ?? null,
    ofProviderPaymentId: null,
    amount: payment.total_amount,
    currency: payment.currency,
    status: PAYMENT_STATUSES[status ?? ''] ?? 'unknown',
    providerStatus: status,
    occurredAt: payment.created_at ?? toDate(at),
  };
}

/** @throws {MalformedPayload} */
export function parseDodoRefund(data: unknown, at: string): PaymentSnapshot {
  const { refund_id: providerPaymentId, status, ...refund } = parseObject(refundObject, data);
  return {
    kind: 'refund',
    providerPaymentId,
    status: REFUND_STATUSES[status ?? ''] ?? 'unknown',
    providerStatus: status,
    ...aboutPayment(refund, at),
  };
}

/** @throws {MalformedPayload} */
export function parseDodoDispute(data: unknown, at: string): PaymentSnapshot {
  const { dispute_id: providerPaymentId, dispute_status: status, ...dispute } = parseObject(disputeObject, data);
  return {
    kind: 'dispute',
    providerPaymentId,
    status: DISPUTE_STATUSES[status ?? ''] ?? 'unknown',
    providerStatus: status,
    ...aboutPayment(dispute, at),
  };
}

type AboutPayment = Pick<z.infer<typeof refundObject>, 'customer' | 'payment_id' | 'amount' | 'currency' | 'created_at'>;

function aboutPayment(
  { customer, payment_id: ofProviderPaymentId, amount, currency: unit, created_at: createdAt }: AboutPayment,
  at: string,
) {
  return {
    customer: toCustomerSnapshot(customer),
    ownerHints: {},
    providerSubscriptionId: null,
    ofProviderPaymentId,
    amount,
    currency: unit,
    occurredAt: createdAt ?? toDate(at),
  };
}

function toCustomerSnapshot({
  customer_id: providerCustomerId,
  metadata: customerMetadata,
}: z.infer<typeof customerObject>): CustomerSnapshot {
  // Missing metadata means unknown, not empty.
  const ownerHints = customerMetadata === null ? null : { customerMetadata: customerMetadata };
  return { provider: 'dodo', providerCustomerId, ownerHints, modifiedAt: NEVER, isDeleted: false };
}

function toDate(at: string): Date {
  return at === NEVER ? new Date(0) : new Date(at);
}
