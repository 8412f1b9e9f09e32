import { HOUR_MS } from '../../platform/time/durations.js';
import type { Range } from '../../platform/time/moments.js';
import { monthOf, startOf } from '../partitions/months.js';

/** An hour of which only a part is counted. */
export interface PartialHour extends Range {
  hour: Date;
}

export function startOfHour(moment: Date): Date {
  return new Date(Math.floor(moment.getTime() / HOUR_MS) * HOUR_MS);
}

export function partialHours(boundaries: Date[], { from, to }: Range): PartialHour[] {
  const isCut = (moment: Date) => moment.getTime() !== startOfHour(moment).getTime();
  const hours = new Set(boundaries.filter(isCut).map((moment) => startOfHour(moment).getTime()));
  return [...hours].map((hour) => ({
    hour: new Date(hour),
    from: new Date(Math.max(hour, from.getTime())),
    to: new Date(Math.min(hour + HOUR_MS, to.getTime())),
  }));
}

/** Divides the ranges between neighbouring boundaries into whole UTC months and the spans before and after them. */
export function cutAtMonths(boundaries: Date[]): { months: Range[]; others: Range[] } {
  const months: Range[] = [];
  const others: Range[] = [];
  for (const [index, to] of boundaries.entries()) {
    const from = boundaries[index - 1];
    if (from === undefined) continue;
    const [first, end] = [firstMonthFrom(from), startOf(monthOf(to))];
    if (first < end) {
      months.push({ from: first, to: end });
      others.push({ from, to: first }, { from: end, to });
    } else others.push({ from, to });
  }
  return { months, others: others.filter(({ from, to }) => from < to) };
}

function firstMonthFrom(moment: Date): Date {
  const start = startOf(monthOf(moment));
  return start < moment ? startOf(monthOf(moment) + 1) : start;
}
