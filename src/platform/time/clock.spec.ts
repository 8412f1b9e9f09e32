import { jest } from '@jest/globals';
import { Clock, ClockOffset } from './clock.service.js';

describe('the clock', () => {
  const machine = 1_700_000_000_000;
  let offset: ClockOffset;
  const now = () => new Clock(offset).now().getTime() - machine;
  beforeEach(() => {
    jest.spyOn(Date, 'now').mockReturnValue(machine);
    offset = new ClockOffset();
  });
  afterEach(() => jest.restoreAllMocks());

  const correct = (aheadMs: number, tookMs: number) => offset.correct(offset.measurement(new Date(machine + aheadMs), tookMs));

  it("follows the database's, whose answer is half a round trip old", () => {
    expect(correct(60_000, 100)).toBe(true);
    expect(now()).toBe(60_050);
    expect(correct(-60_000, 100)).toBe(true);
    expect(now()).toBe(-59_950);
  });

  it('does not move by less than the uncertainty of a measurement', () => {
    expect(correct(50, 100)).toBe(false);
    expect(now()).toBe(0);
    expect(correct(52, 100)).toBe(true);
    expect(now()).toBe(102);
  });
});
