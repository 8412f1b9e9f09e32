import { rangesOf } from './usage-ranges.js';

describe('ranges of usage', () => {
  const at = (hour: number) => new Date(Date.UTC(2026, 0, 1, hour));
  const all = { from: at(0), to: at(24) };
  const ranges = (hours: [hour: number, events: number][], most: number) =>
    rangesOf(
      hours.map(([hour, events]) => ({ hour: at(hour), events })),
      { ...all, most },
    ).map(({ from, to }) => [from.getUTCHours(), (to.getTime() - at(0).getTime()) / 3_600_000]);

  it('are one range if there are few events or none', () => {
    expect(ranges([], 10)).toEqual([[0, 24]]);
    expect(
      ranges(
        [
          [3, 5],
          [4, 5],
        ],
        10,
      ),
    ).toEqual([[0, 24]]);
  });

  it('are split before they hold too many events, without a gap', () => {
    expect(
      ranges(
        [
          [3, 6],
          [4, 5],
          [9, 5],
          [20, 1],
        ],
        10,
      ),
    ).toEqual([
      [0, 4],
      [4, 20],
      [20, 24],
    ]);
  });

  it('never split an hour, however many events it has', () => {
    expect(
      ranges(
        [
          [0, 99],
          [1, 1],
          [2, 99],
        ],
        10,
      ),
    ).toEqual([
      [0, 1],
      [1, 2],
      [2, 24],
    ]);
  });

  it('tolerate negative counts, which damage can leave', () => {
    expect(
      ranges(
        [
          [1, -50],
          [2, 8],
          [3, 8],
        ],
        10,
      ),
    ).toEqual([[0, 24]]);
  });
});
