import { plainToInstance } from 'class-transformer';
import { validateSync } from 'class-validator';
import fc from 'fast-check';
import { IsEndTime, IsTime, readTime } from './is-time.js';
import { LocalCalendar } from './time-zones.js';
import { DAY_MS, MINUTE_MS } from './durations.js';

const iso = (text: string, timeZone?: string) => readTime(text, timeZone)?.toISOString();

describe('reading a time', () => {
  it.each([
    ['2026-01-01T00:00:00Z', '2026-01-01T00:00:00.000Z'],
    ['2026-01-01t01:30z', '2026-01-01T01:30:00.000Z'],
    ['2026-01-01T00:00:00.1239+14:00', '2025-12-31T10:00:00.123Z'],
    ['2024-02-29', '2024-02-29T00:00:00.000Z'],
    ['1970-01-01T00:00:00Z', '1970-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ])('reads %s', (text, time) => expect(iso(text)).toBe(time));

  it.each([
    '',
    '1',
    '2026',
    '2026-01',
    '2026-1-1',
    '2026-02-30',
    '2026-13-01',
    '2025-02-29',
    'yesterday',
    '20260101T000000Z',
    '2026-01-01T00:00:00',
    '2026-01-01 00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T23:59:60Z',
    '2026-01-01T00:60Z',
    '2026-01-01T00:00:00+24:00',
    '2026-01-01T00:00:00+5:00',
    '2026-01-01T00:00:00.Z',
    '2026-01-01Z',
    ' 2026-01-01',
    '0000-01-01',
    '0001-01-01T00:00:00Z',
    '0050-06-01',
    '0099-12-31T00:00:00Z',
    '1900-01-01',
    '1969-12-31T23:59:59.999Z',
    '1970-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
    '10000-01-01',
    '+010000-01-01T00:00:00Z',
    '-000001-01-01',
    '+275760-09-13',
  ])('refuses %j', (text) => expect(iso(text)).toBeUndefined());
});

describe('a day alone', () => {
  it.each([
    ['UTC', '2026-11-10', '2026-11-10T00:00:00.000Z'],
    ['Europe/Berlin', '2026-11-10', '2026-11-09T23:00:00.000Z'],
    ['europe/berlin', '2026-07-10', '2026-07-09T22:00:00.000Z'],
    ['Asia/Kolkata', '2026-11-10', '2026-11-09T18:30:00.000Z'],
    // Midnight is skipped.
    ['America/Sao_Paulo', '2018-11-04', '2018-11-04T03:00:00.000Z'],
    ['Africa/Cairo', '2026-04-24', '2026-04-23T22:00:00.000Z'],
    // Midnight comes twice.
    ['America/Havana', '2026-11-01', '2026-11-01T04:00:00.000Z'],
    ['Atlantic/Azores', '2026-10-25', '2026-10-25T00:00:00.000Z'],
    // The day is skipped: it starts where the next one does, and is empty.
    ['Pacific/Apia', '2011-12-30', '2011-12-30T10:00:00.000Z'],
    ['Pacific/Apia', '2011-12-31', '2011-12-30T10:00:00.000Z'],
    // It starts before 1970, from when on there are times.
    ['Asia/Tokyo', '1970-01-01', '1970-01-01T00:00:00.000Z'],
  ])('starts in %s on %s at %s', (timeZone, day, start) => expect(iso(day, timeZone)).toBe(start));

  it('starts at the first moment that is of it, in every zone', () => {
    const zones = Intl.supportedValuesOf('timeZone');
    const calendars = new Map<string, LocalCalendar>();
    const calendarOf = (zone: string) => calendars.get(zone) ?? calendars.set(zone, new LocalCalendar(zone)).get(zone)!;
    fc.assert(
      fc.property(fc.constantFrom(...zones), fc.integer({ min: 1, max: 25_000 }), (zone, day) => {
        const calendar = calendarOf(zone);
        const start = calendar.startOf(day);
        const before = Array.from({ length: 12 }, (_, index) => start - 1 - index * 15 * MINUTE_MS);
        expect(calendar.dayOf(start)).toBeGreaterThanOrEqual(day);
        for (const moment of before) expect(calendar.dayOf(moment)).toBeLessThan(day);
        expect(Math.abs(start - day * DAY_MS)).toBeLessThan(DAY_MS);
      }),
      { numRuns: 2000 },
    );
  });
});

class Query {
  @IsTime({ zoneIn: 'timeZone' })
  from!: Date;

  @IsEndTime()
  expiresAt!: Date;
}

describe('the decorators', () => {
  const check = (given: object) => {
    const query = plainToInstance(Query, { from: '2026-01-01T00:00:00Z', expiresAt: '2026-01-01T00:00:00Z', ...given });
    return { query, refused: validateSync(query).map(({ property }) => property) };
  };

  it('read a day alone in the zone of its sibling, in UTC where that is no zone', () => {
    expect(check({ from: '2026-11-10', timeZone: 'Europe/Berlin' }).query.from).toEqual(new Date('2026-11-09T23:00:00Z'));
    expect(check({ from: '2026-11-10', timeZone: 'Mars/Olympus' }).query.from).toEqual(new Date('2026-11-10T00:00:00Z'));
    expect(check({ from: '2026-11-10', timeZone: ['UTC'] }).query.from).toEqual(new Date('2026-11-10T00:00:00Z'));
  });

  it('refuse a day alone where something ends', () => {
    expect(check({}).refused).toEqual([]);
    expect(check({ expiresAt: '2026-01-01' }).refused).toEqual(['expiresAt']);
  });

  it.each([[1_767_225_600], [null], [['2026-01-01']], [{}], [true], ['0001-01-01']])('refuse %j', (value) => {
    expect(check({ from: value, expiresAt: value }).refused).toEqual(['from', 'expiresAt']);
  });
});
