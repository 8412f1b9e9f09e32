import type { Owner } from '../../owners/owner.js';
import type { Entitlement } from '../../subscriptions/entitlements/entitlements.service.js';
import { monthAt, type UsagePeriod } from './usage-period.js';
import { UsageTimeline } from './usage-timeline.js';

/** An owner, and what their plan is now. */
export class MeteredOwner {
  private readonly timeline?: UsageTimeline;
  private latest?: UsagePeriod;

  /** @param createdAt from when on the periods of the free plan are counted */
  constructor(
    readonly owner: Owner,
    readonly entitlement: Entitlement,
    private readonly createdAt: Date,
  ) {
    if (entitlement.periods !== undefined) this.timeline = new UsageTimeline(entitlement.periods);
  }

  /**
   * The period that counts a moment: of the subscription that grants the plan, and before it began of the free plan.
   * So a change of plan within one subscription changes the limit and keeps what was used, and another subscription,
   * or none, counts in periods of its own.
   */
  periodAt(at: Date): UsagePeriod {
    const { latest } = this;
    // Nearly every moment is in the same one.
    if (latest !== undefined && at >= latest.start && at < latest.end && this.isPaid(at) === this.isPaid(latest.start)) return latest;
    return (this.latest = this.isPaid(at) ? this.timeline!.monthAt(at) : monthAt(this.createdAt, at));
  }

  /** Earlier periods that a change cut short, and whose usage counts in this one too. */
  carriedInto(period: UsagePeriod): UsagePeriod[] {
    if (!this.isPaid(period.start)) return [];
    return this.timeline!.carriedInto(period).map((start) => this.timeline!.monthAt(start));
  }

  /** Later periods in which what is used in this one counts too. */
  carriersOf(period: UsagePeriod): UsagePeriod[] {
    return this.isPaid(period.start) ? this.timeline!.carriersOf(period) : [];
  }

  /** Whether the subscription counted usage in a period of this start, now or by the rule before decision 0031. */
  hasCountedFrom(start: Date): boolean {
    if (!this.isPaid(start)) return false;
    const starts = [this.timeline!.monthAt(start).start, monthAt(this.formerAnchor!, start).start];
    return starts.some((one) => one.getTime() === start.getTime());
  }

  private isPaid(at: Date): boolean {
    return this.timeline !== undefined && at >= this.timeline.start;
  }

  /** Months were counted from it, whatever the provider's period was. */
  private get formerAnchor(): Date | undefined {
    const { granting } = this.entitlement;
    return granting && (granting.startedAt ?? granting.currentPeriodStart ?? granting.createdAt);
  }
}
