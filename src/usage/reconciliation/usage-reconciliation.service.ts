import { Inject, Injectable } from '@nestjs/common';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { Clock } from '../../platform/time/clock.service.js';
import { LAST_MOMENT } from '../../platform/time/moments.js';
import { Reconciler } from '../../sync/reconciler.service.js';
import type {
  Comparison,
  Finding,
  Reconciliation,
  ReconciliationOptions,
  ReconciliationSource,
  ReconciliationSummary,
} from '../../sync/reconciliation.port.js';
import { UsageRollupsRepository } from '../rollups/usage-rollups.repository.js';
import { PartitionedUsageRepository } from '../partitions/partitioned-usage.repository.js';
import { RollupReconciliationRepository } from './rollup-reconciliation.repository.js';
import { ComparedUsageRepository } from './compared-usage.repository.js';
import { ScreenedUsageRepository } from './screened-usage.repository.js';
import { compareQuotas, describe, missingFrom, type OwnerDifferences } from './usage-differences.js';
import { groupsOf, rangesOf } from './usage-ranges.js';

/** Bounds of one statement, so that none takes long. */
const EVENTS_AT_ONCE = 200_000;
const IDS_AT_ONCE = 500_000;
/** Of one owner, by name. The others are counted. */
const IDS_LISTED = 1000;
const OWNERS_AT_ONCE = 500;
const WRITTEN_AT_ONCE = 5000;

/** Compares rollups, quotas and ids with the events, and sums of rollups with the rollups, one owner at a time in one snapshot (docs/decisions/0018). */
@Injectable()
export class UsageReconciliation implements Reconciliation, ReconciliationSource {
  constructor(
    private readonly screened: ScreenedUsageRepository,
    private readonly repository: ComparedUsageRepository,
    private readonly sums: RollupReconciliationRepository,
    private readonly rollups: UsageRollupsRepository,
    private readonly partitions: PartitionedUsageRepository,
    private readonly reconciler: Reconciler,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** @param options `only` is the id of an owner */
  async reconcile(options?: ReconciliationOptions): Promise<ReconciliationSummary> {
    return this.reconciler.reconcile([this], options);
  }

  async *comparisons({ only, signal }: ReconciliationOptions): AsyncGenerator<Comparison, void> {
    if (only !== undefined) return yield () => this.compare(only);
    for (let owners = await this.screened.listOwners(undefined, OWNERS_AT_ONCE); owners.length > 0;) {
      for (const group of groupsOf(owners, EVENTS_AT_ONCE)) {
        signal?.throwIfAborted();
        // Most differ in nothing: what differs is compared by itself.
        for (const ownerId of await this.screen(group)) yield () => this.compare(ownerId);
      }
      owners = await this.screened.listOwners(owners.at(-1)!.id, OWNERS_AT_ONCE);
    }
  }

  /** A large owner is compared in ranges. */
  private async screen(group: { id: string; events: number }[]): Promise<string[]> {
    const ids = group.map(({ id }) => id);
    if (group[0]!.events > EVENTS_AT_ONCE) return ids;
    return this.inSnapshot(async (prunedBefore, tx) => this.screened.listDiffering(ids, prunedBefore, tx));
  }

  private async compare(ownerId: string): Promise<Finding[]> {
    return describe(ownerId, await this.read(ownerId), (tx) => this.repair(ownerId, tx));
  }

  private async read(ownerId: string): Promise<OwnerDifferences> {
    return this.inSnapshot(async (prunedBefore, tx) => this.readIn(ownerId, prunedBefore, tx));
  }

  private async inSnapshot<T>(read: (prunedBefore: Date, tx: Queryable) => Promise<T>): Promise<T> {
    return this.db.transaction(
      async (tx) => {
        await this.partitions.preventDrops(tx);
        return read(await this.prunedBefore(tx), tx);
      },
      { isolationLevel: 'repeatable read', accessMode: 'read only' },
    );
  }

  private async prunedBefore(tx: Queryable): Promise<Date> {
    return (await this.partitions.findPrunedBefore(tx)) ?? new Date(0);
  }

  private async readIn(ownerId: string, from: Date, tx: Queryable): Promise<OwnerDifferences> {
    const known = await this.repository.listHours(ownerId, from, tx);
    const hours: OwnerDifferences['hours'] = [];
    const missingIds: OwnerDifferences['missingIds'] = { count: 0, some: [] };
    const sums: Parameters<typeof compareQuotas>[1] = await this.repository.sumLiveHolds(ownerId, from, tx);
    let events = await this.repository.countSealed(ownerId, from, tx);
    for (const range of rangesOf(known, { from, to: new Date(LAST_MOMENT), most: EVENTS_AT_ONCE })) {
      hours.push(...(await this.repository.compareHours(ownerId, range, tx)));
      const missing = await this.repository.findMissingIds(ownerId, range, IDS_LISTED, tx);
      missingIds.count += missing.count;
      missingIds.some.push(...missing.some.slice(0, IDS_LISTED - missingIds.some.length));
      const periods = await this.repository.sumPeriods(ownerId, range, tx);
      for (const period of periods) events += period.events;
      sums.push(...periods.filter(({ periodStart }) => periodStart >= from));
    }
    const quotas = compareQuotas(await this.repository.listQuotas(ownerId, from, tx), sums);
    const stored = (await this.countIds(ownerId, tx)) + missingIds.count;
    const differing: OwnerDifferences['sums'] = [];
    for (const month of await this.sums.listMonths(ownerId, tx)) differing.push(...(await this.sums.compare(ownerId, month, tx)));
    return { hours, sums: differing, quotas, missingIds, ids: { stored, actual: events } };
  }

  private async countIds(ownerId: string, tx: Queryable): Promise<number> {
    let total = 0;
    for (let after: string | null = ''; after !== null;) {
      const { count, last } = await this.repository.countIds(ownerId, { after, limit: IDS_AT_ONCE }, tx);
      total += count;
      after = count < IDS_AT_ONCE ? null : last;
    }
    return total;
  }

  /**
   * Adds the difference instead of overwriting the value: concurrent writers change both sides, so it stays right
   * without blocking them. The lock keeps a second repair from adding it twice; the comparison is read under it.
   */
  private async repair(ownerId: string, tx: Queryable): Promise<void> {
    await this.repository.lockRepairs(ownerId, tx);
    const { quotas, hours, missingIds } = await this.read(ownerId);
    const now = this.clock.now();
    // Quotas first, and each kind in the order of its key: recording takes its locks in this order.
    for (const { periodStart, stored, actual } of quotas)
      await this.repository.addToQuota(ownerId, periodStart, missingFrom(stored, actual), now, tx);
    const missing = hours.map(({ stored, actual, ...key }) => ({ ownerId, ...key, ...missingFrom(stored, actual) }));
    for (const part of inParts(missing)) await this.rollups.add(part, now, tx);
    for (const part of inParts(missing.map(({ hour }) => hour))) await this.repository.deleteEmptyRollups(ownerId, part, tx);
    for (const month of await this.sums.listMonths(ownerId, tx)) await this.sums.repair(ownerId, month, tx);
    if (missingIds.count > 0) await this.repository.insertMissingIds(ownerId, await this.prunedBefore(tx), now, tx);
  }
}

function inParts<T>(all: T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / WRITTEN_AT_ONCE) }, (_, part) =>
    all.slice(part * WRITTEN_AT_ONCE, (part + 1) * WRITTEN_AT_ONCE),
  );
}
