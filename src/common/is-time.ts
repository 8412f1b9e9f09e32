import { applyDecorators } from '@nestjs/common';
import { Transform } from 'class-transformer';
import { IsDate } from 'class-validator';
import { isDay } from './moments.js';

/** ISO 8601 with a zone, or a day; four digits a year, as in what PostgreSQL and RFC 3339 can hold. */
const TIME = /^(?!0000)\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2}))?$/i;

/** A time in a query: `new Date()` alone would take "1" and years that the database refuses. */
export const IsTime = (): PropertyDecorator =>
  applyDecorators(
    Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? (readTime(value) ?? value) : value)),
    IsDate({ message: '$property must be a time as in 2026-01-01T00:00:00Z' }),
  );

/** Undefined for what is no time, or one of a year that has not four digits in UTC. */
export function readTime(text: string): Date | undefined {
  if (!TIME.test(text) || !isDay(text.slice(0, 10))) return undefined;
  const time = new Date(text);
  // In UTC it may be a day earlier or later than where it was written; NaN is no year.
  const year = time.getUTCFullYear();
  return year >= 1 && year <= 9999 ? time : undefined;
}
