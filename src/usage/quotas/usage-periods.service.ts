import { Inject, Injectable } from '@nestjs/common';
import { DATABASE, type Database } from '../../platform/database/database.js';
import type { MeteredOwner } from './metered-owner.js';
import type { UsagePeriod } from './usage-period.js';
import { type QuotaOverlap, UsageQuotasRepository } from './usage-quotas.repository.js';
import type { QuotaKey } from './usage-quotas.table.js';

/**
 * Creates the quotas of periods. A period may become known after its usage was counted in an earlier period of the same
 * subscription: after a late provider event, or from a version before decision 0031. Then the usage moves.
 */
@Injectable()
export class UsagePeriods {
  constructor(
    private readonly repository: UsageQuotasRepository,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  async createQuotas(keys: QuotaKey[], owners: Map<string, MeteredOwner>): Promise<void> {
    const overlaps = await this.listOwnOverlaps(keys, owners);
    if (overlaps.length === 0) await this.repository.insert(keys);
    else await this.move(keys, overlaps);
  }

  /** Returns false if there was no usage to move. */
  async moveUsageInto({ start, end }: UsagePeriod, metered: MeteredOwner): Promise<boolean> {
    const { owner } = metered;
    const key = { ownerId: owner.id, ownerKind: owner.kind, periodStart: start, periodEnd: end };
    const overlaps = await this.listOwnOverlaps([key], new Map([[owner.id, metered]]));
    if (overlaps.length > 0) await this.move([key], overlaps);
    return overlaps.length > 0;
  }

  /** Periods of the free plan and of other subscriptions keep their counts. */
  private async listOwnOverlaps(keys: QuotaKey[], owners: Map<string, MeteredOwner>): Promise<QuotaOverlap[]> {
    const ofSubscriptions = keys.filter(({ ownerId, periodStart }) => owners.get(ownerId)!.isSubscriptionPeriod(periodStart));
    if (ofSubscriptions.length === 0) return [];
    const overlaps = await this.repository.listOverlapping(ofSubscriptions);
    return overlaps.filter(({ ownerId, from }) => owners.get(ownerId)!.isSubscriptionPeriod(from));
  }

  private async move(keys: QuotaKey[], overlaps: QuotaOverlap[]): Promise<void> {
    const targets = new Map(keys.map((key) => [keyOf(key.ownerId, key.periodStart), key]));
    await this.db.transaction(async (tx) => {
      // No other transaction sees the new quotas, so only the old ones need the common lock order.
      await this.repository.insert(keys, tx);
      const touched = new Map(
        overlaps.flatMap((overlap) => {
          const target = targets.get(keyOf(overlap.ownerId, overlap.to))!;
          return [target, { ...target, periodStart: overlap.from }].map((key) => [keyOf(key.ownerId, key.periodStart), key]);
        }),
      );
      await this.repository.lock([...touched.values()], tx);
      for (const overlap of overlaps)
        await this.repository.moveUsage(overlap, targets.get(keyOf(overlap.ownerId, overlap.to))!.periodEnd, tx);
    });
  }
}

function keyOf(ownerId: string, start: Date): string {
  return `${ownerId} ${start.getTime()}`;
}
