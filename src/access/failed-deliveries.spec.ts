import { Clock } from '../common/clock.js';
import { FailedDeliveries, MAX_FAILURES, WINDOW_SECONDS } from './failed-deliveries.js';

class SettableClock extends Clock {
  ms = Date.parse('2026-01-01T00:00:00Z');
  override now(): Date {
    return new Date(this.ms);
  }
}

describe('an address whose deliveries fail', () => {
  const clock = new SettableClock();
  let deliveries: FailedDeliveries;
  beforeEach(() => {
    deliveries = new FailedDeliveries(clock);
    for (let failure = 0; failure < MAX_FAILURES; failure += 1) deliveries.failed('client');
  });

  it('waits for a window', () => {
    expect(deliveries.secondsToWait('client')).toBe(WINDOW_SECONDS);
    clock.ms += WINDOW_SECONDS * 1000;
    expect(deliveries.secondsToWait('client')).toBe(0);
  });

  it('has one delivery in five seconds read meanwhile, and is trusted once one is good', () => {
    expect(deliveries.takeProbe('client')).toBe(false);
    clock.ms += 4999;
    expect(deliveries.takeProbe('client')).toBe(false);
    clock.ms += 1;
    expect([deliveries.takeProbe('client'), deliveries.takeProbe('client')]).toEqual([true, false]);
    // A bad one brings no further one.
    deliveries.failed('client');
    expect(deliveries.takeProbe('client')).toBe(false);
    deliveries.succeeded('client');
    expect(deliveries.secondsToWait('client')).toBe(0);
  });
});
