import type { RateLimit } from '../../platform/config/value-types.js';

/** One row of `rate_limits`: it refills evenly, by `limit` calls in `windowSeconds`. */
export interface LimitBucket {
  key: string;
  policy: RateLimit;
}

export interface BucketState {
  allowed: boolean;
  secondsUntilFull: number;
}

/** Identifies the bucket of a call: the first of these credentials that is known, else `fallbackKey`. */
export interface LimitSubject {
  tokenHash?: string;
  clerkUserId?: string;
  apiKeyHash?: string;
  fallbackKey: string;
}

export interface LimitResult extends BucketState {
  name: string;
  policy: RateLimit;
}

type LimitOutcome = Omit<LimitResult, 'name'>;

export function remainingCalls({ policy: { limit, windowSeconds }, allowed, secondsUntilFull }: LimitOutcome): number {
  if (!allowed) return 0;
  // A fast limit can be full again before its row is read. The small addend undoes rounding errors of a whole number.
  const secondsUsed = Math.max(0, secondsUntilFull);
  return Math.max(0, Math.floor(((windowSeconds - secondsUsed) * limit) / windowSeconds + 1e-6));
}

export function secondsUntilRetry(result: LimitOutcome): number {
  return Math.max(1, Math.ceil(waitSeconds(result)));
}

/** Returns the exact seconds until a refused caller may call again; 0 or less means now. */
export function waitSeconds({ policy: { limit, windowSeconds }, secondsUntilFull }: LimitOutcome): number {
  return secondsUntilFull + windowSeconds / limit - windowSeconds;
}
