import fc from 'fast-check';
import { monthAt } from './usage-period.js';
import { DAY_MS } from '../../platform/time/durations.js';

const at = (text: string) => new Date(text);
const startsFrom = (anchor: Date, count: number) => {
  const starts = [monthAt(anchor, anchor).start];
  while (starts.length < count) starts.push(monthAt(anchor, starts.at(-1)!).end);
  return starts;
};

describe('a month of usage', () => {
  it.each([
    ['2026-01-31T10:00:00Z', '2026-02-28T09:59:59.999Z', '2026-01-31T10:00:00Z', '2026-02-28T10:00:00Z'],
    ['2026-01-31T10:00:00Z', '2026-02-28T10:00:00.000Z', '2026-02-28T10:00:00Z', '2026-03-31T10:00:00Z'],
    ['2026-01-31T10:00:00Z', '2028-02-29T23:00:00Z', '2028-02-29T10:00:00Z', '2028-03-31T10:00:00Z'],
    ['2024-02-29T00:00:00Z', '2025-02-28T00:00:00Z', '2025-02-28T00:00:00Z', '2025-03-29T00:00:00Z'],
    ['2026-05-15T12:30:00Z', '2026-12-31T23:59:59Z', '2026-12-15T12:30:00Z', '2027-01-15T12:30:00Z'],
    ['2026-05-15T12:30:00Z', '2026-05-15T12:29:59.999Z', '2026-04-15T12:30:00Z', '2026-05-15T12:30:00Z'],
  ])('anchored at %s holds %s in %s to %s', (anchor, moment, start, end) => {
    expect(monthAt(at(anchor), at(moment))).toEqual({ start: at(start), end: at(end) });
  });

  it('leaves no gap and no overlap in ten years, whatever the anchor', () => {
    const anchors = fc.date({ min: at('2019-12-01T00:00:00Z'), max: at('2026-12-31T23:59:59.999Z'), noInvalidDate: true });
    fc.assert(
      fc.property(anchors, fc.integer({ min: 0, max: 3652 * DAY_MS }), (anchor, later) => {
        const moment = new Date(anchor.getTime() + later);
        const { start, end } = monthAt(anchor, moment);
        expect(start <= moment && moment < end).toBe(true);
        // Both of its ends agree with it, from either side.
        expect(monthAt(anchor, start)).toEqual({ start, end });
        expect(monthAt(anchor, new Date(end.getTime() - 1))).toEqual({ start, end });
        expect(monthAt(anchor, end).start).toEqual(end);
      }),
    );
  });

  it.each([28, 29, 30, 31])('anchored on the %ith begins on that day, or on the last of a shorter month', (day) => {
    for (let year = 2020; year < 2024; year += 1) {
      const anchor = new Date(Date.UTC(year, 0, day, 23, 59, 59, 999));
      for (const [index, start] of startsFrom(anchor, 120).entries()) {
        const days = new Date(Date.UTC(year, index + 1, 0)).getUTCDate();
        expect(start).toEqual(new Date(Date.UTC(year, index, Math.min(day, days), 23, 59, 59, 999)));
      }
    }
  });

  it('is one month in a yearly plan too: there are twelve from one anniversary to the next', () => {
    fc.assert(
      fc.property(fc.date({ min: at('2020-01-01T00:00:00Z'), max: at('2026-12-31T00:00:00Z'), noInvalidDate: true }), (anchor) => {
        fc.pre(!(anchor.getUTCMonth() === 1 && anchor.getUTCDate() === 29));
        const anniversary = new Date(anchor);
        anniversary.setUTCFullYear(anchor.getUTCFullYear() + 1);
        expect(startsFrom(anchor, 13).at(-1)).toEqual(anniversary);
      }),
    );
  });
});
