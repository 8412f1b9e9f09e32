import fc from 'fast-check';
import { remainingCalls, secondsUntilRetry } from './buckets.js';

describe('the state of a limit', () => {
  const policy = fc.record({ limit: fc.integer({ min: 1, max: 1e6 }), windowSeconds: fc.integer({ min: 1, max: 1e5 }) });
  const spentOnce = ({ limit, windowSeconds }: { limit: number; windowSeconds: number }) => Math.floor((windowSeconds * 1e6) / limit) / 1e6;

  it('shows exactly how many calls remain after any number of calls at one moment', () => {
    fc.assert(
      fc.property(policy, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
        fc.pre(spentOnce(given) > 1e-4);
        const calls = Math.max(1, Math.round(share * given.limit));
        const secondsUntilFull = calls * spentOnce(given);
        // Rounding an interval down to the microsecond may show one more of very many, never one less.
        const left = remainingCalls({ policy: given, allowed: true, secondsUntilFull });
        expect(left).toBeGreaterThanOrEqual(given.limit - calls);
        expect(left).toBeLessThanOrEqual(given.limit - calls + Math.ceil(given.limit / 100));
      }),
    );
  });

  it('shows no remaining calls and a sufficient wait when a call is refused', () => {
    fc.assert(
      fc.property(policy, fc.double({ min: 0, max: 1, noNaN: true }), (given, share) => {
        const interval = given.windowSeconds / given.limit;
        const debt = given.windowSeconds - share * interval;
        const refused = { policy: given, allowed: false, secondsUntilFull: debt };
        expect(remainingCalls(refused)).toBe(0);
        const wait = secondsUntilRetry(refused);
        expect(wait).toBeGreaterThanOrEqual(1);
        expect(debt - wait + interval).toBeLessThanOrEqual(given.windowSeconds + 1e-6);
        expect(wait).toBeLessThanOrEqual(Math.max(1, Math.ceil(interval + 1e-6)));
      }),
    );
  });
});
