import { sql } from 'drizzle-orm';
import { bigint, boolean, check, index, integer, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps } from '../platform/database/columns.js';
import { TIERS } from '../plans/plans.js';
import { billingProvider, ownerKind } from './customers/billing-customers.table.js';

/** The same for all providers; `providerStatus` keeps the provider's own. */
export const SUBSCRIPTION_STATUSES = ['incomplete', 'trialing', 'active', 'past_due', 'paused', 'unpaid', 'canceled'] as const;
export type SubscriptionStatus = (typeof SUBSCRIPTION_STATUSES)[number];

export const subscriptionStatus = pgEnum('subscription_status', SUBSCRIPTION_STATUSES);
export const tier = pgEnum('tier', TIERS);

/** Subscriptions at a provider, by their newest event, and grants by operators. Rows are never deleted. */
export const subscriptions = pgTable(
  'subscriptions',
  {
    id: uuid('id').primaryKey(),
    provider: billingProvider('provider').notNull(),
    providerSubscriptionId: text('provider_subscription_id'),
    providerCustomerId: text('provider_customer_id'),
    ownerKind: ownerKind('owner_kind'),
    ownerId: uuid('owner_id'),
    /** Linked by an operator: claims no longer change the owner. */
    ownerLinked: boolean('owner_linked').notNull().default(false),
    ownerClaims: text('owner_claims')
      .array()
      .notNull()
      .default(sql`'{}'`),
    productId: text('product_id'),
    /** Only for a grant. The plan of a provider's product is looked up on read, so that plans can change. */
    tier: tier('tier'),
    status: subscriptionStatus('status').notNull(),
    providerStatus: text('provider_status'),
    startedAt: time('started_at'),
    currentPeriodStart: time('current_period_start'),
    currentPeriodEnd: time('current_period_end'),
    cancelAtPeriodEnd: boolean('cancel_at_period_end').notNull().default(false),
    canceledAt: time('canceled_at'),
    endsAt: time('ends_at'),
    endedAt: time('ended_at'),
    trialEnd: time('trial_end'),
    pastDueUntil: time('past_due_until'),
    seats: integer('seats'),
    /** Recurring, before tax, in minor units of the currency. */
    amount: bigint('amount', { mode: 'number' }),
    currency: text('currency'),
    note: text('note'),
    /** When to check with the provider: a date is over, and its event is missing. */
    checkAt: time('check_at'),
    confirmedAt: time('confirmed_at'),
    /** When we requested its cancellation, because the owner was deleted. */
    endRequestedAt: time('end_requested_at'),
    ...eventVersion(),
    ...timestamps(),
  },
  (table) => [
    unique('subscriptions_provider_subscription_key').on(table.provider, table.providerSubscriptionId),
    index('subscriptions_owner_idx').on(table.ownerId),
    index('subscriptions_claims_idx').using('gin', table.ownerClaims),
    index('subscriptions_customer_idx').on(table.provider, table.providerCustomerId),
    index('subscriptions_created_idx').on(table.createdAt, table.id),
    index('subscriptions_provider_idx').on(table.provider, table.createdAt, table.id),
    index('subscriptions_status_idx').on(table.status, table.createdAt, table.id),
    index('subscriptions_ownerless_idx')
      .on(table.createdAt, table.id)
      .where(sql`${table.ownerId} IS NULL`),
    index('subscriptions_live_product_idx')
      .on(table.productId)
      .where(sql`${table.status} IN ('trialing', 'active', 'past_due') AND ${table.provider} <> 'manual'`),
    index('subscriptions_check_idx')
      .on(table.checkAt)
      .where(sql`${table.checkAt} IS NOT NULL`),
    check('subscriptions_owner_whole', sql`(${table.ownerId} IS NULL) = (${table.ownerKind} IS NULL)`),
    check('subscriptions_grant_or_provider', sql`(${table.provider} = 'manual') = (${table.providerSubscriptionId} IS NULL)`),
  ],
);

export type Subscription = typeof subscriptions.$inferSelect;
