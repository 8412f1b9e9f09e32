import { sql } from 'drizzle-orm';
import { pgTable, text, timestamp } from 'drizzle-orm/pg-core';

/**
 * One row per bucket: the time at which it is full again (GCRA's theoretical arrival time).
 * The migration makes the table UNLOGGED: after a crash of the server all buckets are full.
 */
export const rateLimits = pgTable('rate_limits', {
  key: text('key').primaryKey(),
  // Not indexed: every call would have to update the index too.
  wholeAt: timestamp('whole_at', { withTimezone: true, mode: 'string' })
    .notNull()
    .default(sql`now()`),
});
