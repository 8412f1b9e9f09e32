import fc from 'fast-check';
import { v7 } from 'uuid';
import type { UsageGroupResponse, UsageRecordResponse, UsageSummaryResponse } from '../../../src/usage/reports/usage-reports.dto.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { signUpOperator } from '../../support/people.js';
import { createKey, createPerson, createTenant, type Person, type Tenant } from '../../support/tenant-world.js';
import { allPages } from '../../support/tenants.js';
import { createPartitions, type GivenUsage, insertUsage } from '../../support/usage/usage-rows.js';

type Json<T> = { [K in keyof T]: T[K] extends Date | null ? string : T[K] };
type Summary = Omit<Json<UsageSummaryResponse>, 'data'> & { data: Json<UsageGroupResponse>[] };
type Listed = Json<UsageRecordResponse>;

const HOUR = 3_600_000;

describe('usage reports', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  const iso = (ms: number) => new Date(ms).toISOString();
  const useOwn = async (person: Person, ...events: GivenUsage[]) => insertUsage(t.db, { kind: 'user', id: person.id }, events);
  const useIn = async ({ organization }: Tenant, ...events: GivenUsage[]) =>
    insertUsage(t.db, { kind: 'organization', id: organization.id }, events);
  const summaryOf = async (person: Person, query: Record<string, string> = {}) =>
    (await t.http.get('/v1/usage/summary').query(query).set(person.auth).expect(200)).body as Summary;
  const refusal = async (person: Person, path: string, query: Record<string, string>) =>
    (await t.http.get(`/v1/usage${path}`).query(query).set(person.auth).expect(400)).body as { code: string; errors?: { path: string }[] };

  /** A summary of the groups. */
  const tokensBy = ({ data }: Summary) => data.filter(({ events }) => events > 0).map(({ key, tokens }) => [key, tokens]);

  describe('of records', () => {
    it('return all fields, newest first', async () => {
      const person = await createPerson(t.db);
      const [classes, total] = await useOwn(
        person,
        {
          occurredAt: '2026-01-01T10:00:00.123Z',
          model: 'm',
          actorUserId: person.id,
          inputTokens: 1,
          outputTokens: 2,
          cachedInputTokens: 3,
          reasoningTokens: 4,
          overrun: 5,
          metadata: { feature: 'chat', cached: true, seconds: 1.5 },
        },
        { occurredAt: '2026-01-02T00:00:00Z', tokensUsed: 2 ** 53 - 1 },
      );
      const { body } = await t.http.get('/v1/usage').set(person.auth).expect(200);
      const createdAt = expect.any(String);
      const nothing = { inputTokens: 0, outputTokens: 0, cachedInputTokens: 0, reasoningTokens: 0, overrun: 0 };
      expect(body).toEqual({
        data: [
          {
            ...nothing,
            eventId: total!.eventId,
            userId: null,
            model: 'a-model',
            tokens: 2 ** 53 - 1,
            holdId: null,
            metadata: null,
            occurredAt: '2026-01-02T00:00:00.000Z',
            createdAt,
          },
          {
            eventId: classes!.eventId,
            userId: person.id,
            model: 'm',
            inputTokens: 1,
            outputTokens: 2,
            cachedInputTokens: 3,
            reasoningTokens: 4,
            tokens: 10,
            overrun: 5,
            holdId: null,
            metadata: { feature: 'chat', cached: true, seconds: 1.5 },
            occurredAt: '2026-01-01T10:00:00.123Z',
            createdAt,
          },
        ],
        nextCursor: null,
      });
    });

    it('return each record once over several pages, months and equal times', async () => {
      const person = await createPerson(t.db);
      const moments = ['2026-01-31T23:59:59.999Z', '2026-02-01T00:00:00.000Z', '2026-02-01T00:00:00.000Z', '2026-03-05T00:00:00Z'];
      const events = await useOwn(
        person,
        ...moments.flatMap((occurredAt) =>
          ['b', 'a', 'Ä'].map((prefix, index) => ({ occurredAt, eventId: `${prefix} ${occurredAt} ${index} ${Math.random()}` })),
        ),
      );
      const pages = await allPages<Listed>(t, person, '/v1/usage', 5);
      expect(pages.map(({ eventId }) => eventId).toSorted()).toEqual(events.map(({ eventId }) => eventId).toSorted());
      const times = pages.map(({ occurredAt }) => occurredAt);
      expect(times).toEqual(times.toSorted().toReversed());
    });

    it('can be filtered by time, model and user', async () => {
      const tenant = await createTenant(t.db);
      const { admin, member } = tenant;
      await useIn(
        tenant,
        { occurredAt: '2026-01-01T00:00:00Z', eventId: '1', model: 'x', actorUserId: admin.id },
        { occurredAt: '2026-01-02T00:00:00Z', eventId: '2', model: 'y', actorUserId: admin.id },
        { occurredAt: '2026-01-03T00:00:00Z', eventId: '3', model: 'x', actorUserId: member.id },
      );
      const path = `/v1/organizations/${tenant.organization.id}/usage`;
      const ids = async (query: Record<string, string>) => {
        const { body } = await t.http
          .get(path)
          .query({ to: '2026-02-01', ...query })
          .set(member.auth)
          .expect(200);
        return (body.data as Listed[]).map(({ eventId }) => eventId);
      };
      expect(await ids({})).toEqual(['3', '2', '1']);
      expect(await ids({ from: '2026-01-02T00:00:00Z', to: '2026-01-03T00:00:00Z' })).toEqual(['2']);
      expect(await ids({ model: 'x' })).toEqual(['3', '1']);
      expect(await ids({ userId: admin.id })).toEqual(['2', '1']);
      expect(await ids({ userId: admin.id, model: 'x' })).toEqual(['1']);
    });

    it.each(['from=yesterday', 'to=1', 'model=', 'userId=1', 'limit=0', 'eventId=1', 'cursor=made.up'])(
      'are refused with %s',
      async (query) => {
        await t.http
          .get(`/v1/usage?${query}`)
          .set((await createPerson(t.db)).auth)
          .expect(400);
      },
    );
  });

  describe('of a merged user', () => {
    it('contain the usage of both users, under the remaining one', async () => {
      const [person, before] = [await createPerson(t.db), await createPerson(t.db)];
      const tenant = await createTenant(t.db);
      const occurredAt = '2026-01-01T10:30:00Z';
      // The same event id and time twice: an event id is unique for one owner only.
      await useOwn(person, { occurredAt, eventId: 'same', inputTokens: 1, actorUserId: person.id }, { occurredAt: '2026-01-03T00:00:00Z' });
      await useOwn(
        before,
        { occurredAt, eventId: 'same', inputTokens: 10, actorUserId: before.id },
        { occurredAt: '2026-01-02T00:00:00Z' },
      );
      await useIn(tenant, { occurredAt, inputTokens: 1, actorUserId: person.id }, { occurredAt, inputTokens: 10, actorUserId: before.id });
      await t.db.rows(
        `INSERT INTO user_merges (id, into_user_id, email, account_ids, session_ids, membership_ids) VALUES ($1, $2, '', '{}', '{}', '{}')`,
        [before.id, person.id],
      );
      const all = await allPages<Listed>(t, person, '/v1/usage', 1);
      expect(all.map(({ occurredAt: time, userId, tokens }) => [time.slice(8, 10), userId, tokens])).toEqual([
        ['03', null, 0],
        ['02', null, 0],
        // Of equal times, the one with the greater id comes first.
        ['01', person.id, 10],
        ['01', person.id, 1],
      ]);
      // The range starts or ends within an hour, and the events of that hour are included too.
      for (const from of ['2026-01-01', '2026-01-01T10:15:00Z'])
        expect((await summaryOf(person, { from, to: '2026-01-04' })).total).toMatchObject({ events: 4, inputTokens: 11 });
      const path = `/v1/organizations/${tenant.organization.id}/usage`;
      const { body } = await t.http
        .get(`${path}/summary`)
        .query({ from: '2026-01-01', to: '2026-01-02', groupBy: 'user' })
        .set(tenant.admin.auth);
      expect(body.data).toMatchObject([{ key: person.id, events: 2, inputTokens: 11 }]);
      const listed = await t.http.get(path).query({ to: '2026-02-01', userId: person.id }).set(tenant.admin.auth).expect(200);
      expect(listed.body.data).toHaveLength(2);
    });
  });

  describe('of sums', () => {
    it('cover the last 30 days up to the end of this hour, by UTC day, by default', async () => {
      const person = await createPerson(t.db);
      const now = Date.now();
      await useOwn(
        person,
        { occurredAt: iso(now), inputTokens: 1 },
        { occurredAt: iso(now - 29 * 24 * HOUR), inputTokens: 10 },
        { occurredAt: iso(now - 31 * 24 * HOUR), inputTokens: 100 },
      );
      const summary = await summaryOf(person);
      expect(summary).toMatchObject({ timeZone: 'UTC', groupBy: 'day' });
      expect(Date.parse(summary.to) - Date.parse(summary.from)).toBe(30 * 24 * HOUR);
      expect(Date.parse(summary.to) % HOUR).toBe(0);
      expect(summary.total).toEqual({
        events: 2,
        inputTokens: 11,
        outputTokens: 0,
        cachedInputTokens: 0,
        reasoningTokens: 0,
        tokens: 11,
        overrun: 0,
      });
      expect(tokensBy(summary)).toEqual([
        [iso(now - 29 * 24 * HOUR).slice(0, 10), 10],
        [iso(now).slice(0, 10), 1],
      ]);
      expect((await summaryOf(person, { to: iso(now - 30 * 24 * HOUR) })).total.tokens).toBe(100);
    });

    it('contain a group for every hour, day, week and month, also without usage', async () => {
      const person = await createPerson(t.db);
      await useOwn(person, { occurredAt: '2026-03-01T12:00:00Z', inputTokens: 1 });
      const range = { from: '2026-02-20T06:00:00.000Z', to: '2026-03-10T00:00:00.000Z' };
      const keys = async (query: Record<string, string>) => (await summaryOf(person, { ...range, ...query })).data;
      const weeks = await keys({ groupBy: 'week' });
      expect(weeks.map(({ key, start, end, tokens }) => [key, start, end, tokens])).toEqual([
        ['2026-02-16', range.from, '2026-02-23T00:00:00.000Z', 0],
        ['2026-02-23', '2026-02-23T00:00:00.000Z', '2026-03-02T00:00:00.000Z', 1],
        ['2026-03-02', '2026-03-02T00:00:00.000Z', '2026-03-09T00:00:00.000Z', 0],
        ['2026-03-09', '2026-03-09T00:00:00.000Z', range.to, 0],
      ]);
      expect((await keys({ groupBy: 'month' })).map(({ key, tokens }) => [key, tokens])).toEqual([
        ['2026-02', 0],
        ['2026-03', 1],
      ]);
      expect(await keys({ groupBy: 'day' })).toHaveLength(18);
      const hours = await keys({ groupBy: 'hour', from: '2026-03-01T11:30:00Z', to: '2026-03-01T13:00:00Z', timeZone: 'Asia/Kolkata' });
      expect(hours.map(({ key, start, tokens }) => [key, start, tokens])).toEqual([
        ['2026-03-01T11:00:00.000Z', '2026-03-01T11:30:00.000Z', 0],
        ['2026-03-01T12:00:00.000Z', '2026-03-01T12:00:00.000Z', 1],
      ]);
    });

    it('are grouped by model and by user, most tokens first', async () => {
      const tenant = await createTenant(t.db);
      const { admin, member, organization } = tenant;
      const occurredAt = '2026-01-01T00:00:00Z';
      await useIn(
        tenant,
        { occurredAt, model: 'b', inputTokens: 5, actorUserId: admin.id },
        { occurredAt, model: 'a', inputTokens: 5, actorUserId: member.id },
        { occurredAt, model: 'c', outputTokens: 7 },
        { occurredAt, model: 'b', tokensUsed: 2, actorUserId: member.id },
      );
      const by = async (groupBy: string) => {
        const query = { from: '2026-01-01', to: '2026-01-02', groupBy };
        const { body } = await t.http.get(`/v1/organizations/${organization.id}/usage/summary`).query(query).set(member.auth).expect(200);
        return (body as Summary).data.map(({ key, start, end, events, tokens }) => [key, start, end, events, tokens]);
      };
      expect(await by('model')).toEqual([
        ['b', null, null, 2, 7],
        ['c', null, null, 1, 7],
        ['a', null, null, 1, 5],
      ]);
      const users = await by('user');
      expect(users.at(-1)).toEqual([admin.id, null, null, 1, 5]);
      expect(users).toEqual(
        expect.arrayContaining([
          [member.id, null, null, 2, 7],
          [null, null, null, 1, 7],
        ]),
      );
    });

    it('follow the calendar of a time zone', async () => {
      const person = await createPerson(t.db);
      // 18:30 in UTC is midnight in Kolkata.
      await useOwn(
        person,
        { occurredAt: '2026-03-09T18:29:59.999Z', inputTokens: 1 },
        { occurredAt: '2026-03-09T18:30:00Z', inputTokens: 10 },
        { occurredAt: '2026-03-10T18:30:00Z', inputTokens: 100 },
      );
      const range = { from: '2026-03-01T00:00:00Z', to: '2026-04-01T00:00:00Z' };
      expect(tokensBy(await summaryOf(person, { ...range, timeZone: 'Asia/Kolkata' }))).toEqual([
        ['2026-03-09', 1],
        ['2026-03-10', 10],
        ['2026-03-11', 100],
      ]);
      const days = (await summaryOf(person, { from: '2026-03-07T05:00:00Z', to: '2026-03-10T04:00:00Z', timeZone: 'America/New_York' }))
        .data;
      // Daylight saving time starts on the 8th, which has 23 hours.
      expect(days.map(({ key, start, end }) => [key, (Date.parse(end) - Date.parse(start)) / HOUR])).toEqual([
        ['2026-03-07', 24],
        ['2026-03-08', 23],
        ['2026-03-09', 24],
      ]);
    });

    it.each<[string, Record<string, string>]>([
      ['query.timeZone', { timeZone: 'Mars/Olympus' }],
      ['query.timeZone', { timeZone: '' }],
      ['query.groupBy', { groupBy: 'year' }],
      ['query.cost', { cost: 'yes' }],
      ['query.from', { from: 'x' }],
      ['query.from', { from: '2026-01-02', to: '2026-01-02' }],
      ['query.from', { from: '2026-01-02', to: '2026-01-01' }],
      ['query.limit', { limit: '1' }],
    ])('are refused with an invalid value at %s', async (path, query) => {
      expect((await refusal(await createPerson(t.db), '/summary', query)).errors?.map((error) => error.path)).toContain(path);
    });

    it('are refused with more than 1,000 groups', async () => {
      const person = await createPerson(t.db);
      const range = { from: '1970-01-01', to: '9999-12-31' };
      for (const groupBy of ['hour', 'day', 'week', 'month'])
        expect((await refusal(person, '/summary', { ...range, groupBy, timeZone: 'America/New_York' })).code).toBe('too_many_groups');
      const names = Array.from({ length: 1001 }, (_, index) => ({ occurredAt: '2026-01-01T00:00:00Z', model: `model ${index}` }));
      await useOwn(person, ...names.slice(1));
      expect((await summaryOf(person, { ...range, groupBy: 'model' })).data).toHaveLength(1000);
      await useOwn(person, names[0]!);
      expect((await refusal(person, '/summary', { ...range, groupBy: 'model' })).code).toBe('too_many_groups');
      expect((await summaryOf(person, { ...range, groupBy: 'user' })).total.events).toBe(1001);
    });

    it('read a date without a time as a day of the time zone', async () => {
      const person = await createPerson(t.db);
      await useOwn(
        person,
        { occurredAt: '2026-11-09T23:30:00Z', inputTokens: 1 },
        { occurredAt: '2026-11-10T12:00:00Z', inputTokens: 10 },
        { occurredAt: '2026-11-10T22:30:00Z', inputTokens: 100 },
        { occurredAt: '2026-11-10T23:30:00Z', inputTokens: 1000 },
      );
      const berlin = { from: '2026-11-10', to: '2026-11-11', timeZone: 'Europe/Berlin' };
      expect(tokensBy(await summaryOf(person, berlin))).toEqual([['2026-11-10', 111]]);
      expect((await summaryOf(person, berlin)).data).toHaveLength(1);
      expect(tokensBy(await summaryOf(person, { ...berlin, timeZone: 'UTC' }))).toEqual([['2026-11-10', 1110]]);
      expect(tokensBy(await summaryOf(person, { ...berlin, from: '2026-11-10T00:00:00Z' }))).toEqual([['2026-11-10', 110]]);
      const { body } = await t.http.get('/v1/usage').query(berlin).set(person.auth).expect(200);
      expect((body.data as Listed[]).map(({ tokens }) => tokens)).toEqual([100, 10, 1]);
      const csv = await t.http.get('/v1/usage/export.csv').query(berlin).set(person.auth).expect(200);
      expect(csv.text.trim().split('\r\n')).toHaveLength(4);
    });

    it('count a pruned hour completely at its start', async () => {
      const person = await createPerson(t.db);
      await useOwn(
        person,
        { occurredAt: '2024-06-10T18:10:00Z', inputTokens: 1 },
        { occurredAt: '2024-06-10T18:40:00Z', inputTokens: 10 },
        { occurredAt: '2024-07-10T18:10:00Z', inputTokens: 100 },
        { occurredAt: '2024-07-10T18:40:00Z', inputTokens: 1000 },
      );
      const days = async (from: string, to: string) => tokensBy(await summaryOf(person, { from, to, timeZone: 'Asia/Kolkata' }));
      const all = ['2024-06-01', '2024-08-01'] as const;
      const july = [
        ['2024-07-10', 100],
        ['2024-07-11', 1000],
      ];
      expect(await days(...all)).toEqual([['2024-06-10', 1], ['2024-06-11', 10], ...july]);
      await t.db.rows(`INSERT INTO usage_seals (sealed_before) VALUES ('2024-07-01Z')`);
      await t.db.rows('DROP TABLE usage_2024_06');
      try {
        expect(await days(...all)).toEqual([['2024-06-10', 11], ...july]);
        // A range that starts or ends within the hour contains all of it or nothing.
        expect(await days('2024-06-10T18:20:00Z', '2024-06-11')).toEqual([]);
        expect(await days('2024-06-10', '2024-06-10T18:20:00Z')).toEqual([['2024-06-10', 11]]);
      } finally {
        await t.db.rows('DELETE FROM usage_seals');
      }
    });

    /** Around changes of daylight saving time, when days have 23, 24.5 or 25 hours. */
    const WINDOWS = ['2026-03-06', '2026-04-03', '2026-09-25', '2026-10-30'].map((day) => Date.parse(day));
    const WINDOW_MS = 5 * 24 * HOUR;
    const ZONES = ['UTC', 'Asia/Kolkata', 'America/New_York', 'Pacific/Chatham', 'Australia/Lord_Howe', 'America/Havana', 'Asia/Kathmandu'];

    /** Times anywhere, on the hour, and just around it. */
    const offset = fc.oneof(
      fc.integer({ min: 0, max: WINDOW_MS - 1 }),
      fc
        .tuple(fc.integer({ min: 1, max: WINDOW_MS / (HOUR / 4) - 2 }), fc.integer({ min: -1, max: 1 }))
        .map(([quarter, ms]) => quarter * (HOUR / 4) + ms),
    );
    const tokens = fc.oneof(fc.integer({ min: 0, max: 1000 }), fc.integer({ min: 0, max: 2 ** 40 }));
    const event = fc.record({
      at: offset,
      model: fc.constantFrom('a', 'b'),
      classes: fc.option(fc.tuple(tokens, tokens, tokens, tokens)),
      plain: tokens,
      overrun: fc.integer({ min: 0, max: 10 }),
    });

    /** Computes the groups from single events with PostgreSQL's calendar. */
    const BRUTE = `
      SELECT CASE $5 WHEN 'hour' THEN to_char(date_trunc('hour', occurred_at, 'UTC') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
                     WHEN 'day' THEN to_char(occurred_at AT TIME ZONE $4, 'YYYY-MM-DD')
                     WHEN 'week' THEN to_char(date_trunc('week', occurred_at AT TIME ZONE $4), 'YYYY-MM-DD')
                     WHEN 'month' THEN to_char(occurred_at AT TIME ZONE $4, 'YYYY-MM')
                     ELSE model END COLLATE "C" AS key,
             count(*)::float8 AS events, sum(input_tokens)::float8 AS "inputTokens", sum(output_tokens)::float8 AS "outputTokens",
             sum(cached_input_tokens)::float8 AS "cachedInputTokens", sum(reasoning_tokens)::float8 AS "reasoningTokens",
             sum(tokens_used)::float8 AS tokens, sum(overrun)::float8 AS overrun
        FROM usage WHERE owner_id = $1 AND occurred_at >= $2 AND occurred_at < $3 GROUP BY 1 ORDER BY 1`;

    it('equal the sums of the single events in every zone and range', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...WINDOWS),
          fc.array(event, { maxLength: 40 }),
          fc.array(fc.tuple(offset, offset, fc.constantFrom(...ZONES), fc.constantFrom('hour', 'day', 'week', 'month', 'model')), {
            minLength: 1,
            maxLength: 8,
          }),
          async (start, events, questions) => {
            const person = await createPerson(t.db);
            const given = events.map(({ at, model, classes, plain, overrun }) => {
              const [inputTokens, outputTokens, cachedInputTokens, reasoningTokens] = classes ?? [];
              const tokenFields =
                classes === null ? { tokensUsed: plain } : { inputTokens, outputTokens, cachedInputTokens, reasoningTokens };
              return { occurredAt: iso(start + at), model, overrun, ...tokenFields };
            });
            if (given.length > 0) await useOwn(person, ...given);
            for (const [one, other, timeZone, groupBy] of questions) {
              if (one === other) continue;
              const [from, to] = [iso(start + Math.min(one, other)), iso(start + Math.max(one, other))];
              const { data, total } = await summaryOf(person, { from, to, timeZone, groupBy });
              const wanted = await t.db.rows<{ key: string; tokens: number }>(BRUTE, [person.id, from, to, timeZone, groupBy]);
              const used = data.filter(({ events: count }) => count > 0).map(({ start: _start, end: _end, ...sums }) => sums);
              expect(used.toSorted((a, b) => (a.key! < b.key! ? -1 : 1))).toEqual(wanted);
              expect(total.tokens).toBe(wanted.reduce((sum, { tokens: more }) => sum + more, 0));
              if (groupBy === 'model') continue;
              // Without gaps over the whole range.
              expect([from, ...data.map(({ end }) => end)]).toEqual([...data.map(({ start: begin }) => begin), to]);
            }
          },
        ),
        { numRuns: Number(process.env['FC_RUNS'] ?? 40) },
      );
    });
  });

  it('by user equal the sums of the single events over months', async () => {
    const [january, june] = [Date.UTC(2026, 0), Date.UTC(2026, 5)];
    await createPartitions(
      t.db,
      [0, 1, 2, 3, 4].map((month) => iso(Date.UTC(2026, month)).slice(0, 10)),
    );
    const moment = fc.oneof(
      fc.integer({ min: january, max: june - 1 }),
      fc
        .tuple(fc.integer({ min: 1, max: 4 }), fc.constantFrom(-HOUR - 1, -HOUR, -1, 0, 1, HOUR))
        .map(([month, ms]) => Date.UTC(2026, month) + ms),
    );
    const users = [null, v7(), v7()];
    const event = fc.record({
      occurredAt: moment.map(iso),
      model: fc.constantFrom('a', 'b'),
      actorUserId: fc.constantFrom(...users),
      tokensUsed: fc.integer({ min: 0, max: 1000 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(event, { minLength: 1, maxLength: 40 }),
        fc.array(fc.tuple(moment, moment), { minLength: 1, maxLength: 6 }),
        async (events, ranges) => {
          const tenant = await createTenant(t.db);
          await useIn(tenant, ...events);
          for (const range of ranges) {
            const [from, to] = range.toSorted((a, b) => a - b).map(iso);
            if (from === to) continue;
            const { body } = await t.http
              .get(`/v1/organizations/${tenant.organization.id}/usage/summary`)
              .query({ from, to, groupBy: 'user' })
              .set(tenant.admin.auth)
              .expect(200);
            const wanted = await t.db.rows(
              `SELECT actor_user_id AS key, count(*)::int AS events, sum(tokens_used)::int AS tokens FROM usage
              WHERE owner_id = $1 AND occurred_at >= $2 AND occurred_at < $3 GROUP BY 1 ORDER BY 1 NULLS LAST`,
              [tenant.organization.id, from, to],
            );
            const found = (body as Summary).data.map(({ key, events: count, tokens }) => ({ key, events: count, tokens }));
            expect(found.toSorted((a, b) => ((a.key ?? '~') < (b.key ?? '~') ? -1 : 1))).toEqual(wanted);
          }
        },
      ),
      { numRuns: Number(process.env['FC_RUNS'] ?? 40) },
    );
  });

  it('by user are refused from the months alone when they have too many users', async () => {
    const { organization, admin } = await createTenant(t.db);
    await t.db.rows(
      `INSERT INTO usage_month_rollups (owner_id, month, actor_user_id, model, events) SELECT $1, '2026-02-01Z', gen_random_uuid(), 'm', 1 FROM generate_series(1, 2001)`,
      [organization.id],
    );
    const read = t.http.get(`/v1/organizations/${organization.id}/usage/summary`).set(admin.auth);
    const { body } = await read.query({ from: '2026-02-01', to: '2026-03-01', groupBy: 'user' }).expect(400);
    expect((body as { code: string }).code).toBe('too_many_groups');
  });

  describe('of costs', () => {
    const setPrices = async (prices: object[]) => {
      await t.db.rows('DELETE FROM prices');
      const operator = await signUpOperator(t);
      await t.http.put('/v1/prices').set(operator.auth).send({ prices }).expect(200);
    };
    const price = (model: string, tokenClass: string, microsPerMillion: number, effectiveFrom = '2026-01-01T00:00:00Z') => ({
      model,
      tokenClass,
      microsPerMillion,
      effectiveFrom,
      currency: 'EUR',
    });

    it('equal a calculation by hand', async () => {
      await setPrices([
        price('big', 'input', 2_500_000),
        price('big', 'output', 10_000_000),
        price('big', 'cachedInput', 1_250_000),
        price('big', 'reasoning', 10_000_000),
        // A higher price from noon of the second day.
        price('big', 'input', 3_000_000, '2026-01-02T12:00:00Z'),
        price('small', 'total', 150_000),
      ]);
      const person = await createPerson(t.db);
      await useOwn(
        person,
        // 1000 × 2.50 + 200 × 10 + 400 × 1.25 + 50 × 10 = 5500 micros
        {
          occurredAt: '2026-01-01T10:00:00Z',
          model: 'big',
          inputTokens: 1000,
          outputTokens: 200,
          cachedInputTokens: 400,
          reasoningTokens: 50,
        },
        // 100 × 2.50 = 250, and an hour later 100 × 3 = 300
        { occurredAt: '2026-01-02T11:59:59.999Z', model: 'big', inputTokens: 100 },
        { occurredAt: '2026-01-02T12:00:00Z', model: 'big', inputTokens: 100 },
        // 10 × 0.15 = 1.5
        { occurredAt: '2026-01-02T13:00:00Z', model: 'small', tokensUsed: 10 },
        // No price for token classes, before the first of January, and for this model.
        { occurredAt: '2026-01-02T13:00:00Z', model: 'small', inputTokens: 7 },
        { occurredAt: '2025-12-31T23:59:59.999Z', model: 'big', inputTokens: 30 },
        { occurredAt: '2026-01-01T00:00:00Z', model: 'other', outputTokens: 400 },
      );
      const query = { from: '2025-12-31', to: '2026-01-03', cost: 'true' };
      const byDay = await summaryOf(person, query);
      expect(byDay.data.map(({ key, cost }) => [key, cost])).toEqual([
        ['2025-12-31', { micros: 0, currency: 'EUR', unpricedTokens: 30 }],
        ['2026-01-01', { micros: 5500, currency: 'EUR', unpricedTokens: 400 }],
        ['2026-01-02', { micros: 552, currency: 'EUR', unpricedTokens: 7 }],
      ]);
      expect(byDay.total.cost).toEqual({ micros: 6052, currency: 'EUR', unpricedTokens: 437 });
      const byModel = await summaryOf(person, { ...query, groupBy: 'model' });
      expect(byModel.data.map(({ key, cost }) => [key, cost?.micros, cost?.unpricedTokens])).toEqual([
        ['big', 6050, 30],
        ['other', 0, 400],
        ['small', 2, 7],
      ]);
      const byUser = await summaryOf(person, { ...query, groupBy: 'user' });
      expect(byUser.data.map(({ key, cost }) => [key, cost])).toEqual([[null, byDay.total.cost]]);
      // No cost without the option.
      expect((await summaryOf(person, { ...query, cost: 'false' })).total).not.toHaveProperty('cost');
    });

    it('are rounded once for each group, not for each event, hour or class', async () => {
      await setPrices([price('m', 'input', 1), price('m', 'output', 1)]);
      const person = await createPerson(t.db);
      // Four times 0.4 micros in four hours: 1.6.
      const half = { model: 'm', inputTokens: 200_000, outputTokens: 200_000 };
      await useOwn(person, ...[0, 1, 2, 3].map((hour) => ({ ...half, occurredAt: `2026-01-01T0${hour}:00:00Z` })));
      expect((await summaryOf(person, { from: '2026-01-01', to: '2026-01-02', cost: 'true' })).data[0]!.cost!.micros).toBe(2);
      const hours = await summaryOf(person, { from: '2026-01-01', to: '2026-01-02', cost: 'true', groupBy: 'hour' });
      expect(hours.data[0]!.cost!.micros).toBe(0);
      expect(hours.total.cost!.micros).toBe(2);
    });

    it('are exact above 2^53, and unpriced with an empty price book', async () => {
      await setPrices([price('m', 'input', 1_234_567_891)]);
      const person = await createPerson(t.db);
      await useOwn(person, { occurredAt: '2026-01-01T00:00:00Z', model: 'm', inputTokens: 987_654_321_987 });
      const query = { from: '2026-01-01', to: '2026-01-02', cost: 'true' };
      const exact = (987_654_321_987n * 1_234_567_891n + 500_000n) / 1_000_000n;
      expect((await summaryOf(person, query)).total.cost!.micros).toBe(Number(exact));
      await t.db.rows('DELETE FROM prices');
      expect((await summaryOf(person, query)).total.cost).toEqual({ micros: 0, currency: null, unpricedTokens: 987_654_321_987 });
    });
  });

  describe('access', () => {
    let tenant: Tenant;
    beforeAll(async () => {
      tenant = await createTenant(t.db);
      await createPartitions(t.db, [new Date().toISOString()]);
    });

    it.each([
      ['', 200],
      ['/summary', 200],
      ['/export.csv', 403],
    ])('of members to %s is %i', async (path, status) => {
      const base = `/v1/organizations/${tenant.organization.id}/usage${path}`;
      await t.http.get(base).set(tenant.member.auth).expect(status);
      await t.http.get(base).set(tenant.admin.auth).expect(200);
      await t.http
        .get(base)
        .set((await createKey(t.db, tenant, ['usage:read'])).auth)
        .expect(200);
      await t.http
        .get(base)
        .set((await createKey(t.db, tenant, ['usage:write'])).auth)
        .expect(403);
      await t.http
        .get(base)
        .set((await createPerson(t.db)).auth)
        .expect(404);
      await t.http.get(base).expect(401);
    });
  });
});
