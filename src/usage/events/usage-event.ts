import type { TokenCounts } from '../../prices/prices.service.js';
import { MAX_TOKENS } from '../quotas/quota-balance.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

/** How far a caller's clock may be ahead. */
export const MAX_FUTURE_MS = 5 * MINUTE_MS;
export const MAX_EVENT_ID = 200;
export const MAX_MODEL = 200;
export const MAX_METADATA_ENTRIES = 20;
export const MAX_METADATA_NAME = 100;
export const MAX_METADATA_LENGTH = 500;

export type UsageMetadata = Record<string, string | number | boolean>;

/** What a caller sends, with each field valid by itself. */
export interface UsageEventFields {
  eventId: string;
  userId?: string;
  model: string;
  inputTokens?: number;
  outputTokens?: number;
  cachedInputTokens?: number;
  reasoningTokens?: number;
  /** The plain total, instead of the classes. */
  tokens?: number;
  metadata?: UsageMetadata;
}

/** A valid event with its defaults filled in. */
export interface UsageEvent extends TokenCounts {
  eventId: string;
  /** Undefined means the caller. */
  userId: string | undefined;
  model: string;
  /** Undefined means now. */
  occurredAt: Date | undefined;
  metadata: UsageMetadata | undefined;
  /** Canonical text of the event without its user, for its fingerprint. */
  content: string;
}

export function tokensError(fields: UsageEventFields): { field: string; message: string } | undefined {
  const { inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokens } = fields;
  const hasClasses = (inputTokens ?? outputTokens ?? cachedInputTokens ?? reasoningTokens) !== undefined;
  if (hasClasses === (tokens !== undefined))
    return { field: 'tokens', message: 'give either tokens, or how many of each class: inputTokens, outputTokens …' };
  const sum = (inputTokens ?? 0) + (outputTokens ?? 0) + (cachedInputTokens ?? 0) + (reasoningTokens ?? 0);
  if (sum > MAX_TOKENS) return { field: 'inputTokens', message: 'must not be more than 2^53 - 1 with the other classes' };
  return undefined;
}

export function completeEvent(fields: UsageEventFields, occurredAt: Date | undefined): UsageEvent {
  const { eventId, userId, model, tokens, metadata } = fields;
  const { inputTokens = 0, outputTokens = 0, cachedInputTokens = 0, reasoningTokens = 0 } = fields;
  // The list must stay the same byte for byte: fingerprints are stored forever. The order of names does not matter.
  const entries = metadata === undefined ? '[]' : JSON.stringify(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
  const classes = `${inputTokens},${outputTokens},${cachedInputTokens},${reasoningTokens}`;
  return {
    eventId,
    userId: userId?.toLowerCase(),
    model,
    inputTokens,
    outputTokens,
    cachedInputTokens,
    reasoningTokens,
    tokensUsed: tokens ?? inputTokens + outputTokens + cachedInputTokens + reasoningTokens,
    occurredAt,
    metadata,
    content: `${JSON.stringify(model)},[${classes}],${tokens ?? null},${occurredAt?.getTime() ?? null},${entries}]`,
  };
}
