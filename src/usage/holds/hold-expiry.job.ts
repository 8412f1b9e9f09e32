import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { sweepInBatches } from '../../platform/queue/sweep.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { UsageMetrics } from '../ledger/usage-metrics.service.js';
import { UsageHoldsRepository } from './usage-holds.repository.js';
import { daysBefore } from '../../platform/time/durations.js';

/** Owners wait while their quotas are locked. */
const BATCH = 200;
/** How long the status of an ended hold stays readable. */
const KEEP_DAYS = 30;

/** Expires holds that were neither settled nor released, and prunes ended ones. */
@Injectable()
export class HoldExpiry implements OnModuleInit {
  constructor(
    private readonly repository: UsageHoldsRepository,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    private readonly metrics: UsageMetrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'expire_holds',
      description: 'Ends holds that are past their time',
      everySeconds: 60,
      run: (signal) => sweepInBatches(signal, (limit) => this.expire(limit), BATCH),
    });
    this.jobs.register({
      name: 'prune_holds',
      description: 'Removes holds that ended more than a month ago',
      everySeconds: 3600,
      run: (signal) => {
        const before = daysBefore(this.clock.now(), KEEP_DAYS);
        return sweepInBatches(signal, (limit) => this.repository.deleteEnded(before, limit));
      },
    });
  }

  private async expire(limit: number): Promise<number> {
    const now = this.clock.now();
    const expired = await this.db.transaction(async (tx) => {
      const holds = await this.repository.lockExpired(now, limit, tx);
      return holds.length === 0 ? 0 : this.repository.expire(holds, now, tx);
    });
    this.metrics.countExpired(expired);
    return expired;
  }
}
