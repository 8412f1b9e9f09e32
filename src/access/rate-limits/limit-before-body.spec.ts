import type { LimitResult } from './buckets.js';
import { RefusalCache } from './limit-before-body.js';

/** Of one call in ten seconds: refused, and full again in 15. */
const refused: LimitResult = { name: 'auth', policy: { limit: 1, windowSeconds: 10 }, allowed: false, secondsUntilFull: 15 };

describe('a remembered refusal', () => {
  it('lasts until the limit lets a call through, and shows the rest of the wait', () => {
    const refusals = new RefusalCache();
    refusals.add('a', refused, 1000);
    expect(refusals.get('b', 1000)).toBeUndefined();
    expect(refusals.get('a', 1000)).toEqual(refused);
    expect(refusals.get('a', 11_000)).toMatchObject({ allowed: false, secondsUntilFull: 5 });
    expect(refusals.get('a', 15_999)?.allowed).toBe(false);
    expect(refusals.get('a', 16_000)).toBeUndefined();
    expect(refusals.get('a', 1000)).toBeUndefined();
  });

  it('is kept for the last 10,000 addresses', () => {
    const refusals = new RefusalCache();
    for (let client = 0; client <= 10_000; client += 1) refusals.add(String(client), refused, 0);
    expect([refusals.get('0', 0), refusals.get('1', 0)]).toEqual([undefined, refused]);
  });
});
