import type { Request, Response } from 'express';
import type { RateLimit } from '../../platform/config/value-types.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import type { Limit } from '../access.decorators.js';
import { RateLimited } from '../access.errors.js';
import { isLeased } from '../leases/leases.service.js';
import { type LimitResult, remainingCalls, secondsUntilRetry } from './buckets.js';
import { hashEmail } from './hashed-email.js';
import type { RateLimiter } from './rate-limiter.service.js';

/** Results of limits that were counted before the body was read, so that the guard does not count them twice. */
const countedEarly = new WeakMap<Request, LimitResult>();

/** Counts a request against the limits of its route: at once while leases last. Statements do not wait for each other. */
export function countRequest(
  limiter: Pick<RateLimiter, 'consumeCall'>,
  limits: readonly Limit[],
  request: Request,
  caller?: string,
): LimitResult[] | Promise<LimitResult[]> {
  const early = countedEarly.get(request);
  const results = limits.map((limit) => (early?.name === limit ? early : limiter.consumeCall(limit, subjectOf(limit, request, caller))));
  const isCounted = results.every((result) => !(result instanceof Promise));
  return isCounted ? (results as LimitResult[]) : Promise.all(results.map(async (result) => result));
}

/** Counts a request against the limit of its address, ahead of the guard. */
export async function countBeforeBody(limiter: RateLimiter, request: Request): Promise<LimitResult> {
  const result = await limiter.consumeCall('auth', subjectOf('auth', request));
  countedEarly.set(request, result);
  return result;
}

/**
 * Reports the remaining calls, in the headers of draft-ietf-httpapi-ratelimit-headers-10.
 * @throws {RateLimited} with `Retry-After` in seconds when a limit is reached
 */
export function reportLimits(results: LimitResult[], response: Response): void {
  if (results.length === 0) return;
  const states = results.map(
    (result) => `"${result.name}";r=${remainingCalls(result)};t=${Math.max(0, Math.ceil(result.secondsUntilFull))}`,
  );
  response.setHeader('RateLimit-Policy', results.map(policyLine).join(', '));
  response.setHeader('RateLimit', states.join(', '));
  const refused = results.filter(({ allowed }) => !allowed);
  if (refused.length === 0) return;
  throw new RateLimited({ headers: { 'retry-after': String(Math.max(...refused.map(secondsUntilRetry))) } });
}

const policyLines = new WeakMap<RateLimit, string>();

function policyLine({ name, policy }: LimitResult): string {
  let line = policyLines.get(policy);
  if (line === undefined) {
    line = `"${name}";q=${policy.limit};w=${policy.windowSeconds}`;
    policyLines.set(policy, line);
  }
  return line;
}

function subjectOf(limit: Limit, request: Request, caller?: string): string {
  if (caller !== undefined && isLeased(limit)) return caller;
  const address = addressBlockOf(clientAddressOf(request));
  // The address is part of the key of a mail, so that nobody can exhaust the limit of somebody else's email.
  return limit === 'mail' ? `${hashEmail(emailIn(request.body))}:${address}` : address;
}

function emailIn(body: unknown): string {
  const { email, newEmail } = typeof body === 'object' && body !== null ? (body as { email?: unknown; newEmail?: unknown }) : {};
  const value = email ?? newEmail;
  return typeof value === 'string' ? value : '';
}
