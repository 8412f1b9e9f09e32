import type { Request, Response } from 'express';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import type { Limit } from '../access.decorators.js';
import { RateLimited } from '../access.errors.js';
import { type LimitResult, type LimitSubject, remainingCalls, secondsUntilRetry } from './buckets.js';
import { hashEmail } from './hashed-email.js';
import type { RateLimiter } from './rate-limiter.service.js';

type Caller = Omit<LimitSubject, 'fallbackKey'>;

/** Results of limits that were counted before the body was read, so that the guard does not count them twice. */
const countedEarly = new WeakMap<Request, LimitResult>();

/** Counts a request against the limits of its route. Sends all statements before it waits for the first. */
export async function countRequest(
  limiter: Pick<RateLimiter, 'consumeCall'>,
  limits: readonly Limit[],
  request: Request,
  caller: Caller = {},
): Promise<LimitResult[]> {
  const early = countedEarly.get(request);
  return Promise.all(
    limits.map(async (limit) => (early?.name === limit ? early : limiter.consumeCall(limit, subjectOf(limit, request, caller)))),
  );
}

/** Counts a request against the limit of its address, ahead of the guard. */
export async function countBeforeBody(limiter: RateLimiter, request: Request): Promise<LimitResult> {
  const result = await limiter.consumeCall('auth', subjectOf('auth', request, {}));
  countedEarly.set(request, result);
  return result;
}

/**
 * Reports the remaining calls, in the headers of draft-ietf-httpapi-ratelimit-headers-10.
 * @throws {RateLimited} with `Retry-After` in seconds when a limit is reached
 */
export function reportLimits(results: LimitResult[], response: Response): void {
  if (results.length === 0) return;
  const policies = results.map(({ name, policy }) => `"${name}";q=${policy.limit};w=${policy.windowSeconds}`);
  const states = results.map(
    (result) => `"${result.name}";r=${remainingCalls(result)};t=${Math.max(0, Math.ceil(result.secondsUntilFull))}`,
  );
  response.setHeader('RateLimit-Policy', policies.join(', '));
  response.setHeader('RateLimit', states.join(', '));
  const refused = results.filter(({ allowed }) => !allowed);
  if (refused.length === 0) return;
  throw new RateLimited({ headers: { 'retry-after': String(Math.max(...refused.map(secondsUntilRetry))) } });
}

function subjectOf(limit: Limit, request: Request, caller: Caller): LimitSubject {
  const address = addressBlockOf(clientAddressOf(request));
  if (limit === 'api' || limit === 'usage') return { ...caller, fallbackKey: address };
  if (limit === 'auth') return { fallbackKey: address };
  // The address is part of the key, so that nobody can exhaust the limit of somebody else's email.
  return { fallbackKey: `${hashEmail(emailIn(request.body))}:${address}` };
}

function emailIn(body: unknown): string {
  const { email, newEmail } = typeof body === 'object' && body !== null ? (body as { email?: unknown; newEmail?: unknown }) : {};
  const value = email ?? newEmail;
  return typeof value === 'string' ? value : '';
}
