import { Injectable, type OnModuleInit } from '@nestjs/common';
import { JobsService } from '../../jobs/jobs.service.js';
import { BATCH, sweepInSteps } from '../../platform/queue/sweep.js';
import { RateLimitsRepository } from './rate-limits.repository.js';

/** Read by one statement. */
const PAGES = 50;

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
      run: (signal) => this.sweep(signal),
    });
  }

  /** In the order of the table, because no index finds full buckets. */
  private async sweep(signal: AbortSignal): Promise<number> {
    let from = 0;
    return sweepInSteps(signal, async () => {
      const { removed, pages } = await this.repository.deleteFull({ from, to: from + PAGES, limit: BATCH });
      if (removed < BATCH) from += PAGES;
      return { count: removed, isLast: from >= pages };
    });
  }
}
