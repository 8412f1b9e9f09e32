import type { Response } from 'express';
import { RateLimited } from '../access/access.errors.js';
import type { InvalidField, Problem } from '../platform/problems/problem.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import type { BatchItemResult } from './events/event-attribution.js';
import type { Quota, Rejection } from './ledger/operations.js';
import { QuotaResponse, UsageBatchResponse, UsageHoldResponse, UsageResponse } from './usage.dto.js';
import { HoldConflict, HoldSettled, QuotaExceeded, UsageConflict } from './usage.errors.js';
import type { UsageResult } from './usage.service.js';

/** The largest integer of a structured header field (RFC 9651). */
const MAX_HEADER_INTEGER = 999_999_999_999_999;

/** What a route sends: the headers of the quota, and either a body or a problem. */
export interface UsageReply<T> {
  quota: Quota;
  status?: number;
  body: T | Problem;
}

/** 201 for a new event, 200 for a repeated one. */
export function recordedReply(result: UsageResult): UsageReply<UsageResponse> {
  const { quota } = result;
  const [event] = result.events;
  const problem = problemOf(result, 'body.tokens') ?? (event!.outcome === 'conflict' ? new UsageConflict() : undefined);
  if (problem !== undefined) return { quota, body: problem };
  return { quota, status: event!.outcome === 'inserted' ? 201 : 200, body: UsageResponse.of(event!, result) };
}

/** Refused events are part of the body; only a refusal of the whole batch is a problem. */
export function batchReply(result: UsageResult & { items: BatchItemResult[] }): UsageReply<UsageBatchResponse> {
  const { quota, items } = result;
  return { quota, body: problemOf({ ...result, events: [] }, 'body.events') ?? UsageBatchResponse.of(items, result) };
}

export function heldReply(result: UsageResult): UsageReply<UsageHoldResponse> {
  const { quota, hold } = result;
  return { quota, body: problemOf(result, 'body.estimatedTokens') ?? UsageHoldResponse.of(hold!, quota) };
}

export function releasedReply(result: UsageResult): UsageReply<void> {
  return { quota: result.quota, body: problemOf(result, 'params.holdId') };
}

export function quotaReply(quota: Quota): UsageReply<QuotaResponse> {
  return { quota, body: QuotaResponse.of(quota) };
}

/**
 * Sets the status and the headers of the quota, beside those of the request limits (draft-ietf-httpapi-ratelimit-headers-10).
 * @returns the body
 * @throws {Problem} of the reply
 */
export function send<T>(response: Response, { quota, status, body }: UsageReply<T>): T {
  const { limit, remaining, start, end } = quota;
  if (limit !== null) {
    const window = secondsBetween(start, end);
    appendHeader(response, 'RateLimit-Policy', `"quota";q=${Math.min(limit, MAX_HEADER_INTEGER)};w=${window};qu="tokens"`);
    appendHeader(response, 'RateLimit', `"quota";r=${Math.min(remaining!, MAX_HEADER_INTEGER)};t=${secondsBetween(quota.asOf, end)}`);
  }
  if (body instanceof Error) throw body;
  if (status !== undefined) response.status(status);
  return body;
}

function appendHeader(response: Response, name: string, item: string): void {
  const before = response.getHeader(name);
  response.setHeader(name, before === undefined ? item : `${String(before)}, ${item}`);
}

/** @param path of the field with the token count */
function problemOf({ refused, events, waitMs = 0, quota, suggestedPlan }: UsageResult, path: string): Problem | undefined {
  const reason = refused ?? events[0]?.reason;
  if (reason === undefined) return undefined;
  if (reason === 'hold_conflict') return new HoldConflict();
  if (reason === 'hold_settled') return new HoldSettled();
  if (reason === 'rate_limited') {
    const detail = 'The plan allows no more in this minute. Wait for the time in Retry-After.';
    return new RateLimited({ detail, headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) } });
  }
  if (reason === 'quota_exceeded') {
    const help = suggestedPlan === undefined ? 'No plan allows more.' : `The plan ${suggestedPlan.name} would allow it.`;
    return new QuotaExceeded({
      detail: `${QuotaExceeded.detail} ${help}`,
      headers: { 'retry-after': String(Math.max(1, secondsBetween(quota.asOf, quota.end))) },
      extensions: { plan: suggestedPlan?.tier ?? null, quota: QuotaResponse.of(quota) },
    });
  }
  return new InvalidRequest({ errors: [FIELD_ERRORS[reason] ?? { path, message: 'is more than a period can count' }] });
}

const FIELD_ERRORS: Partial<Record<Rejection, InvalidField>> = {
  in_the_future: { path: 'body.occurredAt', message: 'occurredAt must not be more than 5 minutes ahead' },
  too_old: { path: 'body.occurredAt', message: 'occurredAt is older than the retention of events' },
  unknown_user: { path: 'body.userId', message: 'userId must be a present or past member of the organization' },
};

function secondsBetween(from: Date, to: Date): number {
  return Math.max(0, Math.ceil((to.getTime() - from.getTime()) / 1000));
}
