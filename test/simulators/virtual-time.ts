/** Microseconds since 1970, because the providers' times are finer than a Date. */
export type Micros = number;

export interface Clock {
  now(): Date;
}

export type Interval = 'day' | 'week' | 'month' | 'year';

const MS = { seconds: 1000, minutes: 60_000, hours: 3_600_000, days: 86_400_000 };

export const MICROS_A_DAY = MS.days * 1000;

/** A clock that moves only when a test advances it. */
export class VirtualClock implements Clock {
  constructor(private at = Date.UTC(2026, 0, 1)) {}

  now(): Date {
    return new Date(this.at);
  }

  advance(by: Partial<Record<keyof typeof MS, number>>): void {
    for (const [unit, count] of Object.entries(by)) this.at += count * MS[unit as keyof typeof MS];
  }

  set(to: Date): void {
    this.at = to.getTime();
  }
}

export const microsOf = (date: Date): Micros => date.getTime() * 1000;

export const dateOf = (micros: Micros): Date => new Date(Math.floor(micros / 1000));

/** RFC 3339 with up to 6 digits of fraction, of which a Date keeps three. */
export function microsAt(text: string): Micros {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new Error(`Not a time: ${text}`);
  const dot = text.indexOf('.');
  return ms * 1000 + (dot === -1 ? 0 : Number(/^\d*/.exec(text.slice(dot + 4, dot + 7))![0].padEnd(3, '0')));
}

/** As pydantic writes it: six digits of fraction, or none at all when it is zero. */
export function polarTime(micros: Micros): string {
  const fraction = micros % 1_000_000;
  return `${secondsOf(micros)}${fraction === 0 ? '' : `.${digits(fraction, 6)}`}Z`;
}

/** As chrono writes it: no fraction, three digits or six, whichever suffices. */
export function dodoTime(micros: Micros): string {
  const fraction = micros % 1_000_000;
  if (fraction === 0 || fraction % 1000 !== 0) return polarTime(micros);
  return `${secondsOf(micros)}.${digits(fraction / 1000, 3)}Z`;
}

/** Adds intervals. The 31st becomes the last day of a shorter month, and the anchor day restores it afterwards. */
export function addInterval(from: Micros, interval: Interval, count: number, anchorDay?: number): Micros {
  if (interval === 'day' || interval === 'week') return from + count * (interval === 'week' ? 7 : 1) * MICROS_A_DAY;
  const date = dateOf(from);
  const day = anchorDay ?? date.getUTCDate();
  const months = date.getUTCFullYear() * 12 + date.getUTCMonth() + count * (interval === 'year' ? 12 : 1);
  const [year, month] = [Math.floor(months / 12), months % 12];
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  date.setUTCFullYear(year, month, Math.min(day, lastDay));
  return microsOf(date) + (from % 1000);
}

const secondsOf = (micros: Micros) => dateOf(micros).toISOString().slice(0, 19);

const digits = (value: number, count: number) => String(value).padStart(count, '0');
