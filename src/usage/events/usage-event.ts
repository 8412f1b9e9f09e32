import { z } from 'zod';
import { uncleanFields } from '../../platform/http/bodies/clean-input.js';
import { IDENTIFIER_TEXT, isIdentifierText } from '../../platform/text/display-names.js';
import { readTime, TIME_RULE } from '../../platform/time/is-time.js';
import { bounded, type InvalidField, MAX_ERRORS } from '../../platform/problems/problem.js';
import { isId } from '../../platform/crypto/ids.js';
import { MOST_TOKENS } from '../quotas/quota-balance.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

/** How far ahead of ours a caller's clock may be. */
export const MAX_FUTURE_MS = 5 * MINUTE_MS;

export const MOST_METADATA = 20;
export const MOST_METADATA_CHARACTERS = 500;

export type Metadata = Record<string, string | number | boolean>;

/** What a caller says was used. */
export interface UsageEvent {
  eventId: string;
  /** Undefined for the caller. */
  userId?: string;
  model: string;
  inputTokens: number;
  outputTokens: number;
  cachedInputTokens: number;
  reasoningTokens: number;
  /** All of them, or the plain total. */
  tokensUsed: number;
  /** Undefined for now. */
  occurredAt?: Date;
  metadata?: Metadata;
  /** What its fingerprint covers besides who caused it. */
  content: string;
}

const text = (most: number) => {
  const message = `must be a text of 1 to ${most} characters`;
  return z.string(message).min(1, message).max(most, message);
};
/** What is safe in JavaScript is what a count may be: up to 2^53 - 1. */
const tokens = z.int('must be a whole number up to 2^53 - 1').min(0, 'must not be negative').optional();

/** Refused are the same things, in the same words, wherever an event stands: alone, in a batch, or with a hold. */
const schema = z.strictObject({
  eventId: text(200),
  userId: z.string('must be a UUID').refine(isId, 'must be a UUID').optional(),
  model: text(200).refine(isIdentifierText, IDENTIFIER_TEXT),
  inputTokens: tokens,
  outputTokens: tokens,
  cachedInputTokens: tokens,
  reasoningTokens: tokens,
  tokens,
  occurredAt: z
    .string(TIME_RULE)
    .transform((value, context) => {
      const time = readTime(value);
      if (time === undefined) context.addIssue({ code: 'custom', message: TIME_RULE });
      return time;
    })
    .optional(),
  metadata: z
    .record(
      text(100),
      z.union([z.string().max(MOST_METADATA_CHARACTERS), z.number(), z.boolean()], 'must be a short text, a number or a boolean'),
    )
    .refine((values) => Object.keys(values).length <= MOST_METADATA, `must have at most ${MOST_METADATA} entries`)
    .optional(),
});

/** Reads an event from outside; answers what is wrong with it where it is none. */
export function readEvent(given: unknown, path: string): { event: UsageEvent } | { errors: InvalidField[] } {
  const unclean = uncleanFields(given, path);
  if (unclean.length > 0) return { errors: unclean };
  const { success, data, error } = schema.safeParse(given);
  if (!success) return { errors: bounded(error.issues.slice(0, MAX_ERRORS).flatMap((issue) => describe(issue, path))) };
  const { inputTokens = 0, outputTokens = 0, cachedInputTokens = 0, reasoningTokens = 0, tokens: total, ...rest } = data;
  const classes = { inputTokens, outputTokens, cachedInputTokens, reasoningTokens };
  const sum = inputTokens + outputTokens + cachedInputTokens + reasoningTokens;
  const hasClasses = CLASSES.some((name) => data[name] !== undefined);
  if (hasClasses === (total !== undefined))
    return { errors: [{ path: `${path}.tokens`, message: 'give either tokens, or how many of each class: inputTokens, outputTokens …' }] };
  if (sum > MOST_TOKENS)
    return { errors: [{ path: `${path}.inputTokens`, message: 'must not be more than 2^53 - 1 with the other classes' }] };
  return {
    event: {
      ...rest,
      ...(rest.userId !== undefined && { userId: rest.userId.toLowerCase() }),
      ...classes,
      tokensUsed: total ?? sum,
      content: contentOf(data),
    },
  };
}

const CLASSES = ['inputTokens', 'outputTokens', 'cachedInputTokens', 'reasoningTokens'] as const;

/** A field that was left out is the same as its default; the order of names does not matter. */
function contentOf({ model, occurredAt, metadata = {}, tokens: total, ...classes }: z.output<typeof schema>): string {
  return JSON.stringify([
    model,
    CLASSES.map((name) => classes[name] ?? 0),
    total ?? null,
    occurredAt?.getTime() ?? null,
    Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)),
  ]);
}

function describe(issue: z.core.$ZodIssue, path: string): InvalidField[] {
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((name) => ({ path: `${path}.${name}`, message: `property ${name} should not exist` }));
  const name = String(issue.path.at(-1) ?? '');
  if (issue.path.length === 0) return [{ path, message: `${path} must be an object` }];
  return [{ path: [path, ...issue.path].join('.'), message: `${name} ${issue.message}` }];
}
