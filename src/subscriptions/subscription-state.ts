import { laterBy } from '../platform/time/moments.js';
import { type Tier, TIERS } from '../plans/plans.js';
import type { Subscription, SubscriptionStatus } from './subscriptions.table.js';
import { HOUR_MS, MINUTE_MS } from '../platform/time/durations.js';

/** Tolerance after a date: events arrive late, and clocks differ. */
export const SLACK_MS = HOUR_MS;
/** How long a provider's confirmation holds for a row whose period is over. */
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

/** The provider charges, or keeps trying to. */
export const CHARGED_STATUSES: SubscriptionStatus[] = ['trialing', 'active', 'past_due', 'paused', 'unpaid'];

/** The columns that decide. The name of an event never does. */
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
  grants: boolean;
  reason: Reason;
  /** When that ends, as far as known. */
  until: Date | null;
  rule: string;
}

export interface StatePolicy {
  /** How long a subscription past its period keeps its access while its renewal is unconfirmed. */
  unconfirmedMs: number;
}

/**
 * The state machine: decides from the provider's status and dates whether a subscription grants access, and why. An active subscription
 * past its period keeps access for a while, since the event of its renewal may be lost.
 * @param tier the plan of its product; undefined for an unknown product
 */
export function stateOf(row: StateRow, tier: Tier | undefined, now: Date, policy: StatePolicy): SubscriptionState {
  if (tier === undefined) return denied('unknown_product', 'its product is in no plan');
  const { status } = row;
  if (status !== 'trialing' && status !== 'active' && status !== 'past_due') return DENIED_STATES[status];
  return stateOfLive(row, status, now, policy);
}

const DENIED_STATES = {
  incomplete: denied('incomplete', 'its first payment is missing'),
  paused: denied('paused', 'it is paused'),
  unpaid: denied('unpaid', 'its renewal was not paid'),
  canceled: denied('lapsed', 'it is canceled'),
};

export type ReturnReason = 'refunded' | 'dispute_lost';

/** The state of a subscription whose plan has `onRefund: end`, after its payment went back. */
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

/** Its last known date is over, and no event has arrived since. */
function unconfirmed(row: StateRow, lastDay: Date | null, now: Date, unconfirmedMs: number): SubscriptionState {
  const { confirmedAt } = row;
  const over = lastDay ?? reportedAt(row);
  // A confirmation from before that date says nothing about the time after it.
  if (confirmedAt !== null && confirmedAt > over && now.getTime() < confirmedAt.getTime() + CONFIRMED_MS)
    return granted('active', null, `confirmed by its provider on ${confirmedAt.toISOString()}`);
  const from = Math.max(over.getTime(), confirmedAt?.getTime() ?? 0);
  const until = laterBy(new Date(from), unconfirmedMs);
  const since = lastDay === null ? 'no date of its period is known' : `its period was over on ${lastDay.toISOString()}`;
  if (now < until) return granted('unconfirmed', until, `${since}; unconfirmed until ${until.toISOString()}`);
  return denied('lapsed', `${since}, and it was not confirmed by ${until.toISOString()}`);
}

/**
 * When to check with the provider unless an event arrives first: a few minutes after the next date that changes the
 * state. Null if no check is needed.
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

/** Events usually arrive within seconds. */
const CHECK_AFTER_MS = 5 * MINUTE_MS;

function knownEnd({ endsAt, cancelAtPeriodEnd, status, trialEnd, currentPeriodEnd }: StateRow): Date | null {
  if (endsAt !== null || !cancelAtPeriodEnd) return endsAt;
  return (status === 'trialing' ? trialEnd : null) ?? currentPeriodEnd;
}

/** A fixed term may end in years: the end matters in the last period only. */
function endsWithPeriod(end: Date, { currentPeriodEnd }: StateRow): boolean {
  return currentPeriodEnd === null || end.getTime() <= currentPeriodEnd.getTime() + SLACK_MS;
}

function isOver(date: Date, now: Date): boolean {
  return now.getTime() >= date.getTime() + SLACK_MS;
}

/** Events without a time count from their arrival. */
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

export interface EvaluatedSubscription<Row = Subscription> {
  row: Row;
  tier: Tier | undefined;
  /** Null unless the plan is per seat: a provider's quantity means nothing for other plans. */
  seats: number | null;
  state: SubscriptionState;
}

type Comparable = Pick<Subscription, 'id' | 'provider' | 'providerSubscriptionId' | 'startedAt'>;

/**
 * Picks the effective subscription: of those that grant access, the one with the best plan, then the most seats, then
 * the latest end. If none grants access, the newest one gives the reason.
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

/** Compares the provider's data only, so that the order of events does not matter. */
function newerFirst(a: Comparable, b: Comparable): number {
  const began = ({ startedAt }: Comparable) => startedAt?.getTime() ?? 0;
  return began(b) - began(a) || (sortKeyOf(a) < sortKeyOf(b) ? 1 : -1);
}

function sortKeyOf({ id, provider, providerSubscriptionId }: Comparable): string {
  return `${provider}:${providerSubscriptionId ?? id}`;
}
