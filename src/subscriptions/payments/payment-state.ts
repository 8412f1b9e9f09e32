import { type SQL, sql } from 'drizzle-orm';
import { PAYMENT_STATUSES, payments } from './payments.table.js';

/** The status of a payment, with its refunds and disputes taken into account. */
export const PAYMENT_STATES = [...PAYMENT_STATUSES, 'disputed', 'dispute_lost'] as const;
export type PaymentState = (typeof PAYMENT_STATES)[number];

export const isPaid: SQL = sql`${payments.kind} = 'payment' AND ${payments.status} IN ('succeeded', 'partially_refunded', 'refunded')`;

/**
 * The state of a payment, computed from its row and its refunds and disputes. It is never stored, so that the order of
 * events does not matter (docs/decisions/0058).
 */
export const paymentState: SQL<PaymentState> = sql`CASE WHEN ${isPaid} THEN (
  SELECT CASE
      WHEN bool_or(about.kind = 'dispute' AND about.status = 'lost') THEN 'dispute_lost'
      WHEN bool_or(about.kind = 'dispute' AND about.status = 'pending') THEN 'disputed'
      WHEN ${payments.status} = 'refunded' THEN 'refunded'
      WHEN ${payments.amount} > 0 AND ${payments.amount} <= sum(about.amount) FILTER (
        WHERE about.kind = 'refund' AND about.status = 'succeeded' AND about.currency IS NOT DISTINCT FROM ${payments.currency}) THEN 'refunded'
      WHEN ${payments.status} = 'partially_refunded' OR bool_or(about.kind = 'refund' AND about.status = 'succeeded') THEN 'partially_refunded'
      ELSE 'succeeded'
    END
    FROM ${payments} about
   WHERE about.provider = ${payments.provider} AND about.of_provider_payment_id = ${payments.providerPaymentId}
  ) ELSE ${payments.status}::text END`;
