import type { RateLimit } from '../../platform/config/value-types.js';

/** One row of `rate_limits`: it refills evenly, by `limit` calls in `windowSeconds`. */
export interface LimitBucket {
  key: string;
  policy: RateLimit;
}

export interface BucketState {
  allowed: boolean;
  secondsUntilFull: number;
  /** The calls left in a lease of this process. Without it, `secondsUntilFull` says how many remain. */
  left?: number;
}

export interface LimitResult extends BucketState {
  name: string;
  policy: RateLimit;
}

type LimitOutcome = Omit<LimitResult, 'name'>;

export function remainingCalls({ policy: { limit, windowSeconds }, allowed, secondsUntilFull, left }: LimitOutcome): number {
  if (!allowed) return 0;
  // What others take from the bucket during a lease is not known here.
  if (left !== undefined) return left;
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
