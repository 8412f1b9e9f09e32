/** The last moment of the year 9999: RFC 3339 and PostgreSQL's way of writing it end there. */
export const LAST_MOMENT = 253_402_300_799_999;

/** So much later, and never after the last moment. */
export function laterBy(date: Date, ms: number): Date {
  return new Date(Math.min(date.getTime() + ms, LAST_MOMENT));
}
