import type { PlanLimits } from '../../plans/plans.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

/** What counts up beyond it could not be told as a number any more. */
export const MOST_TOKENS = Number.MAX_SAFE_INTEGER;

/** Percentages of a limit that are told, once in a period. */
export const ALERT_THRESHOLDS = [50, 80, 100] as const;

/**
 * What was let through of a minute's allowance and time has not made up for yet. Told in requests and tokens, not as
 * the moment at which all is made up for: a token of a million a minute is less than a moment since 1970 can tell.
 */
type Owed = 'requestsOwed' | 'tokensOwed';
const PER_MINUTE = { requestsOwed: 'requestsPerMinute', tokensOwed: 'tokensPerMinute' } as const;
/** What all rounding comes to, in requests or tokens. */
const ROUNDING = 1e-6;

/** What is known of a period under its lock. */
export interface AccountState {
  used: number;
  overrun: number;
  held: number;
  alerted: number;
  requestsOwed: number;
  tokensOwed: number;
  owedAt: number;
}

export type AccountLimits = Pick<PlanLimits, 'tokensPerPeriod' | 'tokenLimit' | 'requestsPerMinute' | 'tokensPerMinute'>;

/**
 * One owner's period while it is decided about: what may still be used, and what was. Whoever has one holds the lock
 * of its row, and everything that was decided before is in it: that is what makes a cap exact.
 */
export class QuotaBalance {
  constructor(
    readonly state: AccountState,
    private readonly limits: AccountLimits,
    private readonly now: number,
    /** Of earlier periods that were cut short: what they used counts here too. */
    private readonly carriedFrom: QuotaBalance[] = [],
  ) {}

  /** Has this period count what an earlier one used, too. */
  carry(earlier: QuotaBalance): void {
    this.carriedFrom.push(earlier);
  }

  /** What was used, or is on hold, in the periods that are carried into this one. */
  get carried(): Pick<AccountState, 'used' | 'overrun' | 'held'> {
    const total = { used: 0, overrun: 0, held: 0 };
    for (const { state } of this.carriedFrom) {
      total.used += state.used;
      total.overrun += state.overrun;
      total.held += state.held;
    }
    return total;
  }

  /** All that counts against the limit. */
  get counted(): Pick<AccountState, 'used' | 'overrun' | 'held'> {
    const { used, overrun, held } = this.carried;
    return { used: this.state.used + used, overrun: this.state.overrun + overrun, held: this.state.held + held };
  }

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
    if (this.limit === null) return null;
    const { used, held } = this.counted;
    return Math.max(0, this.limit - used - held);
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
    return this.spend('requestsOwed', 1);
  }

  /** As `spendRequest`. More than a whole minute's pass when nothing else was used, and the minutes after pay for them. */
  spendTokens(tokens: number): number {
    return this.spend('tokensOwed', tokens);
  }

  /** Takes what was used already from the minutes to come. */
  chargeTokens(tokens: number): void {
    if (tokens > 0 && this.limits.tokensPerMinute !== null) this.owe('tokensOwed', tokens);
  }

  /** Thresholds that are reached and were not told yet; from now on they were. */
  takeAlerts(): number[] {
    const { limit, state } = this;
    if (limit === null || state.used === 0) return [];
    // A hundred times a large number is no number any more that is exact.
    const percents = BigInt(this.counted.used) * 100n;
    const reached = ALERT_THRESHOLDS.filter((threshold) => threshold > state.alerted && percents >= BigInt(limit) * BigInt(threshold));
    state.alerted = reached.at(-1) ?? state.alerted;
    return reached;
  }

  private spend(name: Owed, weight: number): number {
    const perMinute = this.limits[PER_MINUTE[name]];
    if (perMinute === null || weight === 0) return 0;
    const owed = this.stillOwed(name);
    const tooMany = owed + weight - perMinute;
    if (owed > 0 && tooMany > ROUNDING) return Math.ceil((Math.min(tooMany, owed) * MINUTE_MS) / perMinute);
    this.owe(name, weight);
    return 0;
  }

  private owe(name: Owed, weight: number): void {
    const [requestsOwed, tokensOwed] = [this.stillOwed('requestsOwed'), this.stillOwed('tokensOwed')];
    Object.assign(this.state, { requestsOwed, tokensOwed, owedAt: Math.max(this.now, this.state.owedAt) });
    this.state[name] += weight;
  }

  private stillOwed(name: Owed): number {
    const perMinute = this.limits[PER_MINUTE[name]];
    const since = Math.max(0, this.now - this.state.owedAt);
    return perMinute === null ? 0 : Math.max(0, this.state[name] - (since * perMinute) / MINUTE_MS);
  }
}
