import { sql } from 'drizzle-orm';
import { pgTable, text, timestamp } from 'drizzle-orm/pg-core';

/**
 * One row a caller: the time at which its allowance is whole again (GCRA's theoretical arrival time).
 * The migration makes the table UNLOGGED: after a crash of the server all allowances are whole.
 */
export const rateLimits = pgTable('rate_limits', {
  key: text('key').primaryKey(),
  // Without an index: every hit would have to move in it too.
  wholeAt: timestamp('whole_at', { withTimezone: true, mode: 'string' })
    .notNull()
    .default(sql`now()`),
});
