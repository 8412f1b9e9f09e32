import { bigint, doublePrecision, pgTable, primaryKey, smallint, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';
import { ownerKind } from '../../subscriptions/customers/billing-customers.table.js';

const tokens = (name: string) => bigint(name, { mode: 'number' }).notNull().default(0);

/** The usage and holds of an owner's period. Its row is locked before anything is decided by it. */
export const usageQuotas = pgTable(
  'usage_quotas',
  {
    ownerId: uuid('owner_id').notNull(),
    periodStart: time('period_start').notNull(),
    periodEnd: time('period_end').notNull(),
    ownerKind: ownerKind('owner_kind').notNull(),
    used: tokens('used'),
    /** The part of `used` that no hold had reserved when it was settled. */
    overrun: tokens('overrun'),
    /** Includes expired holds until a transaction or the job expires them. */
    held: tokens('held'),
    /** The highest threshold that raised an alert. */
    alerted: smallint('alerted').notNull().default(0),
    /** Levels of the leaky buckets at `owed_at`, which is in milliseconds since 1970. */
    requestsOwed: doublePrecision('requests_owed').notNull().default(0),
    tokensOwed: doublePrecision('tokens_owed').notNull().default(0),
    owedAt: doublePrecision('owed_at').notNull().default(0),
    ...timestamps(),
  },
  (table) => [primaryKey({ name: 'usage_quotas_pkey', columns: [table.ownerId, table.periodStart] })],
);

export type UsageQuota = typeof usageQuotas.$inferSelect;

/** Identifies the quota of a period, and creates it where it is missing. */
export type QuotaKey = Pick<UsageQuota, 'ownerId' | 'ownerKind' | 'periodStart' | 'periodEnd'>;
