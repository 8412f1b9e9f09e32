import type { Owner } from '../../owners/owner.js';
import type { UsageAlert } from '../alerts/usage-alerts.table.js';
import { MAX_FUTURE_MS } from '../events/usage-event.js';
import type { UsageHold } from '../holds/usage-holds.table.js';
import { QuotaBalance } from '../quotas/quota-balance.js';
import type { UsagePeriod } from '../quotas/usage-period.js';
import type { QuotaKey, UsageQuota } from '../quotas/usage-quotas.table.js';
import { ledgerKey, type LedgerSnapshot } from './ledger-snapshot.js';
import { eventsIn, type Operation, type Quota } from './operations.js';

export interface LockedQuota {
  row: UsageQuota;
  balance: QuotaBalance;
  /** Its usage counts against the caps of these balances: its own, and those of later periods that include its usage. */
  counting?: QuotaBalance[];
}

export class LockedQuotas {
  private readonly quotas: Map<string, LockedQuota>;
  private latestPeriod?: UsagePeriod;
  private latest?: LockedQuota;

  constructor(private readonly snapshot: LedgerSnapshot) {
    const now = snapshot.now.getTime();
    this.quotas = new Map(
      snapshot.quotas.map((row) => {
        const { limits } = snapshot.owners.get(row.ownerId)!.entitlement.plan;
        const { used, overrun, held, alerted, requestsOwed, tokensOwed, owedAt } = row;
        const state = { used, overrun, held, alerted, requestsOwed, tokensOwed, owedAt };
        return [ledgerKey(row.ownerId, row.periodStart), { row, balance: new QuotaBalance(state, limits, now) }];
      }),
    );
    this.linkCarriedPeriods();
    for (const hold of snapshot.expiredHolds) this.ofHold(hold).releaseHold(hold.tokens);
  }

  at(owner: Owner, moment: Date): LockedQuota {
    const period = this.snapshot.owners.get(owner.id)!.periodAt(moment);
    // Most events of an operation fall into the same period, which is one object of its owner.
    if (period !== this.latestPeriod) {
      this.latestPeriod = period;
      this.latest = this.quotas.get(ledgerKey(owner.id, period.start));
    }
    return this.latest!;
  }

  exceeds(owner: Owner, moment: Date, tokens: number): boolean {
    const quota = this.at(owner, moment);
    quota.counting ??= this.countingOf(owner, moment);
    return quota.counting.some((balance) => balance.exceeds(tokens));
  }

  ofHold({ ownerId, periodStart }: Pick<UsageHold, 'ownerId' | 'periodStart'>): QuotaBalance {
    return this.quotas.get(ledgerKey(ownerId, periodStart))!.balance;
  }

  current(owner: Owner): Quota {
    const { now, owners } = this.snapshot;
    return quotaOf(owners.get(owner.id)!.periodAt(now), this.at(owner, now).balance, now);
  }

  takeAlerts(): UsageAlert[] {
    const { now: createdAt } = this.snapshot;
    return [...this.quotas.values()].flatMap(({ balance, row: { ownerId, ownerKind, periodStart } }) =>
      balance.takeAlerts().map((threshold) => {
        const { used } = balance.total;
        return { ownerId, ownerKind, periodStart, threshold, createdAt, used, limit: balance.limit! };
      }),
    );
  }

  changedRows(): UsageQuota[] {
    return [...this.quotas.values()].filter(isChanged).map(({ balance, row }) => ({ ...row, ...balance.state }));
  }

  private countingOf(owner: Owner, moment: Date): QuotaBalance[] {
    const metered = this.snapshot.owners.get(owner.id)!;
    const period = metered.periodAt(moment);
    return [period, ...metered.carryTargets(period)].map(({ start }) => this.quotas.get(ledgerKey(owner.id, start))!.balance);
  }

  private linkCarriedPeriods(): void {
    for (const { row, balance } of this.quotas.values()) {
      const owner = this.snapshot.owners.get(row.ownerId)!;
      const period = owner.periodAt(row.periodStart);
      // A quota that was locked only for a hold may belong to another subscription.
      if (period.start.getTime() !== row.periodStart.getTime()) continue;
      for (const { start } of owner.carrySources(period)) {
        const earlier = this.quotas.get(ledgerKey(row.ownerId, start));
        if (earlier !== undefined) balance.addCarried(earlier.balance);
      }
    }
  }
}

export function quotaOf({ start, end }: UsagePeriod, balance: QuotaBalance, asOf: Date): Quota {
  const { limit, isHard, remaining, total, carried } = balance;
  return { asOf, start, end, ...total, carried: carried.used, limit, isHard, remaining };
}

/** The quotas that operations may touch. They are locked before anything is decided. */
export function quotaKeysOf(
  operations: Operation[],
  { now, oldestAcceptedTime, owners }: Pick<LedgerSnapshot, 'now' | 'oldestAcceptedTime' | 'owners'>,
): QuotaKey[] {
  const keys = new Map<string, QuotaKey>();
  const [oldest, latest] = [oldestAcceptedTime.getTime(), now.getTime() + MAX_FUTURE_MS];
  for (const operation of operations) {
    const { owner } = operation;
    const metered = owners.get(owner.id)!;
    const add = (periodStart: Date, periodEnd: Date) =>
      keys.set(ledgerKey(owner.id, periodStart), { ownerId: owner.id, ownerKind: owner.kind, periodStart, periodEnd });
    let added: UsagePeriod | undefined;
    const addAt = (moment: Date) => {
      const period = metered.periodAt(moment);
      if (period === added) return;
      added = period;
      for (const target of [period, ...metered.carryTargets(period)])
        for (const { start, end } of [target, ...metered.carrySources(target)]) add(start, end);
    };
    addAt(now);
    for (const { occurredAt } of eventsIn(operation)) {
      const moment = occurredAt.getTime();
      if (moment >= oldest && moment <= latest) addAt(occurredAt);
    }
    // A hold belongs to the period it was made in, whatever the plan has become since.
    if ('hold' in operation && 'periodStart' in operation.hold) {
      const { periodStart } = operation.hold;
      if (!keys.has(ledgerKey(owner.id, periodStart))) add(periodStart, metered.periodAt(periodStart).end);
    }
  }
  return [...keys.values()];
}

function isChanged({ balance: { state }, row }: LockedQuota): boolean {
  return (Object.keys(state) as (keyof typeof state)[]).some((name) => state[name] !== row[name]);
}
