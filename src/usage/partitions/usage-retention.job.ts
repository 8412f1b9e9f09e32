import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { PartitionedUsageRepository } from './partitioned-usage.repository.js';
import { type Month, startOf } from './months.js';
import { UsagePartitions } from './usage-partitions.job.js';
import { daysBefore } from '../../platform/time/durations.js';

/** Whoever reads or writes usage waits as long behind a partition that is to go: rather try again in an hour. */
const LOCK_WAIT_MS = 500;

/** Lets events go when they are old enough, a whole month at a time: what was summed of them, and their ids, stay. */
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

  /** Answers how many months went. */
  private async prune(signal: AbortSignal): Promise<number> {
    const before = daysBefore(this.clock.now(), this.config.usageRetentionDays);
    const months = (await this.repository.listMonths()).filter((month) => startOf(month + 1) <= before);
    let dropped = 0;
    for (const month of months) {
      if (signal.aborted) break;
      if (await this.drop(month)) dropped += 1;
    }
    this.partitions.forget();
    return dropped;
  }

  /** Sealed in the same transaction: nothing is ever gone that seems to be there. */
  private async drop(month: Month): Promise<boolean> {
    return this.db.transaction(async (tx) => {
      await this.repository.lock(LOCK_WAIT_MS, tx);
      // A job that another replica took over may be at it still.
      if (!(await this.repository.listMonths(tx)).includes(month)) return false;
      await this.repository.seal(startOf(month + 1), tx);
      await this.repository.drop(month, tx);
      return true;
    });
  }
}
