import { cutAtMonths, partialHours } from './rollup-spans.js';

const at = (text: string) => new Date(`${text}Z`);
const spans = (...texts: [string, string][]) => texts.map(([from, to]) => ({ from: at(from), to: at(to) }));

describe('cutAtMonths', () => {
  it.each<[string, string[], [string, string][], [string, string][]]>([
    ['a range within a month', ['2026-03-02', '2026-03-30'], [], [['2026-03-02', '2026-03-30']]],
    ['whole months', ['2026-01-01', '2027-01-01'], [['2026-01-01', '2027-01-01']], []],
    ['a range over one boundary', ['2026-03-02', '2026-04-30T10:30'], [], [['2026-03-02', '2026-04-30T10:30']]],
    [
      'months with hours before and after',
      ['2026-01-31T23:30', '2026-04-01T00:00:00.001'],
      [['2026-02-01', '2026-04-01']],
      [
        ['2026-01-31T23:30', '2026-02-01'],
        ['2026-04-01', '2026-04-01T00:00:00.001'],
      ],
    ],
    [
      'a boundary inside of a month',
      ['2026-01-01', '2026-02-15', '2026-04-01'],
      [
        ['2026-01-01', '2026-02-01'],
        ['2026-03-01', '2026-04-01'],
      ],
      [
        ['2026-02-01', '2026-02-15'],
        ['2026-02-15', '2026-03-01'],
      ],
    ],
  ])('divides %s', (_, boundaries, months, others) => {
    expect(cutAtMonths(boundaries.map(at))).toEqual({ months: spans(...months), others: spans(...others) });
  });
});

describe('partialHours', () => {
  it('finds each hour that a boundary cuts once', () => {
    const range = { from: at('2026-03-01T10:20'), to: at('2026-03-02') };
    expect(partialHours(['2026-03-01T10:20', '2026-03-01T10:40', '2026-03-01T12:00', '2026-03-02'].map(at), range)).toEqual([
      { hour: at('2026-03-01T10:00'), from: at('2026-03-01T10:20'), to: at('2026-03-01T11:00') },
    ]);
  });
});
