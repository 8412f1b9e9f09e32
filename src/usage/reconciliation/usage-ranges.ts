import type { Range } from '../../platform/time/moments.js';

/**
 * Divides time so that no part has many more events than told, by what is known of each hour; one hour is never
 * divided. Together the parts are all of it, also where nothing is known.
 *
 * @param hours in order
 */
export function rangesOf(hours: { hour: Date; events: number }[], { from, to, most }: Range & { most: number }): Range[] {
  const ranges: Range[] = [];
  let [start, events] = [from, 0];
  for (const hour of hours) {
    if (events > 0 && events + hour.events > most) {
      ranges.push({ from: start, to: hour.hour });
      [start, events] = [hour.hour, 0];
    }
    events += hour.events;
  }
  return [...ranges, { from: start, to }];
}
