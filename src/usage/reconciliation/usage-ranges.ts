import type { Range } from '../../platform/time/moments.js';

/** Splits a time range into parts of about `most` events, by its hours in order. An hour is never split. */
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

/** Groups owners, in their order, that together have at most `most` events. An owner with more is a group of its own. */
export function groupsOf<Owner extends { events: number }>(owners: Owner[], most: number): Owner[][] {
  const groups: Owner[][] = [];
  let events = 0;
  for (const owner of owners) {
    events += owner.events;
    if (groups.length === 0 || events > most) {
      groups.push([]);
      events = owner.events;
    }
    groups.at(-1)!.push(owner);
  }
  return groups;
}
