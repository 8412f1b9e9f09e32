import { Inject, Injectable } from '@nestjs/common';
import { DATABASE, type Database } from '../../platform/database/database.js';
import type { MeteredOwner } from './metered-owner.js';
import type { UsagePeriod } from './usage-period.js';
import { type Overlap, type QuotaKey, UsageRepository } from '../ledger/usage.repository.js';

/**
 * Makes the quotas of periods. What was used in a period before anybody knew of it was counted in an earlier one of
 * the same subscription, and moves: after a late event of the provider, or from a version before decision 0031.
 */
@Injectable()
export class UsagePeriods {
  constructor(
    private readonly repository: UsageRepository,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Makes those that are missing. */
  async open(keys: QuotaKey[], customers: Map<string, MeteredOwner>): Promise<void> {
    const overlaps = await this.listOwnOverlaps(keys, customers);
    if (overlaps.length === 0) await this.repository.insertQuotas(keys);
    else await this.move(keys, overlaps);
  }

  /** Moves what is to move into a period; does nothing, and answers false, where there is nothing. */
  async settle(customer: MeteredOwner, { start, end }: UsagePeriod): Promise<boolean> {
    const { owner } = customer;
    const key = { ownerId: owner.id, ownerKind: owner.kind, periodStart: start, periodEnd: end };
    const overlaps = await this.listOwnOverlaps([key], new Map([[owner.id, customer]]));
    if (overlaps.length > 0) await this.move([key], overlaps);
    return overlaps.length > 0;
  }

  /** Free periods, and those of other subscriptions, keep what they counted. */
  private async listOwnOverlaps(keys: QuotaKey[], customers: Map<string, MeteredOwner>): Promise<Overlap[]> {
    const ofSubscriptions = keys.filter(({ ownerId, periodStart }) => customers.get(ownerId)!.hasCountedFrom(periodStart));
    if (ofSubscriptions.length === 0) return [];
    const overlaps = await this.repository.listOverlapping(ofSubscriptions);
    return overlaps.filter(({ ownerId, from }) => customers.get(ownerId)!.hasCountedFrom(from));
  }

  private async move(keys: QuotaKey[], overlaps: Overlap[]): Promise<void> {
    const ends = new Map(keys.map((key) => [keyOf(key.ownerId, key.periodStart), key]));
    await this.db.transaction(async (tx) => {
      // Nobody else sees, or waits for, those that are new; the others are locked in the order in which all lock them.
      await this.repository.insertQuotas(keys, tx);
      const touched = new Map(
        overlaps.flatMap((overlap) => {
          const key = ends.get(keyOf(overlap.ownerId, overlap.to))!;
          return [key, { ...key, periodStart: overlap.from }].map((one) => [keyOf(one.ownerId, one.periodStart), one]);
        }),
      );
      await this.repository.lockQuotas([...touched.values()], tx);
      for (const overlap of overlaps) await this.repository.moveUsage(overlap, ends.get(keyOf(overlap.ownerId, overlap.to))!.periodEnd, tx);
    });
  }
}

function keyOf(ownerId: string, start: Date): string {
  return `${ownerId} ${start.getTime()}`;
}
