import { Inject, Injectable } from '@nestjs/common';
import { and, eq, isNull, lt, sql } from 'drizzle-orm';
import { newId } from '../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type JobRun, jobRuns } from './job-runs.table.js';

interface Holder {
  holder: string;
  leaseSeconds: number;
}

@Injectable()
export class JobsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Claims a tick, unless another process has it or a run of the job has not finished. */
  async claim(job: string, tick: Date, { holder, leaseSeconds }: Holder, db: Queryable): Promise<JobRun | undefined> {
    // A manual run has a tick of its own: the unique pair alone would let two runs overlap.
    await db.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`job_runs:${job}`}, 0))`);
    const [alive] = await db
      .select({ id: jobRuns.id })
      .from(jobRuns)
      .where(and(eq(jobRuns.job, job), isNull(jobRuns.finishedAt)))
      .limit(1);
    if (alive !== undefined) return undefined;
    const [run] = await db
      .insert(jobRuns)
      .values({ id: newId(), job, tick, holder, leasedUntil: leaseEnd(leaseSeconds) })
      .onConflictDoNothing({ target: [jobRuns.job, jobRuns.tick] })
      .returning();
    return run;
  }

  /** Takes over one run with an expired lease. */
  async takeOver(jobs: string[], { holder, leaseSeconds }: Holder, db: Queryable = this.db): Promise<JobRun | undefined> {
    const abandoned = db
      .select({ id: jobRuns.id })
      .from(jobRuns)
      .where(and(isNull(jobRuns.finishedAt), lt(jobRuns.leasedUntil, sql`now()`), isOneOf(jobRuns.job, jobs)))
      .limit(1)
      .for('update', { skipLocked: true });
    const [run] = await db
      .update(jobRuns)
      .set({ holder, leasedUntil: leaseEnd(leaseSeconds), attempts: sql`${jobRuns.attempts} + 1` })
      .where(sql`${jobRuns.id} IN (${abandoned})`)
      .returning();
    return run;
  }

  async renewLease(id: string, { holder, leaseSeconds }: Holder, db: Queryable = this.db): Promise<boolean> {
    const { rowCount } = await db
      .update(jobRuns)
      .set({ leasedUntil: leaseEnd(leaseSeconds) })
      .where(and(eq(jobRuns.id, id), eq(jobRuns.holder, holder), isNull(jobRuns.finishedAt)));
    return rowCount === 1;
  }

  async finish(id: string, holder: string, outcome: { count?: number; error?: string }, db: Queryable = this.db): Promise<void> {
    await db
      .update(jobRuns)
      .set({ ...outcome, finishedAt: sql`now()` })
      .where(and(eq(jobRuns.id, id), eq(jobRuns.holder, holder)));
  }

  async findLast(job: string, db: Queryable = this.db): Promise<JobRun | undefined> {
    const [run] = await db
      .select()
      .from(jobRuns)
      .where(eq(jobRuns.job, job))
      .orderBy(sql`${jobRuns.tick} DESC`)
      .limit(1);
    return run;
  }

  async deleteFinished(before: Date, limit: number, db: Queryable = this.db): Promise<number> {
    const old = db
      .select({ id: jobRuns.id })
      .from(jobRuns)
      .where(lt(jobRuns.finishedAt, before))
      .limit(limit)
      .for('update', { skipLocked: true });
    const { rowCount } = await db.delete(jobRuns).where(sql`${jobRuns.id} IN (${old})`);
    return rowCount ?? 0;
  }
}

function leaseEnd(seconds: number) {
  return sql`now() + ${seconds} * interval '1 second'`;
}
