import { clockShifts, FAULTS, schedule } from './schedule.js';

describe('the schedule of faults', () => {
  const lengthOf = (planned: ReturnType<typeof schedule>) => planned.reduce((sum, { pauseMs, lastsMs }) => sum + pauseMs + lastsMs, 0);

  it('is the same for the same seed, and another one for another seed', () => {
    expect(schedule('1', 2)).toEqual(schedule('1', 2));
    expect(schedule('1', 2)).not.toEqual(schedule('2', 2));
    expect(schedule('1', 30, { isLong: true })).toEqual(schedule('1', 30, { isLong: true }));
    expect(clockShifts('1')).toEqual(clockShifts('1'));
  });

  it('ends within its time, and contains every kind of fault', () => {
    const planned = schedule('1', 3);
    expect(new Set(planned.map(({ kind }) => kind))).toEqual(new Set(FAULTS));
    expect(lengthOf(planned)).toBeLessThan(180_000);
  });

  it('of a long run migrates first, and rolls each process forward, back, and forward again, with faults between', () => {
    const planned = schedule('1', 30, { isLong: true });
    const faults = new Set<string>(FAULTS);
    const steps = planned.filter(({ kind }) => !faults.has(kind));
    const rolls = (kind: string) => Array.from({ length: 3 }, () => kind);
    expect(steps.map(({ kind }) => kind)).toEqual([
      'apply the new migrations',
      ...rolls('roll to the new version'),
      ...rolls('roll back to the old version'),
      ...rolls('roll to the new version'),
    ]);
    for (const first of [1, 4, 7]) expect(new Set(steps.slice(first, first + 3).map(({ victim }) => victim))).toEqual(new Set([0, 1, 2]));
    expect(lengthOf(planned)).toBeLessThan(1_800_000);
    const places = steps.map((step) => planned.indexOf(step));
    for (const [index, place] of places.slice(1).entries()) expect(place).toBeGreaterThan(places[index]! + 1);
  });

  it('has one clock that is right, one ahead and one behind, by less than a signature may be old', () => {
    const [right, ahead, behind] = clockShifts('1');
    expect(right).toBe(0);
    for (const shift of [ahead!, -behind!]) {
      expect(shift).toBeGreaterThanOrEqual(60_000);
      expect(shift).toBeLessThan(300_000);
    }
  });
});
