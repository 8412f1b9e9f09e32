import type { Response } from 'express';
import { RateLimited } from '../access/access.errors.js';
import { InvalidRequest } from '../platform/problems/problems.errors.js';
import type { InvalidField } from '../platform/problems/problem.js';
import type { Quota, Rejection } from './ledger/operations.js';
import { QuotaResponse, UsageBatchResponse, UsageHoldResponse, UsageResponse } from './usage.dto.js';
import { HoldConflict, HoldSettled, QuotaExceeded, UsageConflict } from './usage.errors.js';
import type { Answered, UsageService } from './usage.service.js';

/** What a structured field can hold (RFC 9651). */
const MOST_IN_HEADER = 999_999_999_999_999;

/** Puts what became of an operation into an answer: its headers, its status, or the problem that it is. */
export class UsageAnswer {
  constructor(private readonly response: Response) {}

  /** 201 for what is new, 200 for what was there. */
  recorded(answered: Answered): UsageResponse {
    this.tell(answered.quota);
    refuse(answered, 'body.tokens');
    const [event] = answered.events;
    if (event!.outcome === 'conflict') throw new UsageConflict();
    this.response.status(event!.outcome === 'inserted' ? 201 : 200);
    return UsageResponse.of(event!, answered);
  }

  batch(answered: Awaited<ReturnType<UsageService['recordBatch']>>): UsageBatchResponse {
    this.tell(answered.quota);
    refuse({ ...answered, events: [] }, 'body.events');
    return UsageBatchResponse.of(answered.items, answered);
  }

  held(answered: Answered): UsageHoldResponse {
    this.tell(answered.quota);
    refuse(answered, 'body.estimatedTokens');
    return UsageHoldResponse.of(answered.hold!, answered.quota);
  }

  released(answered: Answered): void {
    this.tell(answered.quota);
    refuse(answered, 'params.holdId');
  }

  quota(quota: Awaited<ReturnType<UsageService['getQuota']>>): QuotaResponse {
    this.tell(quota);
    return QuotaResponse.of(quota);
  }

  /** Beside what the guard tells of the caller's requests (draft-ietf-httpapi-ratelimit-headers-10). */
  private tell({ limit, remaining, start, end }: Quota): void {
    if (limit === null) return;
    const seconds = (milliseconds: number) => Math.max(0, Math.ceil(milliseconds / 1000));
    const window = seconds(end.getTime() - start.getTime());
    this.append('RateLimit-Policy', `"quota";q=${Math.min(limit, MOST_IN_HEADER)};w=${window};qu="tokens"`);
    this.append('RateLimit', `"quota";r=${Math.min(remaining!, MOST_IN_HEADER)};t=${secondsUntil(end)}`);
  }

  private append(name: string, item: string): void {
    const before = this.response.getHeader(name);
    this.response.setHeader(name, before === undefined ? item : `${String(before)}, ${item}`);
  }
}

/** @throws {Problem} where the operation, or its only event, was refused; `path` is what was too much */
function refuse({ refused, events, waitMs = 0, quota, suggestedPlan }: Answered, path: string): void {
  const reason = refused ?? events[0]?.reason;
  if (reason === undefined) return;
  if (reason === 'hold_conflict') throw new HoldConflict();
  if (reason === 'hold_settled') throw new HoldSettled();
  if (reason === 'rate_limited') {
    const detail = 'The plan allows no more in this minute. Wait for the time in Retry-After.';
    throw new RateLimited({ detail, headers: { 'retry-after': String(Math.max(1, Math.ceil(waitMs / 1000))) } });
  }
  if (reason === 'quota_exceeded') {
    const help = suggestedPlan === undefined ? 'No plan allows more.' : `The plan ${suggestedPlan.name} would allow it.`;
    throw new QuotaExceeded({
      detail: `${QuotaExceeded.detail} ${help}`,
      headers: { 'retry-after': String(Math.max(1, secondsUntil(quota.end))) },
      extensions: { plan: suggestedPlan?.tier ?? null, quota: QuotaResponse.of(quota) },
    });
  }
  throw new InvalidRequest({ errors: [WRONG_FIELDS[reason] ?? { path, message: 'is more than a period can count' }] });
}

const WRONG_FIELDS: Partial<Record<Rejection, InvalidField>> = {
  in_the_future: { path: 'body.occurredAt', message: 'occurredAt must not be more than 5 minutes ahead' },
  too_old: { path: 'body.occurredAt', message: 'occurredAt is before the time from which on events are kept' },
  unknown_user: { path: 'body.userId', message: 'userId must be somebody who is, or was, a member' },
};

function secondsUntil(time: Date): number {
  return Math.max(0, Math.ceil((time.getTime() - Date.now()) / 1000));
}
