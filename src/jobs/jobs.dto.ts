import { ApiProperty, ApiSchema } from '@nestjs/swagger';
import type { JobRun } from './job-runs.table.js';
import type { Job } from './jobs.service.js';

@ApiSchema({ description: 'One run of a job.' })
export class JobRunResponse {
  /** When the run was due. */
  tick!: Date;

  /** When it began. */
  startedAt!: Date;

  /** Null while it runs. @example "2026-01-15T09:30:00.250Z" */
  finishedAt!: Date | null;

  /** Rows it dealt with. @example 1204 */
  @ApiProperty({ type: 'integer' })
  count!: number | null;

  /** Why it failed, if it did. */
  error!: string | null;

  /** More than one when a replica died and another took over. @example 1 */
  @ApiProperty({ type: 'integer' })
  attempts!: number;

  static of({ tick, startedAt, finishedAt, count, error, attempts }: JobRun): JobRunResponse {
    return { tick, startedAt, finishedAt, count, error, attempts };
  }
}

@ApiSchema({ description: 'A job and its last run.' })
export class JobResponse {
  /** Its name. @example "expire_sessions" */
  name!: string;

  /** What it does. @example "Removes sessions that have expired" */
  description!: string;

  /** How often it is due. @example 60 */
  @ApiProperty({ type: 'integer' })
  everySeconds!: number;

  /** The run that was due last; null before the first. */
  lastRun!: JobRunResponse | null;

  static of({ job, lastRun }: { job: Job; lastRun?: JobRun }): JobResponse {
    const { name, description, everySeconds } = job;
    return { name, description, everySeconds, lastRun: lastRun === undefined ? null : JobRunResponse.of(lastRun) };
  }
}

@ApiSchema({ description: 'All jobs.' })
export class JobListResponse {
  /** The jobs. */
  data!: JobResponse[];

  /** Always null: there are few jobs. */
  nextCursor!: string | null;
}
