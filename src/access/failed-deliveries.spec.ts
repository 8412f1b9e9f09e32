import { FailedDeliveries, MAX_FAILURES, WINDOW_SECONDS } from './failed-deliveries.js';

describe('deliveries that fail', () => {
  let now: number;
  let deliveries: FailedDeliveries;
  beforeEach(() => {
    now = Date.parse('2026-01-01T00:00:00Z');
    deliveries = new FailedDeliveries({ now: () => new Date(now) });
  });
  const fail = (client: string, count: number) => {
    for (let failure = 0; failure < count; failure += 1) deliveries.failed(client);
  };
  const pass = (seconds: number) => {
    now += seconds * 1000;
  };

  it('are refused above the bound, for a whole window, and by address', () => {
    fail('a', MAX_FAILURES - 1);
    pass(WINDOW_SECONDS - 1);
    expect(deliveries.secondsToWait('a')).toBe(0);
    fail('a', 1);
    expect([deliveries.secondsToWait('a'), deliveries.secondsToWait('b')]).toEqual([WINDOW_SECONDS, 0]);
    pass(0.5);
    // Those that were on their way do not prolong it.
    fail('a', 5);
    expect(deliveries.secondsToWait('a')).toBe(WINDOW_SECONDS);
    pass(WINDOW_SECONDS - 0.5);
    expect(deliveries.secondsToWait('a')).toBe(0);
  });

  it('are counted anew in each window', () => {
    for (let window = 0; window < 5; window += 1) {
      fail('a', MAX_FAILURES - 1);
      pass(WINDOW_SECONDS);
    }
    expect(deliveries.secondsToWait('a')).toBe(0);
  });

  it('never stop an address that delivered something valid within a day', () => {
    deliveries.succeeded('provider');
    fail('provider', 10_000);
    expect(deliveries.secondsToWait('provider')).toBe(0);
    pass(24 * 3600);
    fail('provider', MAX_FAILURES);
    expect(deliveries.secondsToWait('provider')).toBe(WINDOW_SECONDS);
    deliveries.succeeded('provider');
    expect(deliveries.secondsToWait('provider')).toBe(0);
  });

  it('are remembered of so many addresses, the latest ones', () => {
    fail('first', MAX_FAILURES);
    for (let client = 0; client < 30_000; client += 1) {
      fail(`client ${client}`, 1);
      deliveries.succeeded(`provider ${client}`);
    }
    expect(deliveries.size).toBe(20_000);
    expect(deliveries.secondsToWait('first')).toBe(0);
  });
});
