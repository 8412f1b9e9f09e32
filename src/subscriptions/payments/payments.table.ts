import { sql } from 'drizzle-orm';
import { bigint, check, index, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps } from '../../platform/database/columns.js';
import { billingProvider, ownerKind } from '../customers/billing-customers.table.js';

export const PAYMENT_KINDS = ['payment', 'refund', 'dispute'] as const;
export type PaymentKind = (typeof PAYMENT_KINDS)[number];

export const PAYMENT_STATUSES = [
  'pending',
  'succeeded',
  'failed',
  'canceled',
  'partially_refunded',
  'refunded',
  'won',
  'lost',
  'unknown',
] as const;
export type PaymentStatus = (typeof PAYMENT_STATUSES)[number];

/** A payment's status, with its refunds and disputes taken into account. */
export const PAYMENT_STATES = [...PAYMENT_STATUSES, 'disputed', 'dispute_lost'] as const;
export type PaymentState = (typeof PAYMENT_STATES)[number];

export const paymentKind = pgEnum('payment_kind', PAYMENT_KINDS);
export const paymentStatus = pgEnum('payment_status', PAYMENT_STATUSES);

/** Payments, refunds and disputes at a provider. They affect access only in plans with `onRefund: end`. */
export const payments = pgTable(
  'payments',
  {
    id: uuid('id').primaryKey(),
    provider: billingProvider('provider').notNull(),
    kind: paymentKind('kind').notNull(),
    providerPaymentId: text('provider_payment_id').notNull(),
    providerCustomerId: text('provider_customer_id').notNull(),
    providerSubscriptionId: text('provider_subscription_id'),
    /** For a refund or dispute: its payment. */
    ofProviderPaymentId: text('of_provider_payment_id'),
    ownerKind: ownerKind('owner_kind'),
    ownerId: uuid('owner_id'),
    ownerClaims: text('owner_claims')
      .array()
      .notNull()
      .default(sql`'{}'`),
    /** In minor units of the currency; null if unknown. */
    amount: bigint('amount', { mode: 'number' }),
    /** ISO 4217, upper case. */
    currency: text('currency'),
    status: paymentStatus('status').notNull(),
    /** The status, with refunds and disputes taken into account. Triggers keep it (docs/decisions/0070). */
    state: text('state')
      .$type<PaymentState>()
      .notNull()
      .default(sql`''`),
    providerStatus: text('provider_status'),
    occurredAt: time('occurred_at').notNull(),
    ...eventVersion(),
    ...timestamps(),
  },
  (table) => [
    unique('payments_provider_payment_key').on(table.provider, table.kind, table.providerPaymentId),
    index('payments_owner_idx').on(table.ownerId, table.occurredAt, table.id),
    index('payments_owner_state_idx').on(table.ownerId, table.state, table.occurredAt, table.id),
    index('payments_state_subscription_idx').on(table.state, table.provider, table.providerSubscriptionId),
    index('payments_customer_idx').on(table.provider, table.providerCustomerId),
    index('payments_subscription_idx').on(table.provider, table.providerSubscriptionId),
    index('payments_about_idx')
      .on(table.provider, table.ofProviderPaymentId)
      .where(sql`${table.ofProviderPaymentId} IS NOT NULL`),
    index('payments_claims_idx').using('gin', table.ownerClaims),
    check('payments_owner_whole', sql`(${table.ownerId} IS NULL) = (${table.ownerKind} IS NULL)`),
  ],
);

export type Payment = typeof payments.$inferSelect;
