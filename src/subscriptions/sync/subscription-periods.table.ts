import { sql } from 'drizzle-orm';
import { check, pgTable, primaryKey, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time } from '../../platform/database/columns.js';
import { subscriptions } from '../subscriptions.table.js';

/**
 * Every billing period that a provider reported. Rows are only added, so that any order of events ends in the same rows;
 * the newest event decides the end of a period (docs/decisions/0031).
 */
export const subscriptionPeriods = pgTable(
  'subscription_periods',
  {
    subscriptionId: uuid('subscription_id')
      .notNull()
      .references(() => subscriptions.id, { onDelete: 'cascade' }),
    startsAt: time('starts_at').notNull(),
    endsAt: time('ends_at').notNull(),
    ...eventVersion(),
  },
  (table) => [
    primaryKey({ columns: [table.subscriptionId, table.startsAt] }),
    check('subscription_periods_forward', sql`${table.endsAt} > ${table.startsAt}`),
  ],
);
