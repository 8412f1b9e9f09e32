import { Inject, Injectable, type OnApplicationBootstrap, type OnModuleInit } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { PartitionedUsageRepository } from './partitioned-usage.repository.js';
import { type Month, monthOf, startOf } from './months.js';
import { DAY_MS } from '../../platform/time/durations.js';

/** Events of this month are gone for ever, and what was summed of them stays as it is: none can come any more. */
export class MonthIsSealed extends Error {}

/** The locks that are taken here stop no reader and no writer. */
const LOCK_WAIT_MS = 5000;

/**
 * Sees to it that `usage` has the partitions that events need. Which there are is remembered, so that asking
 * again is free. Another process may drop one that is remembered here: the insert then fails with
 * `isMissingPartition`, and whoever makes it forgets and begins again.
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
      description: 'Makes the partitions for the usage of this month and the next',
      everySeconds: 86_400,
      run: () => this.prepare(),
    });
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.prepare();
  }

  /** Whether events of this moment have their partition, as far as is known here. */
  has(moment: Date): boolean {
    return this.months.has(monthOf(moment));
  }

  /**
   * Makes the partitions for these moments where there are none, in a transaction of its own; answers how many.
   *
   * @throws {MonthIsSealed} when one was dropped for its age; the others are not made either
   */
  async ensure(moments: Date[]): Promise<number> {
    const wanted = [...new Set(moments.map(monthOf))];
    if (wanted.every((month) => this.months.has(month))) return 0;
    const { existing, missing, prunedBefore } = await this.db.transaction((tx) => this.makeMissing(wanted, tx));
    this.months = new Set([...existing, ...missing]);
    this.prunedBefore = prunedBefore;
    return missing.length;
  }

  /** How old an event may be that comes now: as events are kept, and no older than what is gone already. */
  async oldest(): Promise<Date> {
    this.prunedBefore ??= (await this.repository.findSealedBefore()) ?? NEVER;
    const retained = this.clock.now().getTime() - this.config.usageRetentionDays * DAY_MS;
    return new Date(Math.max(retained, this.prunedBefore.getTime()));
  }

  /** What is remembered here is not so any more. */
  forget(): void {
    this.months = new Set();
    this.prunedBefore = undefined;
  }

  private async makeMissing(wanted: Month[], tx: Queryable): Promise<{ existing: Month[]; missing: Month[]; prunedBefore: Date }> {
    await this.repository.lock(LOCK_WAIT_MS, tx);
    const existing = await this.repository.listMonths(tx);
    const prunedBefore = (await this.repository.findSealedBefore(tx)) ?? NEVER;
    const missing = wanted.filter((month) => !existing.includes(month));
    if (missing.some((month) => startOf(month) < prunedBefore)) throw new MonthIsSealed();
    for (const month of missing) await this.repository.create(month, tx);
    return { existing, missing, prunedBefore };
  }

  private async prepare(): Promise<number> {
    const now = this.clock.now();
    return this.ensure([now, startOf(monthOf(now) + 1)]);
  }
}

const NEVER = new Date(0);
