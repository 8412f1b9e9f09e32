import type { RateLimit } from '../../platform/config/value-types.js';

/** What a lease of a limit may be. Times in the database are microseconds, in the process milliseconds. */
export interface LeaseTerms {
  interval: number;
  window: number;
  /** How long leased calls may be spent; 0 when this limit is not leased. */
  period: number;
}

const LONGEST_SECONDS = 3;
const SHORTEST_SECONDS = 0.5;
/** A lease covers at most this part of the window: so much of a burst may be refused below the limit. */
const WINDOW_PART = 1 / 20;
const SMALLEST_LIMIT = 100;
/** A lease takes at most this part of the calls that remain. */
export const REMAINING_PART = 1 / 8;

export function leaseTerms({ limit, windowSeconds }: RateLimit): LeaseTerms {
  const seconds = Math.min(LONGEST_SECONDS, windowSeconds * WINDOW_PART);
  const isLeased = limit >= SMALLEST_LIMIT && seconds >= SHORTEST_SECONDS;
  return { interval: intervalOf({ limit, windowSeconds }), window: windowSeconds * 1e6, period: isLeased ? Math.floor(seconds * 1e6) : 0 };
}

/** Rounded down, so that all calls of a limit fit in its window to the microsecond. */
export function intervalOf({ limit, windowSeconds }: RateLimit): number {
  return Math.max(1, Math.floor((windowSeconds * 1e6) / limit));
}

export interface LeaseRequest {
  key: string;
  waiting: number;
  /** Calls to make later, within the period of a lease. */
  ahead: number;
  /** Calls of an earlier lease that were not made. They are taken back only while the bucket is at `mark`, as that lease left it. */
  unused: number;
  mark: number;
}

export interface LeaseGrant {
  key: string;
  admitted: number;
  leased: number;
  /** The microseconds until the bucket is full again. */
  backlog: number;
  mark: number;
}
