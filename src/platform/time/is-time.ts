import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { IsDate, isTimeZone } from 'class-validator';
import { FIRST_MOMENT, isDay, LAST_MOMENT } from './moments.js';
import { DAY_MS } from './durations.js';
import { LocalCalendar } from './time-zones.js';

/** RFC 3339 with a zone (seconds may be left out), or a day alone. */
const TIME = /^\d{4}-\d{2}-\d{2}(T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/i;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

export const TIME_RULE = 'must be a time as in 2026-01-01T00:00:00Z, from 1970 to 9999';

/** A time; a day alone is its first moment. @param options.zoneIn the property with the time zone of the day; UTC without it */
export const IsTime = ({ zoneIn }: { zoneIn?: string } = {}): PropertyDecorator =>
  applyDecorators(
    Transform(({ value, obj }: { value: unknown; obj: Record<string, unknown> }) => {
      const zone = zoneIn === undefined ? undefined : obj[zoneIn];
      // The property with the time zone refuses an invalid one.
      const timeZone = typeof zone === 'string' && isTimeZone(zone) ? zone : 'UTC';
      return typeof value === 'string' ? (readTime(value, timeZone) ?? value) : value;
    }),
    IsDate({ message: `$property ${TIME_RULE}` }),
  );

/** A time at which something ends. A day alone is refused: it could mean the start or the end of the day. */
export const IsEndTime = (): PropertyDecorator =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' && !DAY.test(value) ? (readTime(value) ?? value) : value)),
    IsDate({ message: `$property ${TIME_RULE}, and not a day alone` }),
  );

/** Undefined for text that is no time, or one outside of the years 1970 to 9999 in UTC. */
export function readTime(text: string, timeZone = 'UTC'): Date | undefined {
  if (!TIME.test(text) || !isDay(text.slice(0, 10))) return undefined;
  if (DAY.test(text)) return startOfDay(text, timeZone);
  const time = new Date(text.toUpperCase());
  return time.getTime() >= FIRST_MOMENT && time.getTime() <= LAST_MOMENT ? time : undefined;
}

function startOfDay(text: string, timeZone: string): Date | undefined {
  const midnight = Date.parse(text);
  if (midnight < FIRST_MOMENT) return undefined;
  const start = timeZone === 'UTC' ? midnight : new LocalCalendar(timeZone).startOf(midnight / DAY_MS);
  // East of Greenwich 1970-01-01 starts in 1969, of which there is nothing.
  return new Date(Math.max(start, FIRST_MOMENT));
}
