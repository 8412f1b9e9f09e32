import { laterBy } from '../platform/time/moments.js';
import { type Tier, TIERS } from '../plans/plans.js';
import type { Subscription, SubscriptionStatus } from './subscriptions.table.js';
import { HOUR_MS, MINUTE_MS } from '../platform/time/durations.js';

/** How long after a date the word of the provider may take; events are late, and clocks differ. */
export const SLACK_MS = HOUR_MS;
/** How long a provider's word holds that a row is right although its period is over. */
const CONFIRMED_MS = 24 * HOUR_MS;

export const REASONS = [
  'none',
  'active',
  'trialing',
  'ends',
  'grace',
  'unconfirmed',
  'lapsed',
  'paused',
  'unpaid',
  'incomplete',
  'unknown_product',
  'refunded',
  'dispute_lost',
] as const;
export type Reason = (typeof REASONS)[number];

/** The statuses in which the provider goes on charging, or trying to. */
export const CHARGED_STATUSES: SubscriptionStatus[] = ['trialing', 'active', 'past_due', 'paused', 'unpaid'];

/** What of a row decides. Names of events never do. */
export type StateRow = Pick<
  Subscription,
  | 'provider'
  | 'status'
  | 'currentPeriodEnd'
  | 'cancelAtPeriodEnd'
  | 'endsAt'
  | 'trialEnd'
  | 'pastDueUntil'
  | 'confirmedAt'
  | 'eventAt'
  | 'createdAt'
>;

export interface SubscriptionState {
  /** Whether it gives its owner the tier of its plan. */
  grants: boolean;
  reason: Reason;
  /** Until when it does, as far as is known. */
  until: Date | null;
  /** The rule that decided, in words. */
  rule: string;
}

export interface StatePolicy {
  /** How long an active subscription goes on granting whose period is over, while nobody can say whether it was renewed. */
  unconfirmedMs: number;
}

/**
 * The state machine: whether a subscription grants access, and why, by its provider's status and dates alone.
 * Dates end only what is known to end; an active one past its period may be a lost renewal as well as a lost end.
 *
 * @param tier the plan that its product stands for; undefined for an unknown product
 */
export function stateOf(row: StateRow, tier: Tier | undefined, now: Date, policy: StatePolicy): SubscriptionState {
  if (tier === undefined) return denied('unknown_product', 'its product is in no plan');
  const { status } = row;
  if (status !== 'trialing' && status !== 'active' && status !== 'past_due') return DENIED_STATES[status];
  return stateOfLive(row, status, now, policy);
}

const DENIED_STATES = {
  incomplete: denied('incomplete', 'its first payment is not made'),
  paused: denied('paused', 'it is paused'),
  unpaid: denied('unpaid', 'its renewal was not paid'),
  canceled: denied('lapsed', 'it is canceled'),
};

/** How the money for a subscription went back. */
export type ReturnReason = 'refunded' | 'dispute_lost';

/** Of one that would grant, and whose plan ends with its payment. */
export function returnedPaymentState(how: ReturnReason): SubscriptionState {
  return denied(how, how === 'refunded' ? 'the payment of its period was refunded' : 'a dispute about the payment of its period was lost');
}

function stateOfLive(
  row: StateRow,
  status: 'trialing' | 'active' | 'past_due',
  now: Date,
  { unconfirmedMs }: StatePolicy,
): SubscriptionState {
  const end = knownEnd(row);
  if (end !== null && isOver(end, now)) return denied('lapsed', `ended on ${end.toISOString()}`);
  if (status === 'past_due') {
    const { pastDueUntil: until } = row;
    if (until === null) return unconfirmed(row, null, now, unconfirmedMs);
    if (isOver(until, now)) return denied('lapsed', `grace was over on ${until.toISOString()}`);
    return granted('grace', until, `grace until ${until.toISOString()}`);
  }
  if (end !== null && (row.cancelAtPeriodEnd || endsWithPeriod(end, row))) return granted('ends', end, `ends on ${end.toISOString()}`);
  if (status === 'trialing') {
    const until = row.trialEnd ?? row.currentPeriodEnd;
    if (until === null) return unconfirmed(row, null, now, unconfirmedMs);
    if (isOver(until, now)) return denied('lapsed', `trial was over on ${until.toISOString()}`);
    return granted('trialing', until, `trial until ${until.toISOString()}`);
  }
  if (row.trialEnd !== null && now < row.trialEnd) return granted('trialing', row.trialEnd, `trial until ${row.trialEnd.toISOString()}`);
  if (row.provider === 'manual') return granted('active', null, 'granted by an operator');
  const { currentPeriodEnd: periodEnd } = row;
  if (periodEnd !== null && !isOver(periodEnd, now))
    return granted('active', periodEnd, `active in a period until ${periodEnd.toISOString()}`);
  return unconfirmed(row, periodEnd, now, unconfirmedMs);
}

/** Its last known day is over, and no event told what came then. */
function unconfirmed(row: StateRow, lastDay: Date | null, now: Date, unconfirmedMs: number): SubscriptionState {
  const { confirmedAt } = row;
  const over = lastDay ?? reportedAt(row);
  // What was said before that day says nothing of what came after it.
  if (confirmedAt !== null && confirmedAt > over && now.getTime() < confirmedAt.getTime() + CONFIRMED_MS)
    return granted('active', null, `its provider said so on ${confirmedAt.toISOString()}`);
  const from = Math.max(over.getTime(), confirmedAt?.getTime() ?? 0);
  const until = laterBy(new Date(from), unconfirmedMs);
  const since = lastDay === null ? 'no date of its period is known' : `its period was over on ${lastDay.toISOString()}`;
  if (now < until) return granted('unconfirmed', until, `${since}; unconfirmed until ${until.toISOString()}`);
  return denied('lapsed', `${since}, and nobody confirmed it until ${until.toISOString()}`);
}

/**
 * When its provider should be asked about it unless an event comes first: some minutes after the next date on which
 * its state changes by itself. Null for what needs no asking.
 */
export function nextCheckAt(row: StateRow): Date | null {
  if (row.provider === 'manual' || !['trialing', 'active', 'past_due'].includes(row.status)) return null;
  const dates = [
    knownEnd(row),
    row.status === 'past_due' ? (row.pastDueUntil ?? reportedAt(row)) : null,
    row.status === 'trialing' ? (row.trialEnd ?? row.currentPeriodEnd) : null,
    row.status === 'active' ? row.currentPeriodEnd : null,
  ].filter((date) => date !== null);
  const first = dates.length === 0 ? reportedAt(row) : new Date(Math.min(...dates.map((date) => date.getTime())));
  return laterBy(first, CHECK_AFTER_MS);
}

/** The event that tells mostly comes within seconds. */
const CHECK_AFTER_MS = 5 * MINUTE_MS;

function knownEnd({ endsAt, cancelAtPeriodEnd, status, trialEnd, currentPeriodEnd }: StateRow): Date | null {
  if (endsAt !== null || !cancelAtPeriodEnd) return endsAt;
  return (status === 'trialing' ? trialEnd : null) ?? currentPeriodEnd;
}

/** Some end after years: until its last period that is no news. */
function endsWithPeriod(end: Date, { currentPeriodEnd }: StateRow): boolean {
  return currentPeriodEnd === null || end.getTime() <= currentPeriodEnd.getTime() + SLACK_MS;
}

function isOver(date: Date, now: Date): boolean {
  return now.getTime() >= date.getTime() + SLACK_MS;
}

/** What came without a time counts from when it came. */
function reportedAt({ eventAt, createdAt }: StateRow): Date {
  const at = new Date(eventAt);
  return Number.isNaN(at.getTime()) ? createdAt : at;
}

function granted(reason: Reason, until: Date | null, rule: string): SubscriptionState {
  return { grants: true, reason, until, rule };
}

function denied(reason: Reason, rule: string): SubscriptionState {
  return { grants: false, reason, until: null, rule };
}

/** One of an owner's subscriptions, looked at. */
export interface EvaluatedSubscription<Row = Subscription> {
  row: Row;
  tier: Tier | undefined;
  /** How many it is for. Null where its plan is not per seat: a quantity means nothing there. */
  seats: number | null;
  state: SubscriptionState;
}

type Comparable = Pick<Subscription, 'id' | 'provider' | 'providerSubscriptionId' | 'startedAt'>;

/**
 * The one of several that counts: of those that grant the best plan, then the most seats, then the longest; where
 * none grants, the newest tells why. Undefined for none.
 */
export function pickEffective<Row extends Comparable>(all: EvaluatedSubscription<Row>[]): EvaluatedSubscription<Row> | undefined {
  const rank = ({ tier }: EvaluatedSubscription<Row>) => (tier === undefined ? -1 : TIERS.indexOf(tier));
  const time = ({ state: { until } }: EvaluatedSubscription<Row>) => until?.getTime() ?? Number.MAX_SAFE_INTEGER;
  const granting = all.filter(({ state }) => state.grants);
  if (granting.length === 0) return all.toSorted((a, b) => newerFirst(a.row, b.row))[0];
  return granting.toSorted(
    (a, b) => rank(b) - rank(a) || (b.seats ?? 0) - (a.seats ?? 0) || time(b) - time(a) || newerFirst(a.row, b.row),
  )[0];
}

/** By what the provider tells, which is the same in whatever order it came. */
function newerFirst(a: Comparable, b: Comparable): number {
  const began = ({ startedAt }: Comparable) => startedAt?.getTime() ?? 0;
  return began(b) - began(a) || (sortKeyOf(a) < sortKeyOf(b) ? 1 : -1);
}

/** Of its provider's, which is the same for everybody; of a grant there is only ours. */
function sortKeyOf({ id, provider, providerSubscriptionId }: Comparable): string {
  return `${provider}:${providerSubscriptionId ?? id}`;
}
