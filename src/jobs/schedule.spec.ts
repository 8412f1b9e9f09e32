import { lastTick, periodSeconds, type TimeOfDay } from './schedule.js';

const at = (time: string) => new Date(time);

describe('a schedule', () => {
  it.each([
    ['2026-11-30T03:29:59Z', '2026-11-29T03:30:00Z'],
    ['2026-11-30T03:30:00Z', '2026-11-30T03:30:00Z'],
    ['2026-11-30T23:59:59Z', '2026-11-30T03:30:00Z'],
    ['2026-03-29T03:30:00+02:00', '2026-03-28T03:30:00Z'],
  ])('of a time of day had its last tick, at %s, at %s', (now, tick) => {
    expect(lastTick({ dailyAt: '03:30' }, at(now))).toEqual(at(tick));
  });

  it('of an interval ticks at its multiples', () => {
    expect(lastTick({ everySeconds: 60 }, at('2026-11-30T12:00:59.999Z'))).toEqual(at('2026-11-30T12:00:00Z'));
    expect(periodSeconds({ everySeconds: 60 })).toBe(60);
  });

  it('of a time of day has a period of 24 hours', () => {
    expect(periodSeconds({ dailyAt: '00:00' })).toBe(86_400);
  });

  it.each(['3:30', '24:00', '12:60', '12:00:00'])('refuses %s', (time) => {
    expect(() => lastTick({ dailyAt: time as TimeOfDay }, new Date())).toThrow(`A time of day is written 03:30 (UTC), not ${time}`);
  });
});
