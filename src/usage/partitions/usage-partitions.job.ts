import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { PartitionedUsageRepository } from './partitioned-usage.repository.js';
import { type Month, monthOf, startOf } from './months.js';
import { DAY_MS } from '../../platform/time/durations.js';

/** The month's partition was dropped for its age, so no event can be added to it. */
export class MonthPruned extends Error {}

/** Creating a partition blocks neither readers nor writers. */
const LOCK_WAIT_MS = 5000;

/**
 * Creates the partitions that events need, and caches which exist. Another process may drop a cached one: the insert
 * then fails with `isMissingPartition`, and the caller clears the cache and retries.
 */
@Injectable()
export class UsagePartitions implements OnModuleInit, OnApplicationBootstrap {
  private months = new Set<Month>();
  private prunedBefore?: Date;

  constructor(
    private readonly repository: PartitionedUsageRepository,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'prepare_usage',
      description: 'Creates the partitions for the usage of this month and the next',
      everySeconds: 86_400,
      run: () => this.prepare(),
    });
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.prepare();
  }

  /** Whether the cache knows a partition for this moment. */
  has(moment: Date): boolean {
    return this.months.has(monthOf(moment));
  }

  /**
   * Creates missing partitions in a transaction of its own. Returns how many.
   * @throws {MonthPruned} if one was dropped for its age; then none is created
   */
  async ensure(moments: Date[]): Promise<number> {
    const wanted = [...new Set(moments.map(monthOf))];
    if (wanted.every((month) => this.months.has(month))) return 0;
    const { existing, missing, prunedBefore } = await this.db.transaction((tx) => this.createMissing(wanted, tx));
    this.months = new Set([...existing, ...missing]);
    this.prunedBefore = prunedBefore;
    return missing.length;
  }

  /** Events before this time are refused: their month was, or will soon be, dropped. */
  async oldestAccepted(): Promise<Date> {
    this.prunedBefore ??= (await this.repository.findPrunedBefore()) ?? NEVER;
    const retained = this.clock.now().getTime() - this.config.usageRetentionDays * DAY_MS;
    return new Date(Math.max(retained, this.prunedBefore.getTime()));
  }

  clearCache(): void {
    this.months = new Set();
    this.prunedBefore = undefined;
  }

  private async createMissing(wanted: Month[], tx: Queryable): Promise<{ existing: Month[]; missing: Month[]; prunedBefore: Date }> {
    await this.repository.lock(LOCK_WAIT_MS, tx);
    const existing = await this.repository.listMonths(tx);
    const prunedBefore = (await this.repository.findPrunedBefore(tx)) ?? NEVER;
    const missing = wanted.filter((month) => !existing.includes(month));
    if (missing.some((month) => startOf(month) < prunedBefore)) throw new MonthPruned();
    for (const month of missing) await this.repository.create(month, tx);
    return { existing, missing, prunedBefore };
  }

  private async prepare(): Promise<number> {
    const now = this.clock.now();
    return this.ensure([now, startOf(monthOf(now) + 1)]);
  }
}

const NEVER = new Date(0);
