import type { LeaseGrant, LeaseRequest, LeaseTerms } from '../../src/access/leases/lease-terms.js';

/** The rows of `rate_limits` at a time that the test sets, in microseconds. */
export class SimulatedBuckets {
  readonly wholeAt = new Map<string, number>();

  grant({ interval, window, period }: LeaseTerms, requests: LeaseRequest[], now: number): LeaseGrant[] {
    return requests.map(({ key, waiting, ahead, unused, mark }) => {
      const stored = this.wholeAt.get(key);
      const returned = stored === mark ? unused : 0;
      const before = Math.max(0, (stored ?? now) - returned * interval - now);
      const admitted = Math.min(waiting, Math.max(0, Math.floor((window - before) / interval)));
      const spent = before + admitted * interval;
      const covered = Math.max(spent, period);
      const leased = Math.min(ahead, Math.max(0, Math.floor(Math.floor((window - covered) / interval) / 8)));
      const backlog = leased > 0 ? covered + leased * interval : spent;
      if (stored === undefined || admitted + leased + returned > 0) this.wholeAt.set(key, now + backlog);
      return { key, admitted, leased, backlog, mark: now + backlog };
    });
  }

  /** One call, as versions before leases count it. Returns whether it is allowed. */
  consume({ interval, window }: LeaseTerms, key: string, now: number): boolean {
    const wholeAt = Math.max(this.wholeAt.get(key) ?? now, now) + interval;
    if (wholeAt > now + window) return false;
    this.wholeAt.set(key, wholeAt);
    return true;
  }
}

/** How many of these calls a limit forbids: at most `(window + time) / interval` may be made in any time. */
export function excessOf({ interval, window }: LeaseTerms, calls: readonly number[]): number {
  let wholeAt = -Infinity;
  let excess = 0;
  for (const at of calls.toSorted((a, b) => a - b)) {
    const next = Math.max(wholeAt, at) + interval;
    if (next > at + window + 1) excess += 1;
    else wholeAt = next;
  }
  return excess;
}
