import { boolean, check, pgTable } from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { time, timestamps } from '../../platform/database/columns.js';

/** One row at most: events from before `sealed_before` are gone, and what was summed of them stays as it is. */
export const retentionWatermark = pgTable(
  'usage_seals',
  {
    only: boolean('only').primaryKey().default(true),
    prunedBefore: time('sealed_before').notNull(),
    ...timestamps(),
  },
  (table) => [check('usage_seals_only', sql`${table.only}`)],
);
