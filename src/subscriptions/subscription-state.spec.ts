import fc from 'fast-check';
import { type Tier, TIERS } from '../plans/plans.js';
import { pickEffective, nextCheckAt, type EvaluatedSubscription, SLACK_MS, stateOf, type StateRow } from './subscription-state.js';
import { SUBSCRIPTION_STATUSES, type SubscriptionStatus } from './subscriptions.table.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const UNCONFIRMED = 3 * DAY;
const CHECK_AFTER = 5 * MINUTE;

/** The one date that a line of a table is about. */
const DATE = new Date('2026-03-15T12:00:00.000Z');
const EARLIER = later(DATE, -20 * DAY);
const LATER = later(DATE, 20 * DAY);
const TOLD = later(DATE, -25 * DAY);

function later(date: Date, ms: number): Date {
  return new Date(date.getTime() + ms);
}

function rowOf(given: Partial<StateRow>): StateRow {
  return {
    provider: 'polar',
    status: 'active',
    currentPeriodEnd: null,
    cancelAtPeriodEnd: false,
    endsAt: null,
    trialEnd: null,
    pastDueUntil: null,
    confirmedAt: null,
    eventAt: TOLD.toISOString(),
    createdAt: TOLD,
    ...given,
  };
}

function stateAt(row: StateRow, now: Date, tier: Tier | undefined = 'pro') {
  return stateOf(row, tier, now, { unconfirmedMs: UNCONFIRMED });
}

/** Of these statuses a date may decide; in all others nothing is granted on any day. */
const LIVING: SubscriptionStatus[] = ['trialing', 'active', 'past_due'];
const GRANTING = ['active', 'trialing', 'ends', 'grace', 'unconfirmed'];

describe('the state of a subscription', () => {
  describe('on both sides of each date', () => {
    const canceled = { cancelAtPeriodEnd: true };
    //                            just before, on it, just before its slack is over, just after
    const lines: [what: string, row: Partial<StateRow>, reasons: [string, string, string, string]][] = [
      ['active, renews', { currentPeriodEnd: DATE }, ['active', 'active', 'active', 'unconfirmed']],
      ['active, canceled', { currentPeriodEnd: DATE, ...canceled }, ['ends', 'ends', 'ends', 'lapsed']],
      ['active, ends with its period', { currentPeriodEnd: DATE, endsAt: DATE }, ['ends', 'ends', 'ends', 'lapsed']],
      ['active, ends before its period does', { currentPeriodEnd: LATER, endsAt: DATE }, ['ends', 'ends', 'ends', 'lapsed']],
      ['active, ends, and no period is known', { endsAt: DATE }, ['ends', 'ends', 'ends', 'lapsed']],
      ['active, ends some periods later', { currentPeriodEnd: DATE, endsAt: LATER }, ['active', 'active', 'active', 'unconfirmed']],
      [
        'active, ends half an hour after its period',
        { currentPeriodEnd: later(DATE, -HOUR / 2), endsAt: DATE },
        ['ends', 'ends', 'ends', 'lapsed'],
      ],
      [
        'active, ends as long after its period as the slack is',
        { currentPeriodEnd: later(DATE, -SLACK_MS), endsAt: DATE },
        ['ends', 'ends', 'ends', 'lapsed'],
      ],
      [
        'active, ends, and its period was over long ago',
        { currentPeriodEnd: EARLIER, endsAt: DATE },
        ['lapsed', 'lapsed', 'lapsed', 'lapsed'],
      ],
      [
        'active, canceled, for another day than its period',
        { currentPeriodEnd: LATER, endsAt: DATE, ...canceled },
        ['ends', 'ends', 'ends', 'lapsed'],
      ],
      [
        'active, in a trial as long as the period',
        { trialEnd: DATE, currentPeriodEnd: DATE },
        ['trialing', 'active', 'active', 'unconfirmed'],
      ],
      ['active, in a trial within the period', { trialEnd: DATE, currentPeriodEnd: LATER }, ['trialing', 'active', 'active', 'active']],
      ['active, in a trial, canceled', { trialEnd: DATE, currentPeriodEnd: DATE, ...canceled }, ['ends', 'ends', 'ends', 'lapsed']],
      ['active, after a trial', { trialEnd: EARLIER, currentPeriodEnd: DATE }, ['active', 'active', 'active', 'unconfirmed']],
      ['trialing', { status: 'trialing', trialEnd: DATE, currentPeriodEnd: LATER }, ['trialing', 'trialing', 'trialing', 'lapsed']],
      ['trialing, by its period', { status: 'trialing', currentPeriodEnd: DATE }, ['trialing', 'trialing', 'trialing', 'lapsed']],
      [
        'trialing, beyond its period',
        { status: 'trialing', trialEnd: LATER, currentPeriodEnd: DATE },
        ['trialing', 'trialing', 'trialing', 'trialing'],
      ],
      [
        'trialing, canceled',
        { status: 'trialing', trialEnd: DATE, currentPeriodEnd: LATER, ...canceled },
        ['ends', 'ends', 'ends', 'lapsed'],
      ],
      [
        'trialing, canceled, by its period',
        { status: 'trialing', currentPeriodEnd: DATE, ...canceled },
        ['ends', 'ends', 'ends', 'lapsed'],
      ],
      ['trialing, ends before the trial does', { status: 'trialing', trialEnd: LATER, endsAt: DATE }, ['ends', 'ends', 'ends', 'lapsed']],
      ['past due', { status: 'past_due', pastDueUntil: DATE, currentPeriodEnd: EARLIER }, ['grace', 'grace', 'grace', 'lapsed']],
      [
        'past due in a running period',
        { status: 'past_due', pastDueUntil: DATE, currentPeriodEnd: LATER },
        ['grace', 'grace', 'grace', 'lapsed'],
      ],
      [
        'past due, canceled',
        { status: 'past_due', pastDueUntil: LATER, currentPeriodEnd: DATE, ...canceled },
        ['grace', 'grace', 'grace', 'lapsed'],
      ],
      [
        'past due, ends before its grace does',
        { status: 'past_due', pastDueUntil: LATER, endsAt: DATE },
        ['grace', 'grace', 'grace', 'lapsed'],
      ],
      ['granted', { provider: 'manual', currentPeriodEnd: DATE }, ['active', 'active', 'active', 'active']],
      ['granted until a day', { provider: 'manual', endsAt: DATE }, ['ends', 'ends', 'ends', 'lapsed']],
    ];

    it.each(lines)('%s', (_what, given, reasons) => {
      const moments = [-1, 0, SLACK_MS - 1, SLACK_MS].map((offset) => stateAt(rowOf(given), later(DATE, offset)));
      expect(moments.map(({ reason }) => reason)).toEqual(reasons);
      expect(moments.map(({ grants }) => grants)).toEqual(reasons.map((reason) => GRANTING.includes(reason)));
    });
  });

  describe('returns the end and the rule', () => {
    const NOW = later(DATE, -HOUR);
    const date = DATE.toISOString();
    const lines: [row: Partial<StateRow>, until: Date | null, rule: string][] = [
      [{ currentPeriodEnd: DATE }, DATE, `active in a period until ${date}`],
      [{ currentPeriodEnd: DATE, cancelAtPeriodEnd: true }, DATE, `ends on ${date}`],
      [{ status: 'trialing', trialEnd: DATE }, DATE, `trial until ${date}`],
      [{ trialEnd: DATE, currentPeriodEnd: LATER }, DATE, `trial until ${date}`],
      [{ status: 'past_due', pastDueUntil: DATE }, DATE, `grace until ${date}`],
      [{ provider: 'manual' }, null, 'granted by an operator'],
      [{ status: 'paused', currentPeriodEnd: DATE }, null, 'it is paused'],
      [{ status: 'unpaid', currentPeriodEnd: DATE }, null, 'its renewal was not paid'],
      [{ status: 'incomplete', currentPeriodEnd: DATE }, null, 'its first payment is missing'],
      [{ status: 'canceled', currentPeriodEnd: DATE }, null, 'it is canceled'],
      [{ endsAt: EARLIER }, null, `ended on ${EARLIER.toISOString()}`],
      [{ status: 'trialing', trialEnd: EARLIER }, null, `trial was over on ${EARLIER.toISOString()}`],
      [{ status: 'past_due', pastDueUntil: EARLIER }, null, `grace was over on ${EARLIER.toISOString()}`],
    ];

    it.each(lines)('%j', (given, until, rule) => {
      expect(stateAt(rowOf(given), NOW)).toMatchObject({ until, rule });
    });
  });

  describe('without a confirmation', () => {
    const reasonsAt = (row: StateRow, ...moments: Date[]) => moments.map((now) => stateAt(row, now).reason);

    it('continues after its period for a bounded time', () => {
      const bound = later(DATE, UNCONFIRMED);
      const row = rowOf({ currentPeriodEnd: DATE });
      expect(reasonsAt(row, later(DATE, SLACK_MS), later(bound, -1), bound)).toEqual(['unconfirmed', 'unconfirmed', 'lapsed']);
      expect(stateAt(row, later(DATE, SLACK_MS)).until).toEqual(bound);
    });

    it('is active for a day after a confirmation, and then unconfirmed for the usual time', () => {
      const confirmedAt = later(DATE, 2 * HOUR);
      const row = rowOf({ currentPeriodEnd: DATE, confirmedAt });
      const [day, bound] = [later(confirmedAt, DAY), later(confirmedAt, UNCONFIRMED)];
      expect(reasonsAt(row, confirmedAt, later(day, -1), day, later(bound, -1), bound)).toEqual([
        'active',
        'active',
        'unconfirmed',
        'unconfirmed',
        'lapsed',
      ]);
      expect(stateAt(row, confirmedAt)).toMatchObject({ until: null, rule: `confirmed by its provider on ${confirmedAt.toISOString()}` });
    });

    it.each([
      ['before', -HOUR],
      ['at', 0],
    ])('is no longer confirmed by a confirmation from %s the end of its period', (_when, offset) => {
      const row = rowOf({ currentPeriodEnd: DATE, confirmedAt: later(DATE, offset) });
      expect(reasonsAt(row, later(DATE, SLACK_MS), later(DATE, UNCONFIRMED))).toEqual(['unconfirmed', 'lapsed']);
    });

    it('is confirmed by a confirmation from a millisecond after the end of its period', () => {
      expect(reasonsAt(rowOf({ currentPeriodEnd: DATE, confirmedAt: later(DATE, 1) }), later(DATE, SLACK_MS))).toEqual(['active']);
    });

    it.each(LIVING)('without a date is unconfirmed until exactly the bound, if %s', (status) => {
      const row = rowOf({ status, eventAt: DATE.toISOString() });
      expect(reasonsAt(row, later(DATE, UNCONFIRMED - 1), later(DATE, UNCONFIRMED))).toEqual(['unconfirmed', 'lapsed']);
    });

    it.each<[string, Partial<StateRow>]>([
      ['when it was told', { eventAt: DATE.toISOString() }],
      ['when it was told, as the database writes it', { eventAt: '2026-03-15 12:00:00.000456+00' }],
      ['when it came, where no time was told', { eventAt: '-infinity', createdAt: DATE }],
    ])('without any date counts from %s', (_from, given) => {
      for (const status of LIVING) {
        const row = rowOf({ status, ...given });
        expect(reasonsAt(row, DATE, later(DATE, UNCONFIRMED - 1), later(DATE, UNCONFIRMED + 1))).toEqual([
          'unconfirmed',
          'unconfirmed',
          'lapsed',
        ]);
      }
    });

    it('ends at a known end, even when its provider confirms it', () => {
      const row = rowOf({ endsAt: DATE, confirmedAt: later(DATE, SLACK_MS) });
      expect(reasonsAt(row, later(DATE, SLACK_MS))).toEqual(['lapsed']);
    });
  });

  describe('is checked at its provider', () => {
    const lines: [what: string, row: Partial<StateRow>, first: Date | null][] = [
      ['after its period', { currentPeriodEnd: DATE }, DATE],
      ['after its end', { endsAt: DATE, currentPeriodEnd: LATER }, DATE],
      ['after its period, if it ends years later', { endsAt: LATER, currentPeriodEnd: DATE }, DATE],
      ['after its period, when canceled', { currentPeriodEnd: DATE, cancelAtPeriodEnd: true }, DATE],
      ['after its trial', { status: 'trialing', trialEnd: DATE, currentPeriodEnd: LATER }, DATE],
      ['after its grace', { status: 'past_due', pastDueUntil: DATE, currentPeriodEnd: EARLIER }, DATE],
      ['after its end, though its grace goes on', { status: 'past_due', pastDueUntil: LATER, endsAt: DATE }, DATE],
      ['at once, where no date is known', {}, TOLD],
      ['at once, where its grace is not known', { status: 'past_due', endsAt: LATER }, TOLD],
      ['as soon as it came, where no time is known either', { eventAt: '-infinity', createdAt: DATE }, DATE],
      ['never, once it is over', { status: 'canceled', currentPeriodEnd: DATE }, null],
      ['never, while it waits for its first payment', { status: 'incomplete', currentPeriodEnd: DATE }, null],
      ['never, while it is paused', { status: 'paused', currentPeriodEnd: DATE }, null],
      ['never, while it is unpaid', { status: 'unpaid', currentPeriodEnd: DATE }, null],
      ['never, if an operator granted it', { provider: 'manual', endsAt: DATE }, null],
    ];

    it.each(lines)('%s', (_when, given, first) => {
      expect(nextCheckAt(rowOf(given))).toEqual(first && later(first, CHECK_AFTER));
    });
  });

  describe('for any row', () => {
    const NOW = DATE.getTime();
    /** Near the moment of the look, near its slack, and anywhere within months. */
    const offset = fc.oneof(
      fc.constantFrom(0, 1, -1, SLACK_MS, -SLACK_MS, 1 - SLACK_MS, DAY, -DAY),
      fc.integer({ min: -60 * DAY, max: 60 * DAY }),
    );
    const date = fc.oneof({ weight: 1, arbitrary: fc.constant(null) }, { weight: 3, arbitrary: offset.map((ms) => new Date(NOW + ms)) });
    const tier = fc.constantFrom(...TIERS);
    const row: fc.Arbitrary<StateRow> = fc.record({
      provider: fc.constantFrom('polar', 'dodo', 'manual'),
      status: fc.constantFrom(...SUBSCRIPTION_STATUSES),
      currentPeriodEnd: date,
      cancelAtPeriodEnd: fc.boolean(),
      endsAt: date,
      trialEnd: date,
      pastDueUntil: date,
      confirmedAt: date,
      eventAt: offset.map((ms) => (ms === 0 ? '-infinity' : new Date(NOW + ms).toISOString())),
      createdAt: offset.map((ms) => new Date(NOW + ms)),
    });
    const moment = offset.map((ms) => new Date(NOW + ms));
    const of = (status: SubscriptionStatus) => row.map((one) => ({ ...one, status }));
    const expectAlways = <T>(property: fc.IProperty<T>) => fc.assert(property, { numRuns: 3000 });
    const grants = (...what: Parameters<typeof stateAt>) => stateAt(...what).grants;

    it('time alone never gives access back', () => {
      expectAlways(
        fc.property(row, tier, moment, moment, (one, plan, a, b) => {
          const [sooner, after] = a < b ? [a, b] : [b, a];
          return grants(one, sooner, plan) || !grants(one, after, plan);
        }),
      );
    });

    it('canceled, paused, unpaid and incomplete never grant', () => {
      for (const status of SUBSCRIPTION_STATUSES.filter((one) => !LIVING.includes(one)))
        expectAlways(fc.property(of(status), tier, moment, (one, plan, now) => !grants(one, now, plan)));
    });

    it('an unknown product never grants', () => {
      expectAlways(fc.property(row, moment, (one, now) => !stateOf(one, undefined, now, { unconfirmedMs: UNCONFIRMED }).grants));
    });

    it('a known end and its slack always refuse', () => {
      expectAlways(fc.property(row, tier, moment, (one, plan, end) => !grants({ ...one, endsAt: end }, later(end, SLACK_MS), plan)));
      expectAlways(
        fc.property(row, tier, moment, (one, plan, end) => {
          const last = one.status === 'trialing' ? { trialEnd: end } : { currentPeriodEnd: end };
          return !grants({ ...one, ...last, endsAt: null, cancelAtPeriodEnd: true }, later(end, SLACK_MS), plan);
        }),
      );
    });

    it('active inside its period always grants, unless its end is known', () => {
      expectAlways(
        fc.property(of('active'), tier, moment, fc.integer({ min: 1, max: 400 * DAY }), (one, plan, now, left) =>
          grants({ ...one, currentPeriodEnd: later(now, left), cancelAtPeriodEnd: false, endsAt: null }, now, plan),
        ),
      );
    });

    it('a lost renewal locks nobody out before the bound', () => {
      expectAlways(
        fc.property(of('active'), tier, moment, fc.nat({ max: UNCONFIRMED - 1 }), (one, plan, end, since) =>
          grants({ ...one, currentPeriodEnd: end, cancelAtPeriodEnd: false, endsAt: null }, later(end, since), plan),
        ),
      );
    });

    it('grants access only for a granting reason and until a later date', () => {
      expectAlways(
        fc.property(row, tier, moment, (one, plan, now) => {
          const state = stateAt(one, now, plan);
          const isOpen = state.until === null || now.getTime() < state.until.getTime() + SLACK_MS;
          return state.grants === GRANTING.includes(state.reason) && (state.grants ? isOpen : state.until === null);
        }),
      );
    });

    it('the provider is asked before the state changes by itself, within the minutes in which events arrive', () => {
      const kindOf = (one: StateRow, now: Date) => {
        const state = stateAt(one, now);
        return state.grants ? state.reason === 'unconfirmed' : 'refused';
      };
      expectAlways(
        fc.property(row, fc.nat({ max: 200 * DAY }), (one, since) => {
          // As an event writes it: nobody confirmed it yet.
          const told = { ...one, confirmedAt: null, provider: 'polar' as const };
          const from = told.eventAt === '-infinity' ? told.createdAt : new Date(told.eventAt);
          const now = later(from, since);
          const asked = nextCheckAt(told);
          return (asked !== null && now >= later(asked, -CHECK_AFTER)) || kindOf(told, now) === kindOf(told, from);
        }),
      );
    });
  });
});

describe('the best of several states', () => {
  interface Row {
    id: string;
    provider: StateRow['provider'];
    providerSubscriptionId: string | null;
    startedAt: Date | null;
  }
  const judged = (
    id: string,
    given: Partial<Row> & { tier?: Tier; seats?: number | null; grants?: boolean; until?: Date | null } = {},
  ): EvaluatedSubscription<Row> => {
    const { tier = 'pro', grants = true, until = DATE, seats = null, ...row } = given;
    return {
      row: { id, provider: 'polar', providerSubscriptionId: `sub_${id}`, startedAt: TOLD, ...row },
      tier,
      seats,
      state: { grants, reason: grants ? 'active' : 'lapsed', until: grants ? until : null, rule: '' },
    };
  };

  it.each<[string, EvaluatedSubscription<Row>, EvaluatedSubscription<Row>]>([
    ['the better plan before the more seats', judged('a', { tier: 'business' }), judged('b', { seats: 100 })],
    ['what grants before what does not', judged('a'), judged('b', { tier: 'business', grants: false })],
    ['the more seats', judged('a', { seats: 10, until: EARLIER }), judged('b', { seats: 9 })],
    ['any seats before none', judged('a', { seats: 1 }), judged('b')],
    ['the one that lasts longer', judged('a', { until: LATER }), judged('b')],
    ['the one without an end', judged('a', { until: null }), judged('b', { until: LATER })],
    ['the one that began later', judged('a', { startedAt: DATE }), judged('b')],
    [
      'of those that do not grant the one that began later',
      judged('a', { grants: false, startedAt: DATE }),
      judged('b', { grants: false, tier: 'business' }),
    ],
    ['the greater id at last', judged('b'), judged('a')],
  ])('is %s', (_what, better, worse) => {
    expect(pickEffective([better, worse])).toBe(better);
    expect(pickEffective([worse, better])).toBe(better);
  });

  it('is undefined without subscriptions', () => {
    expect(pickEffective([])).toBeUndefined();
  });

  it('does not depend on their order', () => {
    const some = fc.record({
      tier: fc.constantFrom(...TIERS, undefined),
      grants: fc.boolean(),
      until: fc.constantFrom(null, DATE, LATER),
      row: fc.record({
        id: fc.uuid(),
        provider: fc.constantFrom('polar' as const, 'dodo' as const),
        // Two providers may give the same id.
        providerSubscriptionId: fc.constantFrom('sub_1', 'sub_2', 'sub_3'),
        seats: fc.constantFrom(null, 1, 2),
        startedAt: fc.constantFrom(null, TOLD, DATE),
      }),
    });
    const several = fc.uniqueArray(some, { maxLength: 5, selector: ({ row }) => `${row.provider} ${row.providerSubscriptionId}` });
    const shuffled = several.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })));
    fc.assert(
      fc.property(shuffled, ([one, other]) => {
        const chosen = (all: typeof one) => {
          const judgedAll = all.map(({ row, tier, grants, until }) => ({ ...judged(row.id, { ...row, grants, until }), tier }));
          return pickEffective(judgedAll)?.row.id;
        };
        expect(chosen(one)).toBe(chosen(other));
      }),
      { numRuns: 2000 },
    );
  });
});
