/** PostgreSQL, JavaScript and `pg` disagree about early years (`pg` reads year 1 as 2001); we store nothing before 1970. */
export const FIRST_MOMENT = 0;

/** The last moment of the year 9999: RFC 3339 and PostgreSQL's way of writing it end there. */
export const LAST_MOMENT = 253_402_300_799_999;

export interface Range {
  from: Date;
  to: Date;
}

/** Whether a date exists, as in `2026-02-28`: `new Date()` takes the 30th of February for the 2nd of March. */
export function isDay(text: string): boolean {
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

export function laterBy(date: Date, ms: number): Date {
  return new Date(Math.min(date.getTime() + ms, LAST_MOMENT));
}
