import { Injectable } from '@nestjs/common';
import { Clock } from '../../platform/time/clock.service.js';
import { UsageLedger } from '../ledger/usage-ledger.service.js';
import { ComparedUsageRepository, type CurrentQuota } from './compared-usage.repository.js';

export interface ExceededCap extends CurrentQuota {
  limit: number;
  /** The subscription has changed within the period, so that the limit may have been higher before. */
  isExplained: boolean;
}

const BATCH = 500;

/** Finds hard caps that were passed otherwise than by the overrun of holds. */
@Injectable()
export class UsageCaps {
  constructor(
    private readonly repository: ComparedUsageRepository,
    private readonly ledger: UsageLedger,
    private readonly clock: Clock,
  ) {}

  async *listExceeded(signal?: AbortSignal): AsyncGenerator<ExceededCap, void> {
    const now = this.clock.now();
    for (let after: string | undefined; ;) {
      signal?.throwIfAborted();
      const list = async () => this.repository.listCurrentQuotas(now, { after, limit: BATCH });
      const quotas = await list();
      // Looks again: the plan may have changed after the quotas were read.
      if ((await this.exceededOf(quotas, now)).length > 0) yield* await this.exceededOf(await list(), now);
      if (quotas.length < BATCH) return;
      after = quotas.at(-1)!.ownerId;
    }
  }

  private async exceededOf(quotas: CurrentQuota[], now: Date): Promise<ExceededCap[]> {
    const owners = await this.ledger.loadOwners(
      quotas.map(({ ownerKind, ownerId }) => ({ owner: { kind: ownerKind, id: ownerId } })),
      now,
    );
    const exceeded: ExceededCap[] = [];
    for (const quota of quotas) {
      const metered = owners.get(quota.ownerId)!;
      const period = metered.periodAt(now);
      const { tokensPerPeriod: limit, tokenLimit } = metered.entitlement.plan.limits;
      const isOfPlan = period.start.getTime() === quota.periodStart.getTime();
      if (!isOfPlan || tokenLimit !== 'hard' || limit === null || quota.used <= limit + quota.overrun) continue;
      const isCarried = metered.carrySources(period).length > 0;
      exceeded.push({ ...quota, limit, isExplained: isCarried || quota.subscriptionChanged });
    }
    return exceeded;
  }
}
