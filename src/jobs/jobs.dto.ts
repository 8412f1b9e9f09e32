import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import type { JobRun } from './job-runs.table.js';
import type { Job } from './jobs.service.js';
import { periodSeconds } from './schedule.js';

@ApiSchema({ description: 'One run of a job.' })
export class JobRunResponse {
  /** When the run was due. */
  tick!: Date;

  /** When the run started. */
  startedAt!: Date;

  /** When the run finished. Null while it runs. @example "2026-01-15T09:30:00.250Z" */
  finishedAt!: Date | null;

  /** Processed rows. @example 1204 */
  @ApiProperty({ type: 'integer' })
  count!: number | null;

  /** Why the run failed. Null if it did not. */
  error!: string | null;

  /** More than one if a process died and another one took the run over. @example 1 */
  @ApiProperty({ type: 'integer' })
  attempts!: number;

  static of({ tick, startedAt, finishedAt, count, error, attempts }: JobRun): JobRunResponse {
    return { tick, startedAt, finishedAt, count, error, attempts };
  }
}

@ApiSchema({ description: 'A job and its last run.' })
export class JobResponse {
  /** The name of the job. @example "expire_sessions" */
  name!: string;

  /** What the job does. @example "Removes sessions that have expired" */
  description!: string;

  /** The interval between runs, in seconds. @example 60 */
  @ApiProperty({ type: 'integer' })
  everySeconds!: number;

  /** The latest run. Null before the first one. */
  lastRun!: JobRunResponse | null;

  static of({ job, lastRun }: { job: Job; lastRun?: JobRun }): JobResponse {
    const { name, description } = job;
    return { name, description, everySeconds: periodSeconds(job), lastRun: lastRun === undefined ? null : JobRunResponse.of(lastRun) };
  }
}

@ApiSchema({ description: 'All jobs.' })
export class JobListResponse {
  /** The jobs. */
  data!: JobResponse[];

  /** Always null: there are few jobs. */
  nextCursor!: string | null;
}
