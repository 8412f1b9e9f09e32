import { sql } from 'drizzle-orm';
import { bigint, boolean, check, index, integer, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps } from '../platform/database/columns.js';
import { TIERS } from '../plans/plans.js';
import { billingProvider, ownerKind } from './customers/billing-customers.table.js';

/** One vocabulary for all providers; `providerStatus` keeps theirs. */
export const SUBSCRIPTION_STATUSES = ['incomplete', 'trialing', 'active', 'past_due', 'paused', 'unpaid', 'canceled'] as const;
export type SubscriptionStatus = (typeof SUBSCRIPTION_STATUSES)[number];

export const subscriptionStatus = pgEnum('subscription_status', SUBSCRIPTION_STATUSES);
export const tier = pgEnum('tier', TIERS);

/** What a provider's subscription is, by the newest word about it, or what an operator granted. Rows are never removed. */
export const subscriptions = pgTable(
  'subscriptions',
  {
    id: uuid('id').primaryKey(),
    provider: billingProvider('provider').notNull(),
    /** Null for a grant. */
    providerSubscriptionId: text('provider_subscription_id'),
    providerCustomerId: text('provider_customer_id'),
    /** Null while nobody knows whose it is. */
    ownerKind: ownerKind('owner_kind'),
    ownerId: uuid('owner_id'),
    /** An operator said whose it is: what the provider tells does not change it. */
    ownerLinked: boolean('owner_linked').notNull().default(false),
    ownerClaims: text('owner_claims')
      .array()
      .notNull()
      .default(sql`'{}'`),
    productId: text('product_id'),
    /** Of a grant. A provider's product is looked up in the plans whenever it is asked for, so that they can change. */
    tier: tier('tier'),
    status: subscriptionStatus('status').notNull(),
    providerStatus: text('provider_status'),
    /** When its first period began. */
    startedAt: time('started_at'),
    currentPeriodStart: time('current_period_start'),
    currentPeriodEnd: time('current_period_end'),
    cancelAtPeriodEnd: boolean('cancel_at_period_end').notNull().default(false),
    canceledAt: time('canceled_at'),
    /** When it will end for certain. */
    endsAt: time('ends_at'),
    endedAt: time('ended_at'),
    trialEnd: time('trial_end'),
    pastDueUntil: time('past_due_until'),
    seats: integer('seats'),
    /** Recurring, before tax, in minor units of the currency. */
    amount: bigint('amount', { mode: 'number' }),
    currency: text('currency'),
    /** Why it was granted. */
    note: text('note'),
    /** When the provider is to be asked, since a date passed that an event should have told of. */
    checkAt: time('check_at'),
    /** When the provider, asked, last said that the row is right. */
    confirmedAt: time('confirmed_at'),
    /** When the provider was told to end it, because its owner is gone. */
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
    index('subscriptions_check_idx')
      .on(table.checkAt)
      .where(sql`${table.checkAt} IS NOT NULL`),
    check('subscriptions_owner_whole', sql`(${table.ownerId} IS NULL) = (${table.ownerKind} IS NULL)`),
    check('subscriptions_grant_or_provider', sql`(${table.provider} = 'manual') = (${table.providerSubscriptionId} IS NULL)`),
  ],
);

export type Subscription = typeof subscriptions.$inferSelect;
