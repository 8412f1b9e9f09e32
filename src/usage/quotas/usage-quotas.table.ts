import { bigint, doublePrecision, pgTable, primaryKey, smallint, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';
import { ownerKind } from '../../subscriptions/customers/billing-customers.table.js';

const tokens = (name: string) => bigint(name, { mode: 'number' }).notNull().default(0);

/** What an owner has used of a period, and has on hold. Whoever changes it, or decides by it, holds its lock. */
export const usageQuotas = pgTable(
  'usage_quotas',
  {
    ownerId: uuid('owner_id').notNull(),
    periodStart: time('period_start').notNull(),
    periodEnd: time('period_end').notNull(),
    ownerKind: ownerKind('owner_kind').notNull(),
    used: tokens('used'),
    /** Of `used`: what no hold had reserved when it was settled. */
    overrun: tokens('overrun'),
    /** Of holds that are live, and of ones that have expired and nobody has looked at since. */
    held: tokens('held'),
    /** The highest percentage of the limit that was told. */
    alerted: smallint('alerted').notNull().default(0),
    /** What the allowances of a minute still had to make up for at `owed_at`, in milliseconds since 1970. */
    requestsOwed: doublePrecision('requests_owed').notNull().default(0),
    tokensOwed: doublePrecision('tokens_owed').notNull().default(0),
    owedAt: doublePrecision('owed_at').notNull().default(0),
    ...timestamps(),
  },
  (table) => [primaryKey({ name: 'usage_quotas_pkey', columns: [table.ownerId, table.periodStart] })],
);

export type UsageQuota = typeof usageQuotas.$inferSelect;
