import type { Range } from '../../platform/time/moments.js';
import { LocalCalendar } from '../../platform/time/time-zones.js';
import { DAY_MS, HOUR_MS } from '../../platform/time/durations.js';

export const CALENDAR_UNITS = ['hour', 'day', 'week', 'month'] as const;
export type CalendarUnit = (typeof CALENDAR_UNITS)[number];

export interface Bucket {
  /** `2026-11-01` for a day or the Monday of a week, `2026-11` for a month, an ISO time for an hour. */
  key: string;
  start: Date;
  end: Date;
}

/**
 * Splits a range into calendar units of a time zone. The first and last bucket may be partial. Weeks start on Monday (ISO 8601). Hours
 * are UTC hours, because rollups are.
 * @returns undefined for more than `max` buckets
 */
export function cutByCalendar(unit: CalendarUnit, { from, to }: Range, timeZone: string, max: number): Bucket[] | undefined {
  const steps = unit === 'hour' ? calendarHours(from) : calendarDays(unit, from, new LocalCalendar(timeZone));
  const starts: Omit<Bucket, 'end'>[] = [];
  for (const { key, start } of steps) {
    if (start >= to.getTime()) break;
    if (starts.length === max) return undefined;
    const last = starts.at(-1);
    // A day that a time zone skipped (Samoa, 2011-12-30) has no length.
    if (last !== undefined && start <= last.start.getTime()) starts.pop();
    starts.push({ key, start: new Date(Math.max(start, from.getTime())) });
  }
  return starts.map((bucket, index) => ({ ...bucket, end: starts[index + 1]?.start ?? to }));
}

interface Step {
  key: string;
  /** In milliseconds since 1970. */
  start: number;
}

function* calendarHours(from: Date): Generator<Step> {
  for (let start = from.getTime() - modulo(from.getTime(), HOUR_MS); ; start += HOUR_MS)
    yield { key: new Date(start).toISOString(), start };
}

/** Days are counted from 1970-01-01, a Thursday. */
function* calendarDays(unit: Exclude<CalendarUnit, 'hour'>, from: Date, local: LocalCalendar): Generator<Step> {
  let day = local.dayOf(from.getTime());
  if (unit === 'week') day -= modulo(day + 3, 7);
  if (unit === 'month') day -= new Date(day * DAY_MS).getUTCDate() - 1;
  for (;;) {
    const date = new Date(day * DAY_MS);
    yield { key: date.toISOString().slice(0, unit === 'month' ? 7 : 10), start: local.startOf(day) };
    if (unit === 'month') day = date.setUTCMonth(date.getUTCMonth() + 1) / DAY_MS;
    else day += unit === 'week' ? 7 : 1;
  }
}

/** Never negative, unlike `%` before 1970. */
function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
