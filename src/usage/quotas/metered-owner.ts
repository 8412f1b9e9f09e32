import type { Owner } from '../../owners/owner.js';
import type { Entitlement } from '../../subscriptions/entitlements/entitlements.service.js';
import { monthAt, type UsagePeriod } from './usage-period.js';
import { UsageTimeline } from './usage-timeline.js';

/** An owner with the plan in force and the usage periods that follow from it. */
export class MeteredOwner {
  private readonly timeline?: UsageTimeline;
  private latest?: UsagePeriod;
  /** `latest` is the period of every moment from `latestFrom` up to `latestTo`, in milliseconds. */
  private latestFrom = 0;
  private latestTo = 0;

  /** @param createdAt anchor of the free plan's months */
  constructor(
    readonly owner: Owner,
    readonly entitlement: Entitlement,
    private readonly createdAt: Date,
  ) {
    if (entitlement.periods !== undefined) this.timeline = new UsageTimeline(entitlement.periods);
  }

  /**
   * Periods follow the subscription that grants the plan; moments before it follow the free plan. A plan change within
   * a subscription keeps the usage; another subscription starts periods of its own.
   */
  periodAt(at: Date): UsagePeriod {
    const moment = at.getTime();
    // Nearly all events fall into the same period. As numbers, because comparing dates takes ten times as long.
    if (this.latest !== undefined && moment >= this.latestFrom && moment < this.latestTo) return this.latest;
    const isPaid = this.isPaid(at);
    const period = isPaid ? this.timeline!.monthAt(at) : monthAt(this.createdAt, at);
    const paidFrom = this.timeline?.start.getTime() ?? Infinity;
    this.latestFrom = isPaid ? Math.max(period.start.getTime(), paidFrom) : period.start.getTime();
    this.latestTo = isPaid ? period.end.getTime() : Math.min(period.end.getTime(), paidFrom);
    return (this.latest = period);
  }

  /** Earlier periods that a change cut short: their usage counts in this one too. */
  carrySources(period: UsagePeriod): UsagePeriod[] {
    if (!this.isPaid(period.start)) return [];
    return this.timeline!.carrySources(period).map((start) => this.timeline!.monthAt(start));
  }

  /** Later periods that count the usage of this one too. */
  carryTargets(period: UsagePeriod): UsagePeriod[] {
    return this.isPaid(period.start) ? this.timeline!.carryTargets(period) : [];
  }

  /** Whether a period of the subscription starts here, by the current rule or by the one before decision 0031. */
  isSubscriptionPeriod(start: Date): boolean {
    if (!this.isPaid(start)) return false;
    const starts = [this.timeline!.monthAt(start).start, monthAt(this.formerAnchor!, start).start];
    return starts.some((one) => one.getTime() === start.getTime());
  }

  private isPaid(at: Date): boolean {
    return this.timeline !== undefined && at >= this.timeline.start;
  }

  /** Months were once counted from here, whatever the provider's period was. */
  private get formerAnchor(): Date | undefined {
    const { granting } = this.entitlement;
    return granting && (granting.startedAt ?? granting.currentPeriodStart ?? granting.createdAt);
  }
}
