import { isId } from '../../platform/crypto/ids.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import type { OwnerHints } from '../sync/billing-provider.port.js';

/**
 * What a provider's object says of its owner: `organization:<id>`, `user:<id>`, or `any:<id>` where it does not
 * say of what kind. The id is ours or Clerk's.
 */
export type OwnerClaim = `${OwnerKind | 'any'}:${string}`;

/** The ids in metadata and external ids: longer ones are nobody's. */
const MAX_ID_LENGTH = 255;

/** In the order in which they count: an organization before the person who bought for it, what is said here before what is said of the customer. */
export function claimsFromHints({ metadata, externalId, customerMetadata }: OwnerHints): OwnerClaim[] {
  return [...new Set([...claimsIn(metadata), ...claimAs('any', externalId), ...claimsIn(customerMetadata)])];
}

function claimsIn(metadata: OwnerHints['metadata']): OwnerClaim[] {
  return [...claimAs('organization', metadata?.organizationId), ...claimAs('user', metadata?.userId)];
}

/** In one spelling: whoever is deleted holds the name that is spelled so. Clerk's ids are no UUIDs, and stay as they are. */
function claimAs(kind: OwnerKind | 'any', id: unknown): OwnerClaim[] {
  if (typeof id !== 'string' || id === '' || id.length > MAX_ID_LENGTH || !id.isWellFormed() || id.includes('\0')) return [];
  return [`${kind}:${isId(id) ? id.toLowerCase() : id}`];
}

export function idOfClaim(claim: string): string {
  return claim.slice(claim.indexOf(':') + 1);
}

/** Every claim that an owner answers to. */
export function claimsMatching({ kind, ids }: { kind: OwnerKind; ids: string[] }): OwnerClaim[] {
  return ids.flatMap((id) => [`${kind}:${id}` as const, `any:${id}` as const]);
}

/** Who is known by which claim. */
export type OwnersByClaim = Map<string, Owner>;

/** The first of the claims whose owner is known. */
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

/** All that hangs on one customer of a provider. */
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
 * Whose each of them is, by all that was ever said, whatever order it came in: what was linked by hand stays; else
 * the row's own claims decide, then those of what it belongs to, then the customer's. Answers what has to change.
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
