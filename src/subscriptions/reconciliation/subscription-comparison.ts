import { isDeepStrictEqual } from 'node:util';
import type { SubscriptionSnapshot, ProviderSubscription } from '../sync/billing-provider.port.js';
import type { Finding } from '../../sync/reconciliation.port.js';
import { claimsFromHints } from '../customers/owner-claims.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import type { Subscription, SubscriptionStatus } from '../subscriptions.table.js';

export const LIVE_STATUSES: SubscriptionStatus[] = ['incomplete', ...CHARGED_STATUSES];

interface SubscriptionDifference extends Pick<Finding, 'kind' | 'details'> {
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

/** @param settledBefore later subscriptions are neither missing nor extra: their events may still arrive */
export function compareSubscription(
  row: Subscription | undefined,
  remote: ProviderSubscription | undefined,
  settledBefore: Date,
): SubscriptionDifference | undefined {
  if (remote === undefined) {
    const isExtra = row !== undefined && LIVE_STATUSES.includes(row.status) && row.createdAt < settledBefore;
    return isExtra ? { kind: 'extra', details: [], isRepairable: true } : undefined;
  }
  const { snapshot, readError, omittedFields } = remote;
  const kind = row === undefined ? 'missing' : 'stale';
  if (snapshot === undefined) return { kind, details: [readError ?? 'cannot be read'], isRepairable: false };
  if (row === undefined) {
    const isRecent = snapshot.startedAt !== null && snapshot.startedAt >= settledBefore;
    return isRecent ? undefined : { kind, details: [], isRepairable: true };
  }
  const details = differingFields(row, snapshot, omittedFields);
  if (details.length === 0) return undefined;
  if (isOlder(remote, row)) return { kind, details: [...details, 'the answer is older than an event of it'], isRepairable: false };
  return { kind, details, isRepairable: true };
}

/** Whether the API's answer is older than the last event: a replica of the provider may lag. */
export function isOlder({ version }: ProviderSubscription, row: Subscription): boolean {
  return momentOf(version.modifiedAt) < momentOf(row.eventModifiedAt);
}

function momentOf(text: string): number {
  return text === '-infinity' ? Number.NEGATIVE_INFINITY : Date.parse(text);
}

/** Whether an event has set the end of this grace period. The guess of an API answer must not replace it. */
export function hasReportedGrace(
  { pastDueUntil }: Pick<Subscription, 'pastDueUntil'>,
  { isGraceEstimated, currentPeriodEnd }: Pick<SubscriptionSnapshot, 'isGraceEstimated' | 'currentPeriodEnd'>,
): boolean {
  // A grace that ended before this period belongs to an earlier renewal.
  return isGraceEstimated === true && pastDueUntil !== null && (currentPeriodEnd === null || pastDueUntil > currentPeriodEnd);
}

function differingFields(
  row: Subscription,
  snapshot: SubscriptionSnapshot,
  omittedFields: ProviderSubscription['omittedFields'] = [],
): string[] {
  const values = {
    ...snapshot,
    providerCustomerId: snapshot.customer.providerCustomerId,
    ownerClaims: claimsFromHints(snapshot.ownerHints),
  };
  const ignored: string[] = hasReportedGrace(row, snapshot) ? [...omittedFields, 'pastDueUntil'] : omittedFields;
  return COMPARED.filter((field) => !ignored.includes(field) && !isDeepStrictEqual(row[field], values[field]));
}
