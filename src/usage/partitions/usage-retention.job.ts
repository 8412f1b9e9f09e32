import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { PartitionedUsageRepository } from './partitioned-usage.repository.js';
import { type Month, startOf } from './months.js';
import { UsagePartitions } from './usage-partitions.job.js';
import { daysBefore } from '../../platform/time/durations.js';

/** Readers and writers of usage queue behind a drop that waits for its lock: better to give up and retry in an hour. */
const LOCK_WAIT_MS = 500;

/** Drops events past their retention, a month at a time. Rollups and event ids stay. */
@Injectable()
export class UsageRetention implements OnModuleInit {
  constructor(
    private readonly repository: PartitionedUsageRepository,
    private readonly partitions: UsagePartitions,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'prune_usage',
      description: 'Drops the months of usage that are older than the retention time',
      everySeconds: 3600,
      run: (signal) => this.prune(signal),
    });
  }

  /** Returns how many months were dropped. */
  private async prune(signal: AbortSignal): Promise<number> {
    const before = daysBefore(this.clock.now(), this.config.usageRetentionDays);
    const months = (await this.repository.listMonths()).filter((month) => startOf(month + 1) <= before);
    let dropped = 0;
    for (const month of months) {
      if (signal.aborted) break;
      if (await this.drop(month)) dropped += 1;
    }
    this.partitions.clearCache();
    return dropped;
  }

  /** Advances the watermark in the same transaction, so that dropped events never look merely missing. */
  private async drop(month: Month): Promise<boolean> {
    return this.db.transaction(async (tx) => {
      await this.repository.lock(LOCK_WAIT_MS, tx);
      // A run that lost its lease may still be working.
      if (!(await this.repository.listMonths(tx)).includes(month)) return false;
      await this.repository.advanceWatermark(startOf(month + 1), tx);
      await this.repository.drop(month, tx);
      return true;
    });
  }
}
