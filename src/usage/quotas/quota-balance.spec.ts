import fc from 'fast-check';
import { type QuotaLimits, type QuotaState, ALERT_THRESHOLDS, MAX_TOKENS, QuotaBalance } from './quota-balance.js';
import { MINUTE_MS } from '../../platform/time/durations.js';

const NOW = Date.UTC(2026, 10, 22, 9);
const NO_LIMITS: QuotaLimits = { tokensPerPeriod: null, tokenLimit: 'hard', requestsPerMinute: null, tokensPerMinute: null };

const accountOf = (limits: Partial<QuotaLimits>, state: Partial<QuotaState> = {}, now = NOW) =>
  new QuotaBalance(
    { used: 0, overrun: 0, held: 0, alerted: 0, requestsOwed: 0, tokensOwed: 0, owedAt: 0, ...state },
    { ...NO_LIMITS, ...limits },
    now,
  );

describe('an account', () => {
  describe('with a hard cap', () => {
    it('accepts up to the limit, to the token, counting used and held tokens', () => {
      const account = accountOf({ tokensPerPeriod: 100 }, { used: 50, held: 30 });
      expect(account.remaining).toBe(20);
      expect([account.exceeds(20), account.exceeds(21)]).toEqual([false, true]);
      account.hold(20);
      expect([account.remaining, account.exceeds(1), account.exceeds(0)]).toEqual([0, true, false]);
      account.releaseHold(20);
      account.use(20);
      expect([account.remaining, account.exceeds(1)]).toEqual([0, true]);
    });

    it('has 0 remaining, not less, when more was settled than the limit', () => {
      const account = accountOf({ tokensPerPeriod: 100 }, { used: 90 });
      expect(account.settle(30, 0)).toBe(30);
      expect(account.state).toMatchObject({ used: 120, overrun: 30 });
      expect([account.remaining, account.exceeds(1), account.exceeds(0)]).toEqual([0, true, false]);
    });

    it('counts as overrun only the tokens that no hold had reserved', () => {
      const account = accountOf({ tokensPerPeriod: 100 });
      expect([account.settle(10, 30), account.settle(30, 30), account.settle(31, 30)]).toEqual([0, 0, 1]);
      expect(account.state).toMatchObject({ used: 71, overrun: 1 });
    });
  });

  it.each([
    ['a soft cap', { tokensPerPeriod: 100, tokenLimit: 'soft' as const }],
    ['no cap', { tokensPerPeriod: null }],
  ])('with %s is never exceeded, but counts no further than numbers reach', (_, limits) => {
    const account = accountOf(limits, { used: MAX_TOKENS - 10, held: 4 });
    expect(account.exceeds(MAX_TOKENS)).toBe(false);
    expect([account.overflows(6), account.overflows(7), account.overflows(MAX_TOKENS)]).toEqual([false, true, true]);
  });

  describe('alerts', () => {
    const limits = fc.oneof(fc.integer({ min: 1, max: 100_000 }), fc.integer({ min: 1, max: MAX_TOKENS }));
    const isReached = (used: number, limit: number, threshold: number) => BigInt(used) * 100n >= BigInt(limit) * BigInt(threshold);

    it('fire once per threshold, as soon as it is reached and no token earlier', () => {
      fc.assert(
        fc.property(limits, fc.array(fc.double({ min: 0, max: 0.7, noNaN: true }), { maxLength: 8 }), (limit, parts) => {
          const account = accountOf({ tokensPerPeriod: limit, tokenLimit: 'soft' });
          const told: number[] = [];
          for (const part of parts) {
            account.use(Math.min(Math.floor(limit * part), MAX_TOKENS - account.state.used));
            told.push(...account.takeAlerts());
            expect(told).toEqual(
              ALERT_THRESHOLDS.filter((threshold) => account.state.used > 0 && isReached(account.state.used, limit, threshold)),
            );
          }
        }),
      );
    });

    it('fire at the very token that reaches the threshold', () => {
      fc.assert(
        fc.property(limits, fc.constantFrom(...ALERT_THRESHOLDS), (limit, threshold) => {
          const first = Number((BigInt(limit) * BigInt(threshold) + 99n) / 100n);
          expect(accountOf({ tokensPerPeriod: limit }, { used: first }).takeAlerts()).toContain(threshold);
          expect(accountOf({ tokensPerPeriod: limit }, { used: first - 1 }).takeAlerts()).not.toContain(threshold);
        }),
        { numRuns: 1000 },
      );
    });

    it('do not fire when nothing is used or nothing is limited', () => {
      expect(accountOf({ tokensPerPeriod: 0 }).takeAlerts()).toEqual([]);
      expect(accountOf({ tokensPerPeriod: null }, { used: MAX_TOKENS }).takeAlerts()).toEqual([]);
      expect(accountOf({ tokensPerPeriod: 0 }, { used: 1, overrun: 1 }).takeAlerts()).toEqual([50, 80, 100]);
    });
  });

  describe('with limits of a minute', () => {
    interface Spent {
      at: number;
      weight: number;
    }
    /** What passes of attempts that come one after the other, each with the state that the one before left. */
    const passing = (tokensPerMinute: number, attempts: { wait: number; weight: number }[]) => {
      let now = NOW;
      let state: Partial<QuotaState> = {};
      return attempts.flatMap(({ wait, weight }): Spent[] => {
        now += wait;
        const account = accountOf({ tokensPerMinute }, state, now);
        const isSpent = account.spendTokens(weight) === 0;
        ({ state } = account);
        return isSpent ? [{ at: now, weight }] : [];
      });
    };
    const perMinute = fc.oneof(
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 1, max: 10_000_000 }),
      fc.constantFrom(60, 7000, 500_000),
    );

    it('never lets through more than the limit at once, nor more than it and its share of the time in any stretch of time', () => {
      const attempts = fc.array(
        fc.record({
          wait: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 2000 }), fc.integer({ min: 0, max: 3 * MINUTE_MS })),
          part: fc.double({ min: 0, max: 1, noNaN: true }),
        }),
        { maxLength: 60 },
      );
      fc.assert(
        fc.property(perMinute, attempts, (limit, all) => {
          const spent = passing(
            limit,
            all.map(({ wait, part }) => ({ wait, weight: Math.max(1, Math.floor(limit * part ** 3)) })),
          );
          for (const [index, { at: from }] of spent.entries()) {
            let sum = 0;
            for (const { at, weight } of spent.slice(index)) {
              sum += weight;
              expect(sum).toBeLessThanOrEqual(limit + (limit * (at - from)) / MINUTE_MS + 1e-5);
            }
          }
        }),
      );
    });

    it.each([7, 60, 7000, 500_000, 5_000_000, 1_000_000_000])('lets through %d in pieces as well as at once, and not one more', (limit) => {
      const pieces = Math.min(limit, 20_000);
      const account = accountOf({ tokensPerMinute: limit });
      const waits = Array.from({ length: pieces - 1 }, () => account.spendTokens(1));
      expect(Math.max(...waits)).toBe(0);
      expect(account.spendTokens(limit - pieces + 1)).toBe(0);
      expect(account.spendTokens(1)).toBeGreaterThan(0);
    });

    it('returns the shortest wait after which the request is accepted', () => {
      fc.assert(
        fc.property(perMinute, fc.double({ min: 0, max: 1, noNaN: true }), (limit, part) => {
          const account = accountOf({ tokensPerMinute: limit });
          const weight = Math.max(1, Math.floor(limit * part));
          expect(account.spendTokens(limit)).toBe(0);
          const wait = account.spendTokens(weight);
          const { state } = account;
          expect(wait).toBeGreaterThan(0);
          expect(accountOf({ tokensPerMinute: limit }, state, NOW + wait).spendTokens(weight)).toBe(0);
          const earlier = NOW + Math.max(0, wait - 2);
          expect(accountOf({ tokensPerMinute: limit }, state, earlier).spendTokens(weight)).toBeGreaterThan(0);
        }),
      );
    });

    it('accepts more than one minute of tokens when none were used, and the following minutes pay for it', () => {
      const account = accountOf({ tokensPerMinute: 60 });
      expect(account.spendTokens(150)).toBe(0);
      expect(account.spendTokens(1)).toBeGreaterThan(0);
      const { state } = account;
      expect(accountOf({ tokensPerMinute: 60 }, state, NOW + 90_000).spendTokens(1)).toBe(1000);
      expect(accountOf({ tokensPerMinute: 60 }, state, NOW + 91_000).spendTokens(1)).toBe(0);
      expect(accountOf({ tokensPerMinute: 60 }, { ...state }, NOW + 149_000).spendTokens(150)).toBe(1000);
      expect(accountOf({ tokensPerMinute: 60 }, { ...state }, NOW + 150_000).spendTokens(150)).toBe(0);
    });

    it('lets charged tokens delay later requests, but never a request for none', () => {
      const account = accountOf({ tokensPerMinute: 60 });
      account.chargeTokens(120);
      account.chargeTokens(-30);
      expect(account.spendTokens(0)).toBe(0);
      expect(account.spendTokens(1)).toBe(61_000);
    });

    it('counts requests and tokens apart', () => {
      const account = accountOf({ requestsPerMinute: 2, tokensPerMinute: 10 });
      expect([account.spendRequest(), account.spendRequest(), account.spendTokens(10)]).toEqual([0, 0, 0]);
      expect([account.spendRequest(), account.spendTokens(1)]).toEqual([30_000, 6000]);
    });

    it('is not misled by a clock that is behind the one before', () => {
      const limits = { requestsPerMinute: 2 };
      const ahead = accountOf(limits, {}, NOW + 500);
      expect([ahead.spendRequest(), ahead.spendRequest()]).toEqual([0, 0]);
      expect(accountOf(limits, ahead.state, NOW).spendRequest()).toBeGreaterThan(0);
    });

    it('changes nothing when it refuses', () => {
      const account = accountOf({ tokensPerMinute: 10 });
      account.spendTokens(10);
      const before = { ...account.state };
      account.spendTokens(1);
      expect(account.state).toEqual(before);
    });

    it('has no minute limit when the plan has none', () => {
      const account = accountOf({});
      expect([account.spendTokens(MAX_TOKENS), account.spendTokens(MAX_TOKENS), account.spendRequest()]).toEqual([0, 0, 0]);
      account.chargeTokens(5);
      expect(account.state).toMatchObject({ requestsOwed: 0, tokensOwed: 0 });
    });
  });
});
