import { sql } from 'drizzle-orm';
import { index, integer, pgTable, text, timestamp, unique, uuid } from 'drizzle-orm/pg-core';

/** One run of a job. The unique pair decides which replica runs a tick. */
export const jobRuns = pgTable(
  'job_runs',
  {
    id: uuid('id').primaryKey(),
    job: text('job').notNull(),
    /** The time the run was due; for a run asked for by hand the time it was asked for. */
    tick: timestamp('tick', { withTimezone: true, precision: 3 }).notNull(),
    /** Who runs it; an answer from anyone else comes too late. */
    holder: uuid('holder').notNull(),
    leasedUntil: timestamp('leased_until', { withTimezone: true, precision: 3 }).notNull(),
    attempts: integer('attempts').notNull().default(1),
    startedAt: timestamp('started_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    finishedAt: timestamp('finished_at', { withTimezone: true, precision: 3 }),
    /** What the run did, in rows. */
    count: integer('count'),
    error: text('error'),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
  },
  (table) => [
    unique('job_runs_job_tick_key').on(table.job, table.tick),
    index('job_runs_unfinished_idx')
      .on(table.leasedUntil)
      .where(sql`${table.finishedAt} IS NULL`),
  ],
);

export type JobRun = typeof jobRuns.$inferSelect;
