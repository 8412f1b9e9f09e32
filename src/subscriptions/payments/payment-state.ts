import { type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { PAYMENT_STATUSES, type PaymentStatus, payments } from './payments.table.js';

/** The status of a payment, with its refunds and disputes taken into account. */
export const PAYMENT_STATES = [...PAYMENT_STATUSES, 'disputed', 'dispute_lost'] as const;
export type PaymentState = (typeof PAYMENT_STATES)[number];

export const PAID_STATUSES = ['succeeded', 'partially_refunded', 'refunded'] as const satisfies PaymentStatus[];

/** Drizzle leaves the table out where a query has only one, and `about` is the same table. */
const of = ({ name }: PgColumn) => sql`${payments}.${sql.identifier(name)}`;

export const isPaid: SQL = sql`${of(payments.kind)} = 'payment' AND ${of(payments.status)} IN ('succeeded', 'partially_refunded', 'refunded')`;

/**
 * The state of a payment, computed from its row and its refunds and disputes. It is never stored, so that the order of
 * events does not matter (docs/decisions/0058).
 */
export const paymentState: SQL<PaymentState> = sql`CASE WHEN ${isPaid} THEN (
  SELECT CASE
      WHEN bool_or(about.kind = 'dispute' AND about.status = 'lost') THEN 'dispute_lost'
      WHEN bool_or(about.kind = 'dispute' AND about.status = 'pending') THEN 'disputed'
      WHEN ${of(payments.status)} = 'refunded' THEN 'refunded'
      WHEN ${of(payments.amount)} > 0 AND ${of(payments.amount)} <= sum(about.amount) FILTER (
        WHERE about.kind = 'refund' AND about.status = 'succeeded' AND about.currency IS NOT DISTINCT FROM ${of(payments.currency)}) THEN 'refunded'
      WHEN ${of(payments.status)} = 'partially_refunded' OR bool_or(about.kind = 'refund' AND about.status = 'succeeded') THEN 'partially_refunded'
      ELSE 'succeeded'
    END
    FROM ${payments} about
   WHERE about.provider = ${of(payments.provider)} AND about.of_provider_payment_id = ${of(payments.providerPaymentId)}
  ) ELSE ${of(payments.status)}::text END`;
