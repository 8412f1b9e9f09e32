import fc from 'fast-check';
import type { BillingPeriod } from '../../subscriptions/sync/billing-provider.port.js';
import { LONGEST_USAGE_MONTH_MS, UsageTimeline } from './usage-timeline.js';
import { addMonths } from './usage-period.js';
import { DAY_MS, HOUR_MS } from '../../platform/time/durations.js';

const at = (text: string) => new Date(text);
const period = (start: string, end: string): BillingPeriod => ({ start: at(start), end: at(end) });
const timelineOf = (list: BillingPeriod[], isLastFinal = false) => new UsageTimeline({ list, isLastFinal });
const later = (time: Date, ms: number) => new Date(time.getTime() + ms);

/** The starts of the months from a moment on, and the end of the last one. */
function boundaries(timeline: UsageTimeline, from: Date, count: number): string[] {
  const starts = [timeline.monthAt(from).start];
  while (starts.length <= count) starts.push(timeline.monthAt(starts.at(-1)!).end);
  return starts.map((start) => start.toISOString().replace('T00:00:00.000Z', ''));
}

describe('the usage months of a subscription', () => {
  it.each<[string, BillingPeriod, string[]]>([
    ['a month', period('2026-04-10', '2026-05-10'), ['2026-04-10', '2026-05-10', '2026-06-10']],
    ['a month that ends clamped', period('2026-01-31', '2026-02-28'), ['2026-01-31', '2026-02-28', '2026-03-31']],
    ['a month that returns', period('2026-02-28', '2026-03-31'), ['2026-02-28', '2026-03-31', '2026-04-30', '2026-05-31']],
    ['a week', period('2026-04-10', '2026-04-17'), ['2026-04-10', '2026-04-17', '2026-04-24']],
    ['a day', period('2026-04-10', '2026-04-11'), ['2026-04-10', '2026-04-11', '2026-04-12']],
    ['a quarter', period('2025-11-30', '2026-02-28'), ['2025-11-30', '2025-12-30', '2026-01-30', '2026-02-28', '2026-03-30']],
    ['14 days of trial', period('2026-04-10', '2026-04-24'), ['2026-04-10', '2026-04-24']],
    ['31 days', period('2026-02-01', '2026-03-04'), ['2026-02-01', '2026-03-04']],
    ['five weeks', period('2026-02-01', '2026-03-08'), ['2026-02-01', '2026-03-08', '2026-04-08']],
    ['a month and 14 days', period('2026-04-10', '2026-05-24'), ['2026-04-10', '2026-05-24', '2026-06-24']],
    ['a month and 15 days', period('2026-04-10', '2026-05-25'), ['2026-04-10', '2026-05-10', '2026-05-25', '2026-06-25']],
  ])('of %s, and while its renewal is unconfirmed', (_, billed, wanted) => {
    expect(boundaries(timelineOf([billed]), billed.start, wanted.length - 1)).toEqual(wanted);
  });

  it('are twelve in a year, and the last one ends with the year', () => {
    const starts = boundaries(timelineOf([period('2026-01-31', '2027-01-31')]), at('2026-01-31'), 13);
    expect([starts[1], starts[2], starts[11], starts[12], starts[13]]).toEqual([
      '2026-02-28',
      '2026-03-31',
      '2026-12-31',
      '2027-01-31',
      '2027-02-28',
    ]);
  });

  it('start again with each period, also in the middle of a month', () => {
    const timeline = timelineOf([period('2026-04-10', '2026-05-10'), period('2026-04-20T12:00:00Z', '2027-04-20T12:00:00Z')]);
    expect(timeline.monthAt(at('2026-04-20T11:59:59.999Z'))).toEqual({ ...period('2026-04-10', '2026-04-20T12:00:00Z'), isCut: true });
    expect(timeline.monthAt(at('2026-04-20T12:00:00Z'))).toEqual(period('2026-04-20T12:00:00Z', '2026-05-20T12:00:00Z'));
  });

  it('continue at the old end while a renewal is unconfirmed, and keep that start once the renewal is known', () => {
    const april = period('2026-04-10', '2026-05-10');
    const unconfirmed = timelineOf([april]).monthAt(at('2026-05-12'));
    const known = timelineOf([april, period('2026-05-10', '2026-06-10')]).monthAt(at('2026-05-12'));
    expect([unconfirmed, known]).toEqual([period('2026-05-10', '2026-06-10'), period('2026-05-10', '2026-06-10')]);
  });

  it('stop where the subscription is known to end', () => {
    const billed = period('2026-04-10', '2026-05-10');
    expect(timelineOf([billed], true).monthAt(at('2026-05-10T00:30:00Z'))).toEqual(billed);
  });

  describe('that another period cut short', () => {
    const april = period('2026-04-10', '2026-05-10');
    const carriedAt = (list: BillingPeriod[], moment: string) => {
      const timeline = timelineOf(list);
      return timeline.carrySources(timeline.monthAt(at(moment))).map((start) => start.toISOString().slice(0, 10));
    };

    it('are carried into the next period, and not further', () => {
      const list = [april, period('2026-04-20', '2027-04-20')];
      expect(carriedAt(list, '2026-04-19')).toEqual([]);
      expect(carriedAt(list, '2026-04-25')).toEqual(['2026-04-10']);
      expect(carriedAt(list, '2026-05-19')).toEqual(['2026-04-10']);
      expect(carriedAt(list, '2026-05-20')).toEqual([]);
    });

    it('are not carried after a renewal, also a little early', () => {
      expect(carriedAt([april, period('2026-05-10', '2026-06-10')], '2026-05-11')).toEqual([]);
      expect(carriedAt([april, period('2026-05-09T00:00:00Z', '2026-06-09')], '2026-05-11')).toEqual([]);
      expect(carriedAt([april, period('2026-05-08T23:59:59.999Z', '2026-06-08')], '2026-05-11')).toEqual(['2026-04-10']);
    });

    it('are carried where a renewal starts within an unconfirmed month', () => {
      expect(carriedAt([april, period('2026-05-13', '2026-06-13')], '2026-05-14')).toEqual(['2026-05-10']);
    });

    it('are carried from every running period, and of a year only the month of the change', () => {
      const year = period('2026-01-10', '2027-01-10');
      const list = [year, period('2026-04-20', '2026-05-20'), period('2026-04-21', '2027-04-21'), period('2026-05-18', '2026-06-18')];
      expect(carriedAt(list, '2026-04-20')).toEqual(['2026-04-10']);
      expect(carriedAt(list, '2026-04-21')).toEqual(['2026-04-10', '2026-04-20']);
      expect(carriedAt(list, '2026-05-18')).toEqual(['2026-04-20', '2026-04-21']);
    });
  });

  describe('for any history', () => {
    const START = at('2024-01-31T10:30:00Z');
    const step = fc.record({
      kind: fc.constantFrom('renew', 'late renewal', 'switch', 'trial', 'pause'),
      interval: fc.constantFrom('week', 'month', 'quarter', 'year', 'five weeks'),
      /** How far the period before it has come when it is cut short, or how many days are missing. */
      part: fc.double({ min: 0, max: 0.99, noNaN: true }),
    });
    type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
    const lengths: Record<Step['interval'], (start: Date) => Date> = {
      week: (start) => later(start, 7 * DAY_MS),
      month: (start) => addMonths(start, 1),
      quarter: (start) => addMonths(start, 3),
      year: (start) => addMonths(start, 12),
      'five weeks': (start) => later(start, 35 * DAY_MS),
    };
    /** Trials, changes of interval and anchor, pauses and resumes, as a provider reports them over the years. */
    const history = fc
      .tuple(fc.integer({ min: 0, max: 3650 }), fc.array(step, { minLength: 1, maxLength: 40, size: 'max' }))
      .map(([day, steps]) => {
        const periods: BillingPeriod[] = [];
        let start = later(START, day * DAY_MS);
        for (const { kind, interval, part } of steps) {
          const before = periods.at(-1);
          const length = before === undefined ? 0 : before.end.getTime() - before.start.getTime();
          if (before !== undefined) {
            if (kind === 'switch') start = later(before.start, Math.max(1, Math.floor(length * part * part)));
            else if (kind === 'pause') start = later(before.end, Math.floor(part * 100 * DAY_MS));
            else if (kind === 'late renewal') start = later(before.end, Math.floor(part * 5 * DAY_MS));
            else start = before.end;
          }
          periods.push({ start, end: kind === 'trial' ? later(start, 14 * DAY_MS) : lengths[interval](start) });
        }
        return periods;
      });
    const moments = fc.array(fc.integer({ min: 0, max: 3652 * DAY_MS }), { minLength: 1, maxLength: 20 });

    it('leave no gap and no overlap in ten years, and never straddle an invoice', () => {
      fc.assert(
        fc.property(history, moments, (list, offsets) => {
          const timeline = timelineOf(list);
          for (const offset of offsets) {
            const moment = later(timeline.start, offset);
            const month = timeline.monthAt(moment);
            const { start, end } = month;
            expect(start <= moment && moment < end).toBe(true);
            expect(end.getTime() - start.getTime()).toBeLessThanOrEqual(LONGEST_USAGE_MONTH_MS);
            expect(timeline.monthAt(start)).toEqual(month);
            expect(timeline.monthAt(later(end, -1))).toEqual(month);
            expect(timeline.monthAt(end).start).toEqual(end);
            expect(list.filter((billed) => billed.start > start && billed.start < end)).toEqual([]);
            const current = list.findLast((billed) => billed.start <= moment)!;
            const isCurrent = moment < current.end;
            expect(isCurrent && end > current.end).toBe(false);
          }
        }),
      );
    });

    it('need only the periods of the last two months', () => {
      fc.assert(
        fc.property(history, moments, (list, offsets) => {
          const timeline = timelineOf(list);
          for (const offset of offsets) {
            const moment = later(timeline.start, offset);
            const from = later(moment, -2 * LONGEST_USAGE_MONTH_MS);
            const first = list.findLastIndex(({ start }) => start <= from);
            const part = timelineOf(list.slice(Math.max(0, first)));
            const month = timeline.monthAt(moment);
            const wanted = [month, timeline.carrySources(month), timeline.carryTargets(month)];
            expect([part.monthAt(moment), part.carrySources(month), part.carryTargets(month)]).toEqual(wanted);
          }
        }),
      );
    });

    it('list the months that carry into each other', () => {
      fc.assert(
        fc.property(history, (list) => {
          const timeline = timelineOf(list);
          const months = list.flatMap(({ start }) => [timeline.monthAt(start), timeline.monthAt(later(start, -1 + HOUR_MS))]);
          for (const month of months) {
            for (const start of timeline.carrySources(month)) {
              const earlier = timeline.monthAt(start);
              expect(earlier.start).toEqual(start);
              expect(timeline.carryTargets(earlier)).toContainEqual(month);
            }
            for (const carrier of timeline.carryTargets(month)) expect(timeline.carrySources(carrier)).toContainEqual(month.start);
          }
        }),
      );
    });
  });
});
