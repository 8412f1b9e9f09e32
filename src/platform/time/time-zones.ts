import { DAY_MS, HOUR_MS, MINUTE_MS } from './durations.js';

/** `GMT+05:30` at the end of a date; `GMT` alone is UTC. */
const OFFSET = /GMT(?:(?<sign>[+-])(?<hours>\d+):(?<minutes>\d+)(?::(?<seconds>\d+))?)?$/;

/** The calendar of a time zone. Days are counted since 1970-01-01. */
export class LocalCalendar {
  private readonly format: Intl.DateTimeFormat;

  /** @throws {RangeError} for a name that is no time zone */
  constructor(timeZone: string) {
    this.format = new Intl.DateTimeFormat('en-US', { timeZone, timeZoneName: 'longOffset' });
  }

  dayOf(moment: number): number {
    return Math.floor((moment + this.offsetAt(moment)) / DAY_MS);
  }

  /** Not always midnight, which a change of the clocks may skip or repeat. Luxon returns the second of two midnights (decision 0054). */
  startOf(day: number): number {
    const midnight = day * DAY_MS;
    const before = midnight - this.offsetAt(midnight - DAY_MS);
    if (before + this.offsetAt(before) === midnight) return before;
    const after = midnight - this.offsetAt(midnight + DAY_MS);
    if (after + this.offsetAt(after) === midnight) return after;
    // Midnight is skipped: the clocks are put forward then.
    return before;
  }

  /** How far clocks are ahead of UTC, in milliseconds. Before standard time the offset has seconds. */
  private offsetAt(moment: number): number {
    const { sign = '+', hours = 0, minutes = 0, seconds = 0 } = OFFSET.exec(this.format.format(moment))?.groups ?? {};
    return (sign === '+' ? 1 : -1) * (Number(hours) * HOUR_MS + Number(minutes) * MINUTE_MS + Number(seconds) * 1000);
  }
}
