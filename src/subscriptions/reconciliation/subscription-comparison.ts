import { isDeepStrictEqual } from 'node:util';
import type { SubscriptionSnapshot, ProviderSubscription } from '../sync/billing-provider.port.js';
import { claimsFromHints } from '../customers/owner-claims.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import type { Subscription, SubscriptionStatus } from '../subscriptions.table.js';

/** The statuses of what we believe alive. */
export const LIVE_STATUSES: SubscriptionStatus[] = ['incomplete', ...CHARGED_STATUSES];

/** How a row and what its provider says differ. */
export interface Finding {
  /** They have it and we do not; both have it, but not the same; we believe it alive and they do not have it. */
  kind: 'missing' | 'stale' | 'extra';
  /** What differs, and why nothing can be done about it. */
  what: string[];
  isRepairable: boolean;
}

const COMPARED = [
  'providerCustomerId',
  'ownerClaims',
  'productId',
  'status',
  'providerStatus',
  'startedAt',
  'currentPeriodStart',
  'currentPeriodEnd',
  'cancelAtPeriodEnd',
  'canceledAt',
  'endsAt',
  'endedAt',
  'trialEnd',
  'pastDueUntil',
  'seats',
  'amount',
  'currency',
] as const;

/**
 * Holds a row against what its provider says, by the rules by which its events write it.
 *
 * @param young whatever began after it is left alone where one side does not have it: its events are under way
 */
export function compare(row: Subscription | undefined, remote: ProviderSubscription | undefined, young: Date): Finding | undefined {
  if (remote === undefined) {
    const isExtra = row !== undefined && LIVE_STATUSES.includes(row.status) && row.createdAt < young;
    return isExtra ? { kind: 'extra', what: [], isRepairable: true } : undefined;
  }
  const { snapshot, readError, omittedFields } = remote;
  const kind = row === undefined ? 'missing' : 'stale';
  if (snapshot === undefined) return { kind, what: [readError ?? 'cannot be read'], isRepairable: false };
  if (row === undefined) {
    const isYoung = snapshot.startedAt !== null && snapshot.startedAt >= young;
    return isYoung ? undefined : { kind, what: [], isRepairable: true };
  }
  const what = differences(row, snapshot, omittedFields);
  if (what.length === 0) return undefined;
  if (isOlder(remote, row)) return { kind, what: [...what, 'the answer is older than an event of it'], isRepairable: false };
  return { kind, what, isRepairable: true };
}

/** Whether an event has told of a later change than the answer knows of: a replica may lag. */
export function isOlder({ version }: ProviderSubscription, row: Subscription): boolean {
  return momentOf(version.modifiedAt) < momentOf(row.eventModifiedAt);
}

/** What was never changed is older than any change. */
function momentOf(text: string): number {
  return text === '-infinity' ? Number.NEGATIVE_INFINITY : Date.parse(text);
}

/** Whether an event told until when this failed renewal is borne with, which a guess must not take the place of. */
export function hasReportedGrace(
  { pastDueUntil }: Pick<Subscription, 'pastDueUntil'>,
  { isGraceEstimated, currentPeriodEnd }: Pick<SubscriptionSnapshot, 'isGraceEstimated' | 'currentPeriodEnd'>,
): boolean {
  // One that was over when this period ended was of an earlier renewal.
  return isGraceEstimated === true && pastDueUntil !== null && (currentPeriodEnd === null || pastDueUntil > currentPeriodEnd);
}

function differences(
  row: Subscription,
  snapshot: SubscriptionSnapshot,
  omittedFields: ProviderSubscription['omittedFields'] = [],
): string[] {
  const told = { ...snapshot, providerCustomerId: snapshot.customer.providerCustomerId, ownerClaims: claimsFromHints(snapshot.ownerHints) };
  const unknown: string[] = hasReportedGrace(row, snapshot) ? [...omittedFields, 'pastDueUntil'] : omittedFields;
  return COMPARED.filter((field) => !unknown.includes(field) && !isDeepStrictEqual(row[field], told[field]));
}
