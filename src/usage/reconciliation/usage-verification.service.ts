import { Inject, Injectable } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { LAST_MOMENT } from '../../platform/time/moments.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isRetryable } from '../../platform/database/database-errors.js';
import { ComparedUsageRepository } from './compared-usage.repository.js';
import { PartitionedUsageRepository } from '../partitions/partitioned-usage.repository.js';
import { compareQuotas, describe, type Difference, type Findings, isRepairable, missingOf } from './usage-differences.js';
import { rangesOf } from './usage-ranges.js';
import { UsageRepository } from '../ledger/usage.repository.js';

interface Summary {
  /** How many of each kind. */
  counts: Map<Difference['kind'], number>;
  found: number;
  repaired: number;
}

interface Options {
  /** Only this one's. */
  ownerId?: string;
  /** Brings rollups, quotas and ids in line with the events. */
  fix?: boolean;
  onDifference?: (difference: Difference & { isRepaired: boolean }) => void;
}

/** Other transactions may get in a repair's way. */
const TRIES = 3;
/** What one statement reads or writes, so that none takes long. */
const EVENTS_AT_ONCE = 200_000;
const IDS_AT_ONCE = 500_000;
const WRITTEN_AT_ONCE = 5000;

/**
 * Events, rollups, quotas and ids are written together and must agree. Compares them, owner by owner, each in one
 * snapshot; what does not agree with the events is repaired. What is sealed has no events any more: its hours, and
 * periods that begin before them, are left alone (docs/decisions/0018).
 */
@Injectable()
export class UsageVerification {
  constructor(
    private readonly repository: ComparedUsageRepository,
    private readonly usage: UsageRepository,
    private readonly partitions: PartitionedUsageRepository,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Tells every difference, and repairs it where that is asked for and possible. */
  async verify({ ownerId: only, fix = false, onDifference }: Options = {}): Promise<Summary> {
    const summary: Summary = { counts: new Map(), found: 0, repaired: 0 };
    let ownerId = only ?? (await this.repository.findOwnerAfter());
    while (ownerId !== undefined) {
      for (const difference of await this.verifyOwner(ownerId, fix)) {
        summary.counts.set(difference.kind, (summary.counts.get(difference.kind) ?? 0) + 1);
        summary.found += 1;
        if (difference.isRepaired) summary.repaired += 1;
        onDifference?.(difference);
      }
      ownerId = only === undefined ? await this.repository.findOwnerAfter(ownerId) : undefined;
    }
    return summary;
  }

  private async verifyOwner(ownerId: string, fix: boolean): Promise<(Difference & { isRepaired: boolean })[]> {
    const found = describe(ownerId, await this.compare(ownerId));
    const left = fix ? await this.leftAfterRepair(ownerId, found) : found;
    const stillThere = new Set(left.map(({ kind, name }) => `${kind} ${name}`));
    return found.map((difference) => ({ ...difference, isRepaired: !stillThere.has(`${difference.kind} ${difference.name}`) }));
  }

  private async leftAfterRepair(ownerId: string, found: Difference[]): Promise<Difference[]> {
    let left = found;
    for (let tries = 0; left.some(isRepairable) && tries < TRIES; tries += 1) {
      await this.repair(ownerId);
      left = describe(ownerId, await this.compare(ownerId));
    }
    return left;
  }

  private async compare(ownerId: string): Promise<Findings> {
    return this.db.transaction((tx) => this.compareIn(ownerId, tx), { isolationLevel: 'repeatable read', accessMode: 'read only' });
  }

  private async compareIn(ownerId: string, tx: Queryable): Promise<Findings> {
    await this.partitions.keepPartitions(tx);
    const from = (await this.partitions.findSealedBefore(tx)) ?? new Date(0);
    const known = await this.repository.listHours(ownerId, from, tx);
    const hours: Findings['hours'] = [];
    const missingIds: string[] = [];
    const sums: Parameters<typeof compareQuotas>[1] = await this.repository.sumLiveHolds(ownerId, from, tx);
    let events = await this.repository.countSealed(ownerId, from, tx);
    for (const range of rangesOf(known, { from, to: new Date(LAST_MOMENT), most: EVENTS_AT_ONCE })) {
      hours.push(...(await this.repository.compareHours(ownerId, range, tx)));
      missingIds.push(...(await this.repository.listMissingIds(ownerId, range, tx)));
      const periods = await this.repository.sumPeriods(ownerId, range, tx);
      for (const period of periods) events += period.events;
      sums.push(...periods.filter(({ periodStart }) => periodStart >= from));
    }
    const quotas = compareQuotas(await this.repository.listQuotas(ownerId, from, tx), sums);
    return { hours, quotas, missingIds, ids: { told: (await this.countIds(ownerId, tx)) + missingIds.length, counted: events } };
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
   * Adds what is missing, rather than writing what should be there: whoever writes at the same time changes both
   * sides alike, so the difference stays what it is, and nobody has to wait for a busy owner to pause. Only another
   * repair would add it once more.
   */
  private async repair(ownerId: string): Promise<void> {
    try {
      await this.db.transaction(async (tx) => {
        await this.repository.lockRepairs(ownerId, tx);
        await this.write(ownerId, await this.compare(ownerId), tx);
      });
    } catch (error) {
      // Tried again, with what differs then.
      if (!isRetryable(error)) throw error;
    }
  }

  /** Quotas first, and each kind in the order of its key, as those take their locks who record usage. */
  private async write(ownerId: string, { quotas, hours, missingIds }: Findings, tx: Queryable): Promise<void> {
    const now = this.clock.now();
    for (const { periodStart, told, counted } of quotas)
      await this.repository.addToQuota(ownerId, periodStart, missingOf(told, counted), now, tx);
    const missing = hours.map(({ told, counted, ...key }) => ({ ownerId, ...key, ...missingOf(told, counted) }));
    for (const some of inParts(missing)) await this.usage.addToRollups(some, now, tx);
    const touched = missing.map(({ hour }) => hour);
    for (const some of inParts(touched)) await this.repository.deleteEmptyRollups(ownerId, some, tx);
    for (const some of inParts(missingIds)) await this.repository.insertIds(ownerId, some, now, tx);
  }
}

function inParts<T>(all: T[]): T[][] {
  return Array.from({ length: Math.ceil(all.length / WRITTEN_AT_ONCE) }, (_, part) =>
    all.slice(part * WRITTEN_AT_ONCE, (part + 1) * WRITTEN_AT_ONCE),
  );
}
