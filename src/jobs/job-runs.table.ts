import { sql } from 'drizzle-orm';
import { index, integer, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { createdAt, time } from '../platform/database/columns.js';

/** One run of a job. The unique pair decides which process runs a tick. */
export const jobRuns = pgTable(
  'job_runs',
  {
    id: uuid('id').primaryKey(),
    job: text('job').notNull(),
    /** When the run was due; for a manual run, when it was requested. */
    tick: time('tick').notNull(),
    /** The process that runs it. Results of an earlier holder are ignored. */
    holder: uuid('holder').notNull(),
    leasedUntil: time('leased_until').notNull(),
    attempts: integer('attempts').notNull().default(1),
    startedAt: time('started_at').notNull().defaultNow(),
    finishedAt: time('finished_at'),
    count: integer('count'),
    error: text('error'),
    createdAt: createdAt(),
  },
  (table) => [
    unique('job_runs_job_tick_key').on(table.job, table.tick),
    index('job_runs_unfinished_idx')
      .on(table.leasedUntil)
      .where(sql`${table.finishedAt} IS NULL`),
  ],
);

export type JobRun = typeof jobRuns.$inferSelect;
