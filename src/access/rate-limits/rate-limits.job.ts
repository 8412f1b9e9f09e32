import { Injectable, type OnModuleInit } from '@nestjs/common';
import { JobsService } from '../../jobs/jobs.service.js';
import { sweepInBatches } from '../../platform/queue/sweep.js';
import { RateLimitsRepository } from './rate-limits.repository.js';

@Injectable()
export class RateLimitsCleanup implements OnModuleInit {
  constructor(
    private readonly repository: RateLimitsRepository,
    private readonly jobs: JobsService,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'sweep_rate_limits',
      description: 'Removes rate limit counters that are no longer needed',
      everySeconds: 300,
      run: (signal) => sweepInBatches(signal, (limit) => this.repository.deleteFull(limit)),
    });
  }
}
