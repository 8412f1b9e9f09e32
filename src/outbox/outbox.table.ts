import { sql } from 'drizzle-orm';
import { index, integer, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../platform/database/columns.js';

export const outbox = pgTable(
  'outbox',
  {
    id: uuid('id').primaryKey(),
    kind: text('kind').notNull(),
    /** JSON, encrypted: mails carry links that sign people in. */
    payload: text('payload').notNull(),
    attempts: integer('attempts').notNull().default(0),
    /** Null if it is done or dead. While a worker processes it: the end of the lease. */
    nextAttemptAt: time('next_attempt_at').defaultNow(),
    doneAt: time('done_at'),
    lastError: text('last_error'),
    /** The span of its cause, where traces are on. */
    traceparent: text('traceparent'),
    ...timestamps(),
  },
  (table) => [
    index('outbox_next_attempt_at_idx')
      .on(table.nextAttemptAt)
      .where(sql`${table.nextAttemptAt} IS NOT NULL`),
    index('outbox_dead_idx')
      .on(table.id)
      .where(sql`${table.nextAttemptAt} IS NULL AND ${table.doneAt} IS NULL`),
    index('outbox_done_at_idx')
      .on(table.doneAt)
      .where(sql`${table.doneAt} IS NOT NULL`),
  ],
);
