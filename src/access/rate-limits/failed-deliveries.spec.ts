import { Clock } from '../../platform/time/clock.service.js';
import { FailedDeliveries, MAX_FAILURES, WINDOW_SECONDS } from './failed-deliveries.service.js';
import { HOUR_MS } from '../../platform/time/durations.js';

class SettableClock extends Clock {
  ms = Date.parse('2026-01-01T00:00:00Z');
  override now(): Date {
    return new Date(this.ms);
  }
}

describe('an address that sends failing deliveries', () => {
  const clock = new SettableClock();
  let deliveries: FailedDeliveries;
  beforeEach(() => {
    deliveries = new FailedDeliveries(clock);
    for (let failure = 0; failure < MAX_FAILURES; failure += 1) deliveries.recordFailure('client');
  });

  it('must wait for one window', () => {
    expect(deliveries.secondsToWait('client')).toBe(WINDOW_SECONDS);
    clock.ms += WINDOW_SECONDS * 1000;
    expect(deliveries.secondsToWait('client')).toBe(0);
  });

  it('gets one probe every five seconds, and is trusted again after one valid delivery', () => {
    expect(deliveries.takeProbe('client')).toBe(false);
    clock.ms += 4999;
    expect(deliveries.takeProbe('client')).toBe(false);
    clock.ms += 1;
    expect([deliveries.takeProbe('client'), deliveries.takeProbe('client')]).toEqual([true, false]);
    // A failed probe does not grant another one.
    deliveries.recordFailure('client');
    expect(deliveries.takeProbe('client')).toBe(false);
    deliveries.recordSuccess('client');
    expect(deliveries.secondsToWait('client')).toBe(0);
  });

  it('does not wait longer because of deliveries in flight, and other addresses do not wait', () => {
    clock.ms += 500;
    deliveries.recordFailure('client');
    expect([deliveries.secondsToWait('client'), deliveries.secondsToWait('other')]).toEqual([WINDOW_SECONDS, 0]);
    clock.ms += (WINDOW_SECONDS - 0.5) * 1000;
    expect(deliveries.secondsToWait('client')).toBe(0);
  });

  it('gets a new allowance in each window', () => {
    for (let window = 0; window < 5; window += 1) {
      for (let failure = 1; failure < MAX_FAILURES; failure += 1) deliveries.recordFailure('other');
      clock.ms += WINDOW_SECONDS * 1000;
    }
    expect(deliveries.secondsToWait('other')).toBe(0);
  });

  it('is not refused for a day after a valid delivery', () => {
    deliveries.recordSuccess('client');
    for (let failure = 0; failure < 1000; failure += 1) deliveries.recordFailure('client');
    expect(deliveries.secondsToWait('client')).toBe(0);
    clock.ms += 24 * HOUR_MS;
    for (let failure = 0; failure < MAX_FAILURES; failure += 1) deliveries.recordFailure('client');
    expect(deliveries.secondsToWait('client')).toBe(WINDOW_SECONDS);
  });

  it('is forgotten after 10,000 other addresses', () => {
    for (let other = 0; other < 10_001; other += 1) {
      deliveries.recordFailure(`other ${other}`);
      deliveries.recordSuccess(`provider ${other}`);
    }
    expect([deliveries.size, deliveries.secondsToWait('client')]).toEqual([20_000, 0]);
  });
});
