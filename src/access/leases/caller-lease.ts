import type { LeaseGrant, LeaseTerms } from './lease-terms.js';

interface Part {
  left: number;
  /** The moment on this process's clock from which they are worthless. */
  until: number;
  mark: number;
}

/** A lease is renewed when this part of the expected use is left, and lasts for this part of its period. */
const RENEWED_AT = 1 / 3;
const LASTS = 0.6;
/** How long memory refuses a caller. Other processes may give calls back meanwhile. */
const LONGEST_REFUSAL_MS = 1000;

/**
 * The calls that one caller may still make at this process without a statement. All times are milliseconds of a clock that
 * is never set. The last call of a lease is kept until the limit is reached, so that no header says that nothing is left.
 */
export class CallerLease {
  /** Oldest first. Only the newest can be given back: a later grant of ours changes the bucket. */
  private readonly parts: Part[] = [];
  private left = 0;
  private unused?: Part;
  private readonly calls = { now: 0, before: 0, since: 0 };
  private fullAt = 0;
  private grantedAt = 0;
  private refusedUntil = 0;
  /** Set while a statement for this caller waits or runs. */
  isAsking = false;

  constructor(private readonly terms: LeaseTerms) {}

  /** Returns how many calls are left after this one; undefined when the bucket must decide. */
  take(now: number): number | undefined {
    this.dropEnded(now);
    const [oldest] = this.parts;
    if (oldest === undefined || (this.left < 2 && !this.isRefused(now))) return undefined;
    oldest.left -= 1;
    if (oldest.left === 0) this.parts.shift();
    this.left -= 1;
    this.count(1, now);
    return this.left;
  }

  runsLow(now: number): boolean {
    return !this.isAsking && this.left <= Math.max(2, this.expected(now) * RENEWED_AT) && !this.isRefused(now);
  }

  /** How many calls to lease: about what the caller makes in this part of a period, and none for its first call. */
  wanted(now: number, waiting: number): number {
    if (this.terms.period === 0) return 0;
    const before = this.expected(now);
    if (before === 0) return 0;
    const wanted = Math.ceil(before + waiting * LASTS) - this.left;
    return wanted < 2 ? 0 : wanted;
  }

  /** @param sentAt the time before the statement was sent: the database counts the period from a later time */
  grant({ admitted, leased, backlog, mark }: LeaseGrant, { waiting, sentAt, now }: { waiting: number; sentAt: number; now: number }): void {
    this.count(admitted, now);
    this.grantedAt = now;
    this.fullAt = now + backlog / 1000;
    if (leased > 0) {
      this.parts.push({ left: leased, until: sentAt + this.terms.period / 1000, mark });
      this.left += leased;
    }
    const wait = this.fullAt - (this.terms.window - this.terms.interval) / 1000;
    this.refusedUntil = admitted < waiting ? Math.min(wait, now + LONGEST_REFUSAL_MS) : 0;
  }

  isRefused(now: number): boolean {
    return now < this.refusedUntil;
  }

  secondsUntilFull(now: number): number {
    return (this.fullAt - now) / 1000;
  }

  hasEnded(now: number): boolean {
    return !this.isAsking && now >= this.grantedAt + this.terms.period / 1000 && !this.isRefused(now);
  }

  end(): void {
    this.dropEnded(Infinity);
  }

  get hasUnused(): boolean {
    return this.unused !== undefined;
  }

  takeUnused(): Part | undefined {
    const { unused } = this;
    this.unused = undefined;
    return unused;
  }

  private dropEnded(now: number): void {
    for (let part = this.parts[0]; part !== undefined && part.until <= now; part = this.parts[0]) {
      this.parts.shift();
      this.left -= part.left;
      if (this.parts.length === 0) this.unused = part;
    }
  }

  private count(calls: number, now: number): void {
    this.turn(now);
    this.calls.now += calls;
  }

  /** The calls of the last period, by a sliding window, that a lease should last for. */
  private expected(now: number): number {
    if (this.terms.period === 0) return 0;
    this.turn(now);
    const { since, before } = this.calls;
    return (this.calls.now + before * (1 - ((now - since) * 1000) / this.terms.period)) * LASTS;
  }

  private turn(now: number): void {
    const period = this.terms.period / 1000;
    const passed = now - this.calls.since;
    if (passed < period) return;
    this.calls.before = passed < 2 * period ? this.calls.now : 0;
    this.calls.since = passed < 2 * period ? this.calls.since + period : now;
    this.calls.now = 0;
  }
}
