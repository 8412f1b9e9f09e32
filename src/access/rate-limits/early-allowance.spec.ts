import { Refusals } from './early-allowance.js';
import type { Spent } from './rate-limiter.service.js';

/** Of one call in ten seconds: refused, and whole again in 15. */
const refused: Spent = { name: 'auth', policy: { limit: 1, windowSeconds: 10 }, allowance: { allowed: false, debt: 15 } };

describe('a refusal that is remembered', () => {
  it('holds until the allowance gives something back, and tells what is left of the wait', () => {
    const refusals = new Refusals();
    refusals.add('a', refused, 1000);
    expect(refusals.of('b', 1000)).toBeUndefined();
    expect(refusals.of('a', 1000)).toEqual(refused);
    expect(refusals.of('a', 11_000)?.allowance).toEqual({ allowed: false, debt: 5 });
    expect(refusals.of('a', 15_999)?.allowance.allowed).toBe(false);
    expect(refusals.of('a', 16_000)).toBeUndefined();
    expect(refusals.of('a', 1000)).toBeUndefined();
  });

  it('is that of the latest 10,000 addresses', () => {
    const refusals = new Refusals();
    for (let client = 0; client <= 10_000; client += 1) refusals.add(String(client), refused, 0);
    expect([refusals.of('0', 0), refusals.of('1', 0)]).toEqual([undefined, refused]);
  });
});
