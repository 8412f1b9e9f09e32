import { isId } from '../../platform/crypto/ids.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import type { OwnerHints } from '../sync/billing-provider.port.js';

/**
 * A provider's evidence of ownership: `organization:<id>`, `user:<id>`, or `any:<id>` if the kind is unknown. The id is ours or Clerk's.
 */
export type OwnerClaim = `${OwnerKind | 'any'}:${string}`;

const MAX_ID_LENGTH = 255;

/** In order of precedence: the organization before the user, the object's own metadata before its customer's. */
export function claimsFromHints({ metadata, externalId, customerMetadata }: OwnerHints): OwnerClaim[] {
  return [...new Set([...claimsIn(metadata), ...claimAs('any', externalId), ...claimsIn(customerMetadata)])];
}

function claimsIn(metadata: OwnerHints['metadata']): OwnerClaim[] {
  return [...claimAs('organization', metadata?.organizationId), ...claimAs('user', metadata?.userId)];
}

/** UUIDs in lower case, since advisory locks are taken by these ids. Clerk's ids are case-sensitive. */
function claimAs(kind: OwnerKind | 'any', id: unknown): OwnerClaim[] {
  if (typeof id !== 'string' || id === '' || id.length > MAX_ID_LENGTH || !id.isWellFormed() || id.includes('\0')) return [];
  return [`${kind}:${isId(id) ? id.toLowerCase() : id}`];
}

export function idOfClaim(claim: string): string {
  return claim.slice(claim.indexOf(':') + 1);
}

export function claimsMatching({ kind, ids }: { kind: OwnerKind; ids: string[] }): OwnerClaim[] {
  return ids.flatMap((id) => [`${kind}:${id}` as const, `any:${id}` as const]);
}

export type OwnersByClaim = Map<string, Owner>;

export function firstKnownOwner(claims: string[], known: OwnersByClaim): Owner | undefined {
  const claim = claims.find((one) => known.has(one));
  return claim === undefined ? undefined : known.get(claim);
}

interface ClaimedRow {
  id: string;
  ownerKind: OwnerKind | null;
  ownerId: string | null;
  ownerClaims: string[];
}

export interface CustomerRecords {
  customer: (ClaimedRow & { ownerLinked: boolean }) | undefined;
  subscriptions: (ClaimedRow & { ownerLinked: boolean; providerSubscriptionId: string | null })[];
  payments: (ClaimedRow & { providerPaymentId: string; providerSubscriptionId: string | null; ofProviderPaymentId: string | null })[];
}

export interface OwnerChange {
  table: 'customer' | 'subscription' | 'payment';
  id: string;
  owner: Owner | undefined;
}

/**
 * Returns the owners to change. A linked owner takes precedence over every claim; else the row's own claims decide,
 * then its subscription or original payment, then its customer. The order of events does not matter.
 */
export function resolveOwnerChanges({ customer, subscriptions, payments }: CustomerRecords, known: OwnersByClaim): OwnerChange[] {
  const changes: OwnerChange[] = [];
  const resolve = (table: OwnerChange['table'], row: ClaimedRow & { ownerLinked?: boolean }, inherited: Owner | undefined) => {
    const current = currentOwner(row);
    const owner = row.ownerLinked === true ? current : (firstKnownOwner(row.ownerClaims, known) ?? inherited);
    if (owner?.id !== current?.id || owner?.kind !== current?.kind) changes.push({ table, id: row.id, owner });
    return owner;
  };
  const payer = customer && resolve('customer', customer, undefined);
  const bySubscription = new Map(subscriptions.map((row) => [row.providerSubscriptionId, resolve('subscription', row, payer)]));
  const byPayment = new Map<string, Owner | undefined>();
  const originals = payments.filter(({ ofProviderPaymentId }) => ofProviderPaymentId === null);
  const returns = payments.filter(({ ofProviderPaymentId }) => ofProviderPaymentId !== null);
  for (const row of [...originals, ...returns]) {
    const ofSubscription = row.providerSubscriptionId === null ? undefined : bySubscription.get(row.providerSubscriptionId);
    const ofOriginal = row.ofProviderPaymentId === null ? undefined : byPayment.get(row.ofProviderPaymentId);
    byPayment.set(row.providerPaymentId, resolve('payment', row, ofSubscription ?? ofOriginal ?? payer));
  }
  return changes;
}

function currentOwner({ ownerKind: kind, ownerId: id }: ClaimedRow): Owner | undefined {
  return kind === null || id === null ? undefined : { kind, id };
}
