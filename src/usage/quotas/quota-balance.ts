import type { PlanLimits } from '../../plans/plans.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

/** JSON numbers are exact up to here. */
export const MAX_TOKENS = Number.MAX_SAFE_INTEGER;

/** Percentages of the limit that raise an alert, once in a period. */
export const ALERT_THRESHOLDS = [50, 80, 100] as const;

/**
 * Levels of leaky buckets. They hold requests and tokens, not a time as GCRA does: at a million tokens a minute, one
 * token lasts less than a timestamp can express.
 */
type LeakyBucket = 'requestsOwed' | 'tokensOwed';
const PER_MINUTE = { requestsOwed: 'requestsPerMinute', tokensOwed: 'tokensPerMinute' } as const;
/** Upper bound of rounding errors, in requests or tokens. */
const ROUNDING = 1e-6;

export interface QuotaState {
  used: number;
  overrun: number;
  held: number;
  alerted: number;
  requestsOwed: number;
  tokensOwed: number;
  owedAt: number;
}

export type QuotaLimits = Pick<PlanLimits, 'tokensPerPeriod' | 'tokenLimit' | 'requestsPerMinute' | 'tokensPerMinute'>;

const NOTHING = { used: 0, overrun: 0, held: 0 } as const;

/** The balance of one owner's period. Its row is locked and it includes every earlier decision, so caps are exact. */
export class QuotaBalance {
  constructor(
    readonly state: QuotaState,
    private readonly limits: QuotaLimits,
    private readonly now: number,
    /** Earlier periods that were cut short: their usage counts here too. */
    private readonly carriedFrom: QuotaBalance[] = [],
  ) {}

  addCarried(earlier: QuotaBalance): void {
    this.carriedFrom.push(earlier);
  }

  get carried(): Pick<QuotaState, 'used' | 'overrun' | 'held'> {
    if (this.carriedFrom.length === 0) return NOTHING;
    const total = { used: 0, overrun: 0, held: 0 };
    for (const { state } of this.carriedFrom) {
      total.used += state.used;
      total.overrun += state.overrun;
      total.held += state.held;
    }
    return total;
  }

  get total(): Pick<QuotaState, 'used' | 'overrun' | 'held'> {
    const { used, overrun, held } = this.carried;
    return { used: this.state.used + used, overrun: this.state.overrun + overrun, held: this.state.held + held };
  }

  get limit(): number | null {
    return this.limits.tokensPerPeriod;
  }

  get isHard(): boolean {
    return this.limits.tokenLimit === 'hard';
  }

  /** Never negative; null means unlimited. */
  get remaining(): number | null {
    if (this.limit === null) return null;
    const { used, held } = this.total;
    return Math.max(0, this.limit - used - held);
  }

  /** Whether these tokens exceed the cap. Zero tokens always fit. */
  exceeds(tokens: number): boolean {
    return tokens > 0 && this.isHard && this.remaining !== null && tokens > this.remaining;
  }

  /** Whether the count would exceed what a number holds. */
  overflows(tokens: number): boolean {
    return this.state.used + this.state.held + tokens > MAX_TOKENS;
  }

  use(tokens: number): void {
    this.state.used += tokens;
  }

  hold(tokens: number): void {
    this.state.held += tokens;
  }

  releaseHold(tokens: number): void {
    this.state.held -= tokens;
  }

  /**
   * Counts tokens regardless of the cap.
   * @param reserved tokens of the live hold that is settled
   * @returns the overrun: tokens beyond the reserved ones
   */
  settle(tokens: number, reserved: number): number {
    const overrun = Math.max(0, tokens - reserved);
    this.state.used += tokens;
    this.state.overrun += overrun;
    return overrun;
  }

  /** Returns the milliseconds to wait, or 0 if the minute's allowance has room. */
  spendRequest(): number {
    return this.spend('requestsOwed', 1);
  }

  /** As `spendRequest`. A spend larger than a whole minute's allowance passes when the bucket is empty. */
  spendTokens(tokens: number): number {
    return this.spend('tokensOwed', tokens);
  }

  /** Counts used tokens toward the coming minutes without a check. */
  chargeTokens(tokens: number): void {
    if (tokens > 0 && this.limits.tokensPerMinute !== null) this.owe('tokensOwed', tokens);
  }

  takeAlerts(): number[] {
    const { limit, state } = this;
    if (limit === null || state.used === 0) return [];
    // BigInt: a hundred times a large number is not exact.
    const percents = BigInt(this.total.used) * 100n;
    const reached = ALERT_THRESHOLDS.filter((threshold) => threshold > state.alerted && percents >= BigInt(limit) * BigInt(threshold));
    state.alerted = reached.at(-1) ?? state.alerted;
    return reached;
  }

  private spend(name: LeakyBucket, weight: number): number {
    const perMinute = this.limits[PER_MINUTE[name]];
    if (perMinute === null || weight === 0) return 0;
    const owed = this.levelOf(name);
    const tooMany = owed + weight - perMinute;
    if (owed > 0 && tooMany > ROUNDING) return Math.ceil((Math.min(tooMany, owed) * MINUTE_MS) / perMinute);
    this.owe(name, weight);
    return 0;
  }

  private owe(name: LeakyBucket, weight: number): void {
    const [requestsOwed, tokensOwed] = [this.levelOf('requestsOwed'), this.levelOf('tokensOwed')];
    Object.assign(this.state, { requestsOwed, tokensOwed, owedAt: Math.max(this.now, this.state.owedAt) });
    this.state[name] += weight;
  }

  private levelOf(name: LeakyBucket): number {
    const perMinute = this.limits[PER_MINUTE[name]];
    const since = Math.max(0, this.now - this.state.owedAt);
    return perMinute === null ? 0 : Math.max(0, this.state[name] - (since * perMinute) / MINUTE_MS);
  }
}
