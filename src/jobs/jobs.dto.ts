import type { JobRun } from './job-runs.table.js';
import type { Job } from './jobs.service.js';

export class JobRunResponse {
  /** When the run was due. */
  tick!: Date;

  startedAt!: Date;

  /** Null while it runs. */
  finishedAt!: Date | null;

  /** Rows it dealt with. @example 1204 */
  count!: number | null;

  /** Why it failed, if it did. */
  error!: string | null;

  /** More than one when a replica died and another took over. @example 1 */
  attempts!: number;

  static of({ tick, startedAt, finishedAt, count, error, attempts }: JobRun): JobRunResponse {
    return { tick, startedAt, finishedAt, count, error, attempts };
  }
}

export class JobResponse {
  /** @example "expire_sessions" */
  name!: string;

  /** @example "Removes sessions that have expired" */
  description!: string;

  /** @example 60 */
  everySeconds!: number;

  lastRun!: JobRunResponse | null;

  static of({ job, lastRun }: { job: Job; lastRun?: JobRun }): JobResponse {
    const { name, description, everySeconds } = job;
    return { name, description, everySeconds, lastRun: lastRun === undefined ? null : JobRunResponse.of(lastRun) };
  }
}

export class JobListResponse {
  data!: JobResponse[];

  /** Always null: there are few jobs. */
  nextCursor!: string | null;
}
