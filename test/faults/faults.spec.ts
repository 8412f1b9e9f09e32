import { schedule } from './schedule.js';

describe('the schedule of faults', () => {
  it('is the same for the same seed, and another one for another seed', () => {
    expect(schedule('1', 2)).toEqual(schedule('1', 2));
    expect(schedule('1', 2)).not.toEqual(schedule('2', 2));
  });

  it('ends within its time, and contains every kind of fault', () => {
    const planned = schedule('1', 3);
    expect(new Set(planned.map(({ kind }) => kind)).size).toBe(10);
    expect(planned.reduce((sum, { pauseMs, lastsMs }) => sum + pauseMs + lastsMs, 0)).toBeLessThan(180_000);
  });
});
