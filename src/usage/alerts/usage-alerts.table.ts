import { bigint, pgTable, primaryKey, smallint, uuid } from 'drizzle-orm/pg-core';
import { createdAt, time } from '../../platform/database/columns.js';
import { ownerKind } from '../../subscriptions/customers/billing-customers.table.js';

/** A threshold of a period's limit that was reached. */
export const usageAlerts = pgTable(
  'usage_alerts',
  {
    ownerId: uuid('owner_id').notNull(),
    periodStart: time('period_start').notNull(),
    threshold: smallint('threshold').notNull(),
    ownerKind: ownerKind('owner_kind').notNull(),
    used: bigint('used', { mode: 'number' }).notNull(),
    limit: bigint('limit', { mode: 'number' }).notNull(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ name: 'usage_alerts_pkey', columns: [table.ownerId, table.periodStart, table.threshold] })],
);

export type UsageAlert = typeof usageAlerts.$inferSelect;
