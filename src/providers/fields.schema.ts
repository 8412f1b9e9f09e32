import { z } from 'zod';
import { isStorable } from '../platform/text/storable-text.js';
import { isDay, LAST_MOMENT } from '../platform/time/moments.js';
import { MalformedPayload } from '../webhooks/webhook-provider.port.js';

/*
 * Fields of the providers' objects. The providers' own examples violate their schemas, and fields change without notice.
 * So only ids are required; every other field may be missing, null or of another type, and then becomes null.
 */

const MAX_ID_LENGTH = 255;
/** Fits an index over names. */
export const MAX_TEXT_LENGTH = 500;

export const id = z.string().min(1).max(MAX_ID_LENGTH).refine(isStorable);

export const type = z.string().min(1).max(200).refine(isStorable);

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

/** Fits a 32-bit column. */
const MAX_COUNT = 2_147_483_647;
export const optionalCount = orNull(integer.min(0).max(MAX_COUNT));

/** ISO 4217, upper case. */
export const currency = orNull(
  z
    .string()
    .regex(/^[A-Za-z]{3}$/)
    .toUpperCase(),
);

export const metadata = orNull(z.record(z.string(), z.unknown()));

const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.(\d{1,9}))?(?:Z|[+-]\d{2}:\d{2})$/i;

/**
 * Converts RFC 3339 to ISO 8601 in UTC with microseconds, which a JS Date would drop. Providers leave out a zero
 * fraction, so the raw strings cannot be compared.
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

export const optionalMoment = preciseMoment.transform((value) => (value === null ? null : new Date(value)));

/** @throws {MalformedPayload} naming the invalid fields, without their values */
export function parseObject<T extends z.ZodType>(schema: T, data: unknown): z.infer<T> {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.map(({ path }) => path.join('.') || 'data');
  throw new MalformedPayload(`Missing or invalid: ${[...new Set(fields)].join(', ')}`);
}
