import { ConcurrencyLimit } from './load-shedding.js';

describe('the limit of concurrent requests', () => {
  const MAX = 1000;
  const TARGET_MS = 1000;

  /** Completes `perSecond` requests a second for a while, each after `milliseconds`. */
  function complete(
    limit: ConcurrencyLimit,
    given: { perSecond: number; milliseconds: number; atWork: number; from: number; seconds: number },
  ) {
    const { perSecond, milliseconds, atWork, from, seconds } = given;
    for (let count = 0; count <= perSecond * seconds; count += 1) limit.add(milliseconds, atWork, from + (count * 1000) / perSecond);
  }

  it('falls to the number that is completed within the target while most requests take longer', () => {
    const limit = new ConcurrencyLimit(MAX, TARGET_MS);
    expect(limit.value).toBe(MAX);
    complete(limit, { perSecond: 300, milliseconds: 2500, atWork: 750, from: 0, seconds: 1 });
    expect(limit.value).toBeGreaterThan(270);
    expect(limit.value).toBeLessThan(330);
  });

  it('never falls below 100', () => {
    const limit = new ConcurrencyLimit(MAX, TARGET_MS);
    complete(limit, { perSecond: 20, milliseconds: 5000, atWork: 110, from: 0, seconds: 3 });
    expect(limit.value).toBe(100);
  });

  it('grows back within two seconds once requests are fast', () => {
    const limit = new ConcurrencyLimit(MAX, TARGET_MS);
    complete(limit, { perSecond: 100, milliseconds: 5000, atWork: 700, from: 0, seconds: 1 });
    expect(limit.value).toBeLessThan(150);
    complete(limit, { perSecond: 1000, milliseconds: 50, atWork: 90, from: 1001, seconds: 2 });
    expect(limit.value).toBe(MAX);
  });

  it('stays while slow requests are few, or only a part', () => {
    const limit = new ConcurrencyLimit(MAX, TARGET_MS);
    complete(limit, { perSecond: 50, milliseconds: 5000, atWork: 90, from: 0, seconds: 2 });
    expect(limit.value).toBe(MAX);
    for (let count = 0; count < 1000; count += 1) limit.add(count % 3 === 0 ? 5000 : 50, 500, 3000 + count);
    expect(limit.value).toBe(MAX);
  });
});
