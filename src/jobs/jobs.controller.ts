import { Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiParam } from '@nestjs/swagger';
import { Operator } from '../access/access.decorators.js';
import { Caller, type Principal } from '../access/principal.js';
import { TagDescription } from '../platform/openapi/tags.decorators.js';
import { Problems } from '../platform/problems/problems.decorators.js';
import { JobListResponse, JobResponse } from './jobs.dto.js';
import { JobAlreadyRunning, JobNotFound } from './jobs.errors.js';
import { JobsService } from './jobs.service.js';

@Controller('v1/jobs')
@TagDescription('Scheduled work, for operators.')
export class JobsController {
  constructor(private readonly jobs: JobsService) {}

  /** Lists the scheduled jobs, each with its last run. */
  @Get()
  @Operator()
  async listJobs(): Promise<JobListResponse> {
    return { data: (await this.jobs.list()).map(JobResponse.of), nextCursor: null };
  }

  /** Starts a job now. It runs in the background; the list shows its result. */
  @Post(':job/run')
  @HttpCode(202)
  @Operator()
  @ApiParam({ name: 'job', description: 'The name of the job.', example: 'expire_sessions' })
  @Problems(JobNotFound, JobAlreadyRunning)
  async runJob(@Caller() { actor }: Principal, @Param('job') job: string): Promise<JobResponse> {
    return JobResponse.of(await this.jobs.start(job, actor));
  }
}
