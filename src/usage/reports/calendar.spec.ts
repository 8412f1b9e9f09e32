import { type CalendarUnit, cutByCalendar } from './calendar.js';

const HOUR = 3_600_000;

describe('cutting a range by a calendar', () => {
  const cut = (unit: CalendarUnit, from: string, to: string, timeZone: string, most = 1000) =>
    cutByCalendar(unit, { from: new Date(from), to: new Date(to) }, timeZone, most);
  const starts = (...question: Parameters<typeof cut>) => cut(...question)!.map(({ key, start }) => [key, start.toISOString()]);
  const hoursOfDays = (...question: Parameters<typeof cut>) =>
    cut(...question)!.map(({ key, start, end }) => [key, (end.getTime() - start.getTime()) / HOUR]);

  it('starts with the part that contains the start of the range, and ends with the range', () => {
    expect(cut('month', '2026-01-15T12:00:00Z', '2026-03-01T00:00:00.001Z', 'UTC')).toEqual([
      { key: '2026-01', start: new Date('2026-01-15T12:00:00Z'), end: new Date('2026-02-01T00:00:00Z') },
      { key: '2026-02', start: new Date('2026-02-01T00:00:00Z'), end: new Date('2026-03-01T00:00:00Z') },
      { key: '2026-03', start: new Date('2026-03-01T00:00:00Z'), end: new Date('2026-03-01T00:00:00.001Z') },
    ]);
    expect(cut('month', '2026-01-01', '2026-02-01', 'UTC')).toHaveLength(1);
  });

  it('handles days of 23 and 25 hours, and changes of half an hour', () => {
    expect(hoursOfDays('day', '2026-03-08T05:00:00Z', '2026-03-10T04:00:00Z', 'America/New_York')).toEqual([
      ['2026-03-08', 23],
      ['2026-03-09', 24],
    ]);
    expect(hoursOfDays('day', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z', 'America/New_York')).toEqual([['2026-11-01', 25]]);
    expect(hoursOfDays('day', '2026-04-04T13:00:00Z', '2026-04-05T13:30:00Z', 'Australia/Lord_Howe')).toEqual([['2026-04-05', 24.5]]);
  });

  it('handles offsets of three quarters of an hour', () => {
    expect(starts('day', '2026-07-01T00:00:00Z', '2026-07-02T12:00:00Z', 'Pacific/Chatham')).toEqual([
      ['2026-07-01', '2026-07-01T00:00:00.000Z'],
      ['2026-07-02', '2026-07-01T11:15:00.000Z'],
      ['2026-07-03', '2026-07-02T11:15:00.000Z'],
    ]);
  });

  it('starts a day without a midnight at its first hour, and a day with two midnights at the first', () => {
    // Cairo puts its clocks forward at midnight, Havana puts them back at one o'clock.
    expect(hoursOfDays('day', '2026-04-23T22:00:00Z', '2026-04-24T21:00:00Z', 'Africa/Cairo')).toEqual([['2026-04-24', 23]]);
    expect(hoursOfDays('day', '2026-11-01T04:00:00Z', '2026-11-02T05:00:00Z', 'America/Havana')).toEqual([['2026-11-01', 25]]);
  });

  it('skips a day that the time zone skipped', () => {
    expect(starts('day', '2011-12-29T10:00:00Z', '2011-12-31T10:00:00.001Z', 'Pacific/Apia')).toEqual([
      ['2011-12-29', '2011-12-29T10:00:00.000Z'],
      ['2011-12-31', '2011-12-30T10:00:00.000Z'],
      ['2012-01-01', '2011-12-31T10:00:00.000Z'],
    ]);
  });

  it('begins weeks on Mondays, over the turn of the year too', () => {
    expect(starts('week', '2026-12-31', '2027-01-12', 'UTC')).toEqual([
      ['2026-12-28', '2026-12-31T00:00:00.000Z'],
      ['2027-01-04', '2027-01-04T00:00:00.000Z'],
      ['2027-01-11', '2027-01-11T00:00:00.000Z'],
    ]);
  });

  it('accepts every valid time, also before 1970', () => {
    expect(starts('day', '1969-12-31T23:59:59.999Z', '1970-01-01T00:00:00.001Z', 'UTC').map(([key]) => key)).toEqual([
      '1969-12-31',
      '1970-01-01',
    ]);
    expect(starts('month', '0001-01-01', '0001-02-02', 'America/New_York')).toEqual([
      ['0000-12', '0001-01-01T00:00:00.000Z'],
      ['0001-01', '0001-01-01T04:56:02.000Z'],
      ['0001-02', '0001-02-01T04:56:02.000Z'],
    ]);
  });

  it('throws when there are too many parts', () => {
    expect(cut('day', '2026-01-01', '2026-01-03', 'UTC', 2)).toHaveLength(2);
    expect(cut('day', '2026-01-01', '2026-01-03T00:00:00.001Z', 'UTC', 2)).toBeUndefined();
    expect(cut('hour', '0001-01-01', '9999-12-31', 'UTC')).toBeUndefined();
  });
});
