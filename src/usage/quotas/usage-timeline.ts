import type { BillingPeriod, BillingPeriods } from '../../subscriptions/sync/billing-provider.port.js';
import { addMonths, monthAt, type UsagePeriod } from './usage-period.js';
import { DAY_MS } from '../../platform/time/durations.js';

const LONGEST_MONTH_MS = 31 * DAY_MS;
/** A shorter rest at the end of a billing period belongs to the month before it. */
const SHORTEST_REST_MS = 15 * DAY_MS;

/** No usage month is longer. */
export const LONGEST_USAGE_MONTH_MS = LONGEST_MONTH_MS + SHORTEST_REST_MS;

/**
 * The usage months of a subscription: its billing periods, cut into months where they are longer (docs/decisions/0031).
 * A pure function of the periods, and without gap or overlap from the first one on.
 */
export class UsageTimeline {
  private readonly periods: BillingPeriod[];
  private readonly isLastFinal: boolean;

  /** @param periods by their start; of those that overlap, the later one cuts the earlier one short */
  constructor({ list, isLastFinal }: BillingPeriods) {
    this.periods = list;
    this.isLastFinal = isLastFinal;
  }

  get start(): Date {
    return this.periods[0]!.start;
  }

  /** @param at not before the start */
  monthAt(at: Date): UsagePeriod {
    const index = this.indexAt(at);
    const { start, end } = this.plannedMonth(index, at);
    const next = this.periods[index + 1]?.start;
    return next !== undefined && next < end ? { start, end: next, isCut: true } : { start, end };
  }

  /**
   * The starts of earlier months that were still running when this one began: a change of the plan or interval cut
   * them short, and what they used counts in this one too (docs/decisions/0032).
   */
  carriedInto({ start }: UsagePeriod): Date[] {
    return this.periods.slice(0, this.indexAt(start)).flatMap((_, index) => {
      const month = this.plannedMonth(index, start);
      const hasBegun = month.start < this.periods[index + 1]!.start;
      return hasBegun && isRunning(month, start) ? [month.start] : [];
    });
  }

  /** The later months that this one is carried into. */
  carriersOf(month: UsagePeriod): UsagePeriod[] {
    const carriers: UsagePeriod[] = [];
    if (month.isCut !== true) return carriers;
    const planned = this.plannedMonth(this.indexAt(month.start), month.start);
    for (let at = month.end; at < planned.end;) {
      const later = this.monthAt(at);
      if (later.end <= at) break;
      if (this.carriedInto(later).some((start) => start.getTime() === month.start.getTime())) carriers.push(later);
      at = later.end;
    }
    return carriers;
  }

  /** Of the last period that had begun by then. */
  private indexAt(at: Date): number {
    return Math.max(
      0,
      this.periods.findLastIndex(({ start }) => start <= at),
    );
  }

  /** The month of a billing period, or after it while no renewal is known, as if no other period cut it short. */
  private plannedMonth(index: number, at: Date): UsagePeriod {
    const period = this.periods[index]!;
    if (at < period.end) return monthIn(period, at);
    const isFinal = this.isLastFinal && index === this.periods.length - 1;
    return isFinal ? monthIn(period, new Date(period.end.getTime() - 1)) : monthAfter(period, at);
  }
}

/** Months from the period's start; the last one ends with the period. */
function monthIn(period: BillingPeriod, at: Date): UsagePeriod {
  const isRest = (start: Date) => period.end.getTime() - start.getTime() < SHORTEST_REST_MS;
  const { start, end } = monthAt(period.start, at);
  if (start > period.start && isRest(start)) return { start: monthAt(period.start, new Date(start.getTime() - 1)).start, end: period.end };
  return { start, end: isRest(end) ? period.end : end };
}

/** The rhythm of the period goes on: in its own length where it is shorter than a month, else in months. */
function monthAfter({ start, end }: BillingPeriod, at: Date): UsagePeriod {
  const length = end.getTime() - start.getTime();
  const isOnStartsDay = monthAt(start, end).start.getTime() === end.getTime();
  if (isOnStartsDay) return monthAt(start, at);
  // From the last of February to the last of March is a month that is counted from the 31st.
  const isMonthToEndsDay = addMonths(end, -1).getTime() === start.getTime();
  if (isMonthToEndsDay || length > LONGEST_MONTH_MS) return monthAt(end, at);
  const begun = end.getTime() + Math.floor((at.getTime() - end.getTime()) / length) * length;
  return { start: new Date(begun), end: new Date(begun + length) };
}

/** Near its end it is over: clocks differ, and a renewal that comes a little early is one all the same. */
function isRunning({ start, end }: UsagePeriod, at: Date): boolean {
  const nearlyOver = Math.min(DAY_MS, (end.getTime() - start.getTime()) / 10);
  return end.getTime() - at.getTime() > nearlyOver;
}
