import { z } from 'zod';
import { isId } from '../../platform/crypto/ids.js';
import { uncleanFields } from '../../platform/http/bodies/clean-input.js';
import { bounded, type InvalidField, MAX_ERRORS } from '../../platform/problems/problem.js';
import { IDENTIFIER_TEXT, isIdentifierText } from '../../platform/text/display-names.js';
import { readTime, TIME_RULE } from '../../platform/time/is-time.js';
import { readPlainEvent } from './plain-event.js';
import {
  completeEvent,
  MAX_EVENT_ID,
  MAX_METADATA_ENTRIES,
  MAX_METADATA_LENGTH,
  MAX_METADATA_NAME,
  MAX_MODEL,
  tokensError,
  type UsageEvent,
} from './usage-event.js';

const text = (max: number) => {
  const message = `must be a text of 1 to ${max} characters`;
  return z.string(message).min(1, message).max(max, message);
};
/** `z.int` accepts safe integers only. */
const tokens = (description: string, example?: number) =>
  z
    .int('must be a whole number up to 2^53 - 1')
    .min(0, 'must not be negative')
    .optional()
    .meta({ description, ...(example !== undefined && { example }) });

/** Validates and documents a usage event: alone, in a batch and with a hold. `plain-event.ts` accepts the same events, faster. */
export const usageEventSchema = z.strictObject({
  eventId: text(MAX_EVENT_ID).meta({
    description:
      'Your id of the event, kept forever. Sending the same event again is a `duplicate`; the same id with other content or another user is a `conflict`.',
    example: 'chat-7f3a-42',
  }),
  userId: z.string('must be a UUID').refine(isId, 'must be a UUID').optional().meta({
    description: 'The user who caused it; by default the caller. Admins and API keys may name any present or past member.',
    format: 'uuid',
    example: '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182',
  }),
  model: text(MAX_MODEL).refine(isIdentifierText, IDENTIFIER_TEXT).meta({
    description: 'The model, by its name at the provider. No white space at the ends and no invisible characters.',
    example: 'gpt-5-mini',
  }),
  inputTokens: tokens('Input tokens that were not read from a cache.', 1200),
  outputTokens: tokens('Output tokens without reasoning.', 350),
  cachedInputTokens: tokens('Input tokens read from a cache.', 800),
  reasoningTokens: tokens('Reasoning tokens.', 120),
  tokens: tokens('The plain total, if the classes are not known. Not together with them.'),
  occurredAt: z
    .string(TIME_RULE)
    .transform((value, context) => {
      const time = readTime(value);
      if (time === undefined) context.addIssue({ code: 'custom', message: TIME_RULE });
      return time;
    })
    .optional()
    .meta({
      description: 'When it happened; by default now. At most 5 minutes in the future. A date alone means midnight UTC.',
      format: 'date-time',
      example: '2026-01-01T00:00:00.000Z',
    }),
  metadata: z
    .record(
      text(MAX_METADATA_NAME),
      z.union([z.string().max(MAX_METADATA_LENGTH), z.number(), z.boolean()], 'must be a short text, a number or a boolean'),
    )
    .refine((values) => Object.keys(values).length <= MAX_METADATA_ENTRIES, `must have at most ${MAX_METADATA_ENTRIES} entries`)
    .optional()
    .meta({
      description:
        'Your own data, to find the event again. Send numbers that a 64-bit float does not hold exactly, such as long ids, as text.',
      maxProperties: MAX_METADATA_ENTRIES,
      example: { conversation: '7f3a' },
    }),
});

export type ParsedUsageEvent = { event: UsageEvent } | { errors: InvalidField[] };

export function parseUsageEvent(input: unknown, path: string): ParsedUsageEvent {
  const event = readPlainEvent(input);
  return event === undefined ? checkUsageEvent(input, path) : { event };
}

/** Slower, and names each mistake. */
export function checkUsageEvent(input: unknown, path: string): ParsedUsageEvent {
  const unclean = uncleanFields(input, path);
  if (unclean.length > 0) return { errors: unclean };
  const { success, data, error } = usageEventSchema.safeParse(input);
  if (!success) return { errors: bounded(error.issues.slice(0, MAX_ERRORS).flatMap((issue) => fieldsOf(issue, path))) };
  const wrong = tokensError(data);
  if (wrong !== undefined) return { errors: [{ path: `${path}.${wrong.field}`, message: wrong.message }] };
  return { event: completeEvent(data, data.occurredAt) };
}

function fieldsOf(issue: z.core.$ZodIssue, path: string): InvalidField[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((name) => ({ path: `${path}.${name}`, message: `property ${name} should not exist` }));
  const name = String(issue.path.at(-1) ?? '');
  if (issue.path.length === 0) return [{ path, message: `${path} must be an object` }];
  return [{ path: [path, ...issue.path].join('.'), message: `${name} ${issue.message}` }];
}
