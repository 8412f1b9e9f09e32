import type { Reason } from '../../src/subscriptions/subscription-state.js';
import { nextCheckAt, SLACK_MS, stateOf } from '../../src/subscriptions/subscription-state.js';
import type { SubscriptionSnapshot } from '../../src/subscriptions/sync/billing-provider.port.js';
import { parseDodoSubscription as dodoOf } from '../../src/providers/dodo/dodo.schema.js';
import { parsePolarSubscription as polarOf } from '../../src/providers/polar/polar.schema.js';
import { dodoSubscription } from '../support/billing/dodo-events.js';
import { polarSubscription } from '../support/billing/polar-events.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const GRACE = 7 * DAY;
const UNCONFIRMED = 3 * DAY;

const START = new Date('2026-03-01T00:00:00.000Z');
/** The date that a line of a table is about. */
const DATE = new Date('2026-03-15T00:00:00.000Z');
const LATER = new Date('2026-04-01T00:00:00.000Z');
const YEARS = new Date('2036-03-01T00:00:00.000Z');

const after = (date: Date, ms: number) => new Date(date.getTime() + ms);
const iso = (date: Date) => date.toISOString();

/** The row that an event with the start time writes. */
function rowOf(
  provider: 'polar' | 'dodo',
  { status, currentPeriodEnd, cancelAtPeriodEnd, endsAt, trialEnd, pastDueUntil }: SubscriptionSnapshot,
) {
  const versionAndTimes = { eventAt: iso(START), createdAt: START, confirmedAt: null };
  return { provider, status, currentPeriodEnd, cancelAtPeriodEnd, endsAt, trialEnd, pastDueUntil, ...versionAndTimes };
}

const snapshotOptions = { at: iso(START), graceMs: GRACE };

function polar(given: Parameters<typeof polarSubscription>[0]) {
  const dates = { created_at: iso(START), current_period_start: iso(START), current_period_end: iso(LATER) };
  return rowOf('polar', polarOf(polarSubscription({ ...dates, ...given }), snapshotOptions));
}

function dodo(given: Parameters<typeof dodoSubscription>[0]) {
  const dates = { created_at: iso(START), previous_billing_date: iso(START), next_billing_date: iso(LATER), expires_at: iso(YEARS) };
  return rowOf('dodo', dodoOf(dodoSubscription({ ...dates, ...given }), snapshotOptions));
}

type Row = ReturnType<typeof rowOf>;
const reasonAt = (row: Row, now: Date) => stateOf(row, 'pro', now, { unconfirmedMs: UNCONFIRMED }).reason;
const missing = null as never;

/** The reasons just before the date, on it, at the last moment of the slack, and after it. */
type Line = [what: string, row: Row, reasons: [Reason, Reason, Reason, Reason]];

function expectAround([, row, reasons]: Line): void {
  expect([-1, 0, SLACK_MS - 1, SLACK_MS].map((offset) => reasonAt(row, after(DATE, offset)))).toEqual(reasons);
}

describe('the state of a Polar subscription', () => {
  const end = { current_period_end: iso(DATE) };
  const lines: Line[] = [
    ['incomplete', polar({ status: 'incomplete', ...end }), ['incomplete', 'incomplete', 'incomplete', 'incomplete']],
    ['incomplete_expired', polar({ status: 'incomplete_expired', ...end }), ['lapsed', 'lapsed', 'lapsed', 'lapsed']],
    ['trialing', polar({ status: 'trialing', trial_end: iso(DATE), ...end }), ['trialing', 'trialing', 'trialing', 'lapsed']],
    [
      'trialing, canceled',
      polar({ status: 'trialing', trial_end: iso(DATE), ends_at: iso(DATE), cancel_at_period_end: true, ...end }),
      ['ends', 'ends', 'ends', 'lapsed'],
    ],
    ['active', polar(end), ['active', 'active', 'active', 'unconfirmed']],
    [
      'active, canceled',
      polar({ ...end, cancel_at_period_end: true, canceled_at: iso(START), ends_at: iso(DATE) }),
      ['ends', 'ends', 'ends', 'lapsed'],
    ],
    [
      'active, canceled, without the day',
      polar({ ...end, cancel_at_period_end: true, canceled_at: iso(START) }),
      ['ends', 'ends', 'ends', 'lapsed'],
    ],
    ['active, paused with its period', polar({ ...end, pause_at_period_end: true }), ['active', 'active', 'active', 'unconfirmed']],
    ['active, after a trial', polar({ ...end, trial_end: iso(START) }), ['active', 'active', 'active', 'unconfirmed']],
    [
      'past_due, from the time it began',
      polar({ status: 'past_due', past_due_at: iso(after(DATE, -GRACE)) }),
      ['grace', 'grace', 'grace', 'lapsed'],
    ],
    [
      'past_due, from its period',
      polar({ status: 'past_due', current_period_start: iso(after(DATE, -GRACE)) }),
      ['grace', 'grace', 'grace', 'lapsed'],
    ],
    [
      'past_due, canceled',
      polar({ status: 'past_due', past_due_at: iso(DATE), ...end, cancel_at_period_end: true, ends_at: iso(DATE) }),
      ['grace', 'grace', 'grace', 'lapsed'],
    ],
    ['paused', polar({ status: 'paused' }), ['paused', 'paused', 'paused', 'paused']],
    ['unpaid', polar({ status: 'unpaid' }), ['unpaid', 'unpaid', 'unpaid', 'unpaid']],
    ['canceled', polar({ status: 'canceled' }), ['lapsed', 'lapsed', 'lapsed', 'lapsed']],
    [
      'canceled, with its end in the future',
      polar({ status: 'canceled', ends_at: iso(LATER), cancel_at_period_end: true }),
      ['lapsed', 'lapsed', 'lapsed', 'lapsed'],
    ],
  ];

  it.each(lines)('%s', (...line) => {
    expectAround(line);
  });

  it('is tested for every status', () => {
    const named = new Set(lines.map(([what]) => what.split(',')[0]));
    expect([...named].toSorted()).toEqual(
      ['active', 'canceled', 'incomplete', 'incomplete_expired', 'past_due', 'paused', 'trialing', 'unpaid'].toSorted(),
    );
  });

  it('is unknown for an unknown status, which quarantines the event', () => {
    for (const status of ['ACTIVE', 'frozen', '', missing])
      expect(() => polar({ status: status as never })).toThrow('Missing or invalid: status');
  });
});

describe('the state of a Dodo subscription', () => {
  const end = { next_billing_date: iso(DATE) };
  const lines: Line[] = [
    ['pending', dodo({ status: 'pending', ...end }), ['incomplete', 'incomplete', 'incomplete', 'incomplete']],
    ['active', dodo(end), ['active', 'active', 'active', 'unconfirmed']],
    ['active, in a trial', dodo({ ...end, trial_period_days: 14 }), ['trialing', 'active', 'active', 'unconfirmed']],
    ['active, canceled', dodo({ ...end, cancel_at_next_billing_date: true }), ['ends', 'ends', 'ends', 'lapsed']],
    [
      'active, canceled in a trial',
      dodo({ ...end, cancel_at_next_billing_date: true, trial_period_days: 14 }),
      ['ends', 'ends', 'ends', 'lapsed'],
    ],
    ['active, at the end of its term', dodo({ next_billing_date: iso(LATER), expires_at: iso(DATE) }), ['ends', 'ends', 'ends', 'lapsed']],
    ['past_due', dodo({ status: 'past_due', past_due_ends_at: iso(DATE) }), ['grace', 'grace', 'grace', 'lapsed']],
    [
      'past_due, as the API returns it',
      dodo({ status: 'past_due', next_billing_date: iso(after(DATE, -GRACE)) }),
      ['grace', 'grace', 'grace', 'lapsed'],
    ],
    [
      'past_due, canceled',
      dodo({ status: 'past_due', past_due_ends_at: iso(LATER), ...end, cancel_at_next_billing_date: true }),
      ['grace', 'grace', 'grace', 'lapsed'],
    ],
    ['on_hold', dodo({ status: 'on_hold' }), ['unpaid', 'unpaid', 'unpaid', 'unpaid']],
    ['paused', dodo({ status: 'paused' }), ['paused', 'paused', 'paused', 'paused']],
    ['cancelled', dodo({ status: 'cancelled' }), ['lapsed', 'lapsed', 'lapsed', 'lapsed']],
    ['failed', dodo({ status: 'failed' }), ['lapsed', 'lapsed', 'lapsed', 'lapsed']],
    ['expired', dodo({ status: 'expired' }), ['lapsed', 'lapsed', 'lapsed', 'lapsed']],
  ];

  it.each(lines)('%s', (...line) => {
    expectAround(line);
  });

  it('is tested for every status', () => {
    const named = new Set(lines.map(([what]) => what.split(',')[0]));
    expect([...named].toSorted()).toEqual(
      ['active', 'cancelled', 'expired', 'failed', 'on_hold', 'past_due', 'paused', 'pending'].toSorted(),
    );
  });

  it('is unknown for an unknown status, which quarantines the event', () => {
    for (const status of ['Active', 'canceled', '', missing])
      expect(() => dodo({ status: status as never })).toThrow('Missing or invalid: status');
  });
});

describe('the state of a subscription without dates', () => {
  const polarDates = { current_period_start: missing, current_period_end: missing, started_at: missing };
  const dodoDates = { previous_billing_date: missing, next_billing_date: missing, expires_at: missing };
  const rows: [string, Row][] = [
    ['of Polar', polar(polarDates)],
    ['of Dodo', dodo(dodoDates)],
    ['of Polar, canceled without an end', polar({ ...polarDates, cancel_at_period_end: true })],
    ['of Dodo, canceled without an end', dodo({ ...dodoDates, cancel_at_next_billing_date: true })],
    ['of Polar, trialing', polar({ ...polarDates, status: 'trialing' })],
  ];

  it.each(rows)('%s is unconfirmed for a bounded time, with a renewal check at once', (_whose, row) => {
    const bound = after(START, UNCONFIRMED);
    expect([START, after(bound, -1), bound].map((now) => reasonAt(row, now))).toEqual(['unconfirmed', 'unconfirmed', 'lapsed']);
    expect(nextCheckAt(row)!.getTime()).toBeLessThan(START.getTime() + HOUR);
  });

  it('of a past-due subscription is grace from the event time', () => {
    const bare = polar({ ...polarDates, status: 'past_due' });
    const bareDodo = dodo({ ...dodoDates, status: 'past_due' });
    for (const row of [bare, bareDodo]) {
      const over = after(START, GRACE + SLACK_MS);
      expect([START, after(over, -1), over].map((now) => reasonAt(row, now))).toEqual(['grace', 'grace', 'lapsed']);
    }
  });
});
