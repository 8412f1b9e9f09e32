import type { BillingPeriod, BillingPeriods } from '../../subscriptions/sync/billing-provider.port.js';
import { addMonths, monthAt, type UsagePeriod } from './usage-period.js';
import { DAY_MS } from '../../platform/time/durations.js';

const LONGEST_MONTH_MS = 31 * DAY_MS;
/** A shorter remainder at the end of a billing period belongs to the month before it. */
const MIN_REMAINDER_MS = 15 * DAY_MS;

export const LONGEST_USAGE_MONTH_MS = LONGEST_MONTH_MS + MIN_REMAINDER_MS;

/** The usage months of a subscription: its billing periods, cut into months, without gaps or overlaps (docs/decisions/0031). */
export class UsageTimeline {
  private readonly periods: BillingPeriod[];
  private readonly isLastFinal: boolean;

  /** @param periods sorted by start; a later period cuts an overlapping earlier one short */
  constructor({ list, isLastFinal }: BillingPeriods) {
    this.periods = list;
    this.isLastFinal = isLastFinal;
  }

  get start(): Date {
    return this.periods[0]!.start;
  }

  /** @param at not before `start` */
  monthAt(at: Date): UsagePeriod {
    const index = this.indexAt(at);
    const { start, end } = this.plannedMonth(index, at);
    const next = this.periods[index + 1]?.start;
    return next !== undefined && next < end ? { start, end: next, isCut: true } : { start, end };
  }

  /** Starts of earlier months that a change of plan or interval cut short: their usage carries over (docs/decisions/0032). */
  carrySources({ start }: UsagePeriod): Date[] {
    return this.periods.slice(0, this.indexAt(start)).flatMap((_, index) => {
      const month = this.plannedMonth(index, start);
      const hasBegun = month.start < this.periods[index + 1]!.start;
      return hasBegun && isRunning(month, start) ? [month.start] : [];
    });
  }

  carryTargets(month: UsagePeriod): UsagePeriod[] {
    const carriers: UsagePeriod[] = [];
    if (month.isCut !== true) return carriers;
    const planned = this.plannedMonth(this.indexAt(month.start), month.start);
    for (let at = month.end; at < planned.end;) {
      const later = this.monthAt(at);
      if (later.end <= at) break;
      if (this.carrySources(later).some((start) => start.getTime() === month.start.getTime())) carriers.push(later);
      at = later.end;
    }
    return carriers;
  }

  private indexAt(at: Date): number {
    return Math.max(
      0,
      this.periods.findLastIndex(({ start }) => start <= at),
    );
  }

  /** The month before any cut. After the last period, months continue until a renewal is known. */
  private plannedMonth(index: number, at: Date): UsagePeriod {
    const period = this.periods[index]!;
    if (at < period.end) return monthIn(period, at);
    const isFinal = this.isLastFinal && index === this.periods.length - 1;
    return isFinal ? monthIn(period, new Date(period.end.getTime() - 1)) : monthAfter(period, at);
  }
}

/** Months are counted from the period's start; the last one ends with the period. */
function monthIn(period: BillingPeriod, at: Date): UsagePeriod {
  const isRemainder = (start: Date) => period.end.getTime() - start.getTime() < MIN_REMAINDER_MS;
  const { start, end } = monthAt(period.start, at);
  if (start > period.start && isRemainder(start))
    return { start: monthAt(period.start, new Date(start.getTime() - 1)).start, end: period.end };
  return { start, end: isRemainder(end) ? period.end : end };
}

/** Continues the rhythm of an ended period: in its own length if it is shorter than a month, else in months. */
function monthAfter({ start, end }: BillingPeriod, at: Date): UsagePeriod {
  const length = end.getTime() - start.getTime();
  const isOnStartsDay = monthAt(start, end).start.getTime() === end.getTime();
  if (isOnStartsDay) return monthAt(start, at);
  // February 28th to March 31st is a month counted from the 31st.
  const isMonthToEndsDay = addMonths(end, -1).getTime() === start.getTime();
  if (isMonthToEndsDay || length > LONGEST_MONTH_MS) return monthAt(end, at);
  const begun = end.getTime() + Math.floor((at.getTime() - end.getTime()) / length) * length;
  return { start: new Date(begun), end: new Date(begun + length) };
}

/** A month near its end counts as over: clocks differ, and renewals may come a little early. */
function isRunning({ start, end }: UsagePeriod, at: Date): boolean {
  const nearlyOver = Math.min(DAY_MS, (end.getTime() - start.getTime()) / 10);
  return end.getTime() - at.getTime() > nearlyOver;
}
