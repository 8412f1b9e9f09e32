import type { PlanLimits } from '../plans/plans.js';

const MINUTE_MS = 60_000;

/** What counts up beyond it could not be told as a number any more. */
export const MOST_TOKENS = Number.MAX_SAFE_INTEGER;

/** Percentages of a limit that are told, once in a period. */
export const ALERT_THRESHOLDS = [50, 80, 100] as const;

/** What is known of a period under its lock. */
export interface AccountState {
  used: number;
  overrun: number;
  held: number;
  alerted: number;
  requestsWholeAt: number;
  tokensWholeAt: number;
}

export type AccountLimits = Pick<PlanLimits, 'tokensPerPeriod' | 'tokenLimit' | 'requestsPerMinute' | 'tokensPerMinute'>;

/**
 * One owner's period while it is decided about: what may still be used, and what was. Whoever has one holds the lock
 * of its row, and everything that was decided before is in it: that is what makes a cap exact.
 */
export class UsageAccount {
  constructor(
    readonly state: AccountState,
    private readonly limits: AccountLimits,
    private readonly now: number,
  ) {}

  /** Null where there is no limit. */
  get limit(): number | null {
    return this.limits.tokensPerPeriod;
  }

  /** Whether usage stops at the limit. */
  get isHard(): boolean {
    return this.limits.tokenLimit === 'hard';
  }

  /** Null where there is no limit; 0 at the least. */
  get remaining(): number | null {
    return this.limit === null ? null : Math.max(0, this.limit - this.state.used - this.state.held);
  }

  /** Whether so many more tokens pass the cap. What needs none always fits. */
  exceeds(tokens: number): boolean {
    return tokens > 0 && this.isHard && this.remaining !== null && tokens > this.remaining;
  }

  /** Whether so many more could be counted at all. */
  overflows(tokens: number): boolean {
    return this.state.used + this.state.held + tokens > MOST_TOKENS;
  }

  use(tokens: number): void {
    this.state.used += tokens;
  }

  hold(tokens: number): void {
    this.state.held += tokens;
  }

  giveBack(tokens: number): void {
    this.state.held -= tokens;
  }

  /**
   * Counts what was really used, whatever the cap says.
   *
   * @param reserved what a live hold of this period had set aside for it
   * @returns what exceeds that
   */
  settle(tokens: number, reserved: number): number {
    const overrun = Math.max(0, tokens - reserved);
    this.state.used += tokens;
    this.state.overrun += overrun;
    return overrun;
  }

  /** Spends a request of the minute. Answers how many milliseconds to wait, 0 when it may go on. */
  spendRequest(): number {
    const { wholeAt, wait } = spend(this.state.requestsWholeAt, 1, this.limits.requestsPerMinute, this.now);
    this.state.requestsWholeAt = wholeAt;
    return wait;
  }

  /** As `spendRequest`. More than a whole minute's pass when nothing else was used, and the minutes after pay for them. */
  spendTokens(tokens: number): number {
    const { wholeAt, wait } = spend(this.state.tokensWholeAt, tokens, this.limits.tokensPerMinute, this.now);
    this.state.tokensWholeAt = wholeAt;
    return wait;
  }

  /** Takes what was used already from the minutes to come. */
  chargeTokens(tokens: number): void {
    const { tokensPerMinute } = this.limits;
    if (tokensPerMinute !== null && tokens > 0)
      this.state.tokensWholeAt = Math.max(this.state.tokensWholeAt, this.now) + (tokens * MINUTE_MS) / tokensPerMinute;
  }

  /** Thresholds that are reached and were not told yet; from now on they were. */
  takeAlerts(): number[] {
    const { limit, state } = this;
    if (limit === null || state.used === 0) return [];
    // Divided, not multiplied: a hundred times a large number is no longer exact.
    const reached = ALERT_THRESHOLDS.filter((threshold) => threshold > state.alerted && state.used >= limit * (threshold / 100));
    state.alerted = reached.at(-1) ?? state.alerted;
    return reached;
  }
}

/** GCRA: an allowance is a moment, the one at which it is whole again. */
function spend(wholeAt: number, weight: number, perMinute: number | null, now: number): { wholeAt: number; wait: number } {
  if (perMinute === null || weight === 0) return { wholeAt, wait: 0 };
  const from = Math.max(wholeAt, now);
  const after = from + (weight * MINUTE_MS) / perMinute;
  // A hundredth of a millisecond is what rounding may come to.
  const late = after - now - MINUTE_MS - 0.01;
  if (from > now && late > 0) return { wholeAt, wait: Math.ceil(Math.min(late, from - now)) };
  return { wholeAt: after, wait: 0 };
}
