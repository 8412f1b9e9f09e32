import type { Owner } from '../common/owner.js';
import type { Entitlement } from '../subscriptions/subscriptions.service.js';
import { periodAt, type UsagePeriod } from './usage-period.js';

/** An owner, and what their plan is now. */
export class Customer {
  private readonly anchor: Date;
  private latest?: UsagePeriod;

  /** @param createdAt from when on the periods of the free plan are counted */
  constructor(
    readonly owner: Owner,
    readonly entitlement: Entitlement,
    private readonly createdAt: Date,
  ) {
    const { granting } = entitlement;
    this.anchor = granting === undefined ? createdAt : (granting.startedAt ?? granting.currentPeriodStart ?? granting.createdAt);
  }

  /**
   * The period that counts a moment: of the subscription that grants the plan, and before it began of the free plan.
   * So a change of plan within one subscription changes the limit and keeps what was used, and another subscription,
   * or none, counts in periods of its own.
   */
  periodAt(at: Date): UsagePeriod {
    const [moment, anchor] = [at.getTime(), this.anchor.getTime()];
    const isEarlier = moment < anchor;
    const { latest } = this;
    // Nearly every moment is of the same one.
    if (latest !== undefined && isIn(latest, moment) && isEarlier === latest.start.getTime() < anchor) return latest;
    return (this.latest = periodAt(isEarlier ? this.createdAt : this.anchor, at));
  }
}

function isIn({ start, end }: UsagePeriod, moment: number): boolean {
  return moment >= start.getTime() && moment < end.getTime();
}
