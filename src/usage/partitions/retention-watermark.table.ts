import { boolean, check, pgTable } from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { time, timestamps } from '../../platform/database/columns.js';

/** At most one row: events before `sealed_before` were dropped, and their rollups are final. */
export const retentionWatermark = pgTable(
  'usage_seals',
  {
    only: boolean('only').primaryKey().default(true),
    prunedBefore: time('sealed_before').notNull(),
    ...timestamps(),
  },
  (table) => [check('usage_seals_only', sql`${table.only}`)],
);
