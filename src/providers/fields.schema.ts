import { z } from 'zod';
import { isDay, LAST_MOMENT } from '../platform/time/moments.js';
import { MalformedPayload } from '../webhooks/webhook-provider.port.js';

/*
 * Pieces of the objects that providers send, as far as we use them. Their own examples break their own schemas,
 * and fields come and go without notice: what must be there is an id; all else may be missing, null, or of another
 * kind, and counts as unknown.
 */

/** Of what stands in unique indexes. */
const MAX_ID_LENGTH = 255;
/** Of what an index over names can hold. */
export const MAX_TEXT_LENGTH = 500;

export const isStorable = (value: string) => value.isWellFormed() && !value.includes('\0');

export const id = z.string().min(1).max(MAX_ID_LENGTH).refine(isStorable);

/** Of an event. */
export const type = z.string().min(1).max(200).refine(isStorable);

/** Null where it is unknown; cut where it is endless. */
export const shortText = (max = MAX_TEXT_LENGTH) =>
  z
    .string()
    .transform((value) => value.toWellFormed().replaceAll('\0', '').trim().slice(0, max).toWellFormed())
    .transform((value) => (value === '' ? null : value))
    .nullable()
    .catch(null);

export const orNull = <T extends z.ZodType>(schema: T) => schema.nullable().catch(null);

/** A count, or an amount in minor units. */
export const integer = z.number().int().refine(Number.isSafeInteger);

/** A column of 32 bits. */
const MAX_COUNT = 2_147_483_647;
export const count = orNull(integer.min(0).max(MAX_COUNT));

/** ISO 4217, upper case. How many decimals its minor unit has is not told, and needs not be known to keep it. */
export const currency = orNull(
  z
    .string()
    .regex(/^[A-Za-z]{3}$/)
    .toUpperCase(),
);

export const metadata = orNull(z.record(z.string(), z.unknown()));

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.(\d{1,9}))?(?:Z|[+-]\d{2}:\d{2})$/i;

/**
 * RFC 3339 as ISO 8601 in UTC with six digits of fraction, which a JS Date would drop; null where it is unknown.
 * Pydantic leaves the fraction out where it is zero, so two of them cannot be compared as they come.
 */
export const preciseMoment = z
  .string()
  .transform((value) => {
    const match = RFC_3339.exec(value);
    const time = match === null || !isDay(value.slice(0, 10)) ? Number.NaN : Date.parse(value);
    if (Number.isNaN(time) || time <= 0 || time > LAST_MOMENT) return null;
    const fraction = (match?.[1] ?? '').padEnd(6, '0').slice(0, 6);
    return `${new Date(time).toISOString().slice(0, 19)}.${fraction}Z`;
  })
  .nullable()
  .catch(null);

/** RFC 3339, to the millisecond; null where it is unknown. */
export const moment = preciseMoment.transform((value) => (value === null ? null : new Date(value)));

/** @throws {MalformedPayload} naming the fields that are missing, without what they hold */
export function parseObject<T extends z.ZodType>(schema: T, data: unknown): z.infer<T> {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map(({ path }) => path.join('.') || 'data');
  throw new MalformedPayload(`Missing, or not what it should be: ${[...new Set(fields)].join(', ')}`);
}
