import { Inject, Injectable } from '@nestjs/common';
import { type Actor, SYSTEM } from '../../access/principal.js';
import { AuditService } from '../../audit/audit.service.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { lockNames } from '../../platform/database/locks.js';
import { Clock } from '../../platform/time/clock.service.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import { SubscriptionActive } from '../subscriptions.errors.js';
import { SubscriptionsRepository } from '../subscriptions.repository.js';
import type { Subscription } from '../subscriptions.table.js';
import { BillingCustomersRepository, type CustomerRef, type KnownOwner } from './billing-customers.repository.js';
import { ChargedSubscriptionsRepository } from './charged-subscriptions.repository.js';
import { claimsMatching, type CustomerRecords, idOfClaim, type OwnerChange, resolveOwnerChanges } from './owner-claims.js';

export const SUBSCRIPTION_CANCELLATION = 'subscription.end';
export interface SubscriptionCancellation {
  provider: string;
  providerSubscriptionId: string;
}

/**
 * Keeps the owners of subscriptions, payments and customers right, in any order of events (docs/decisions/0015), and
 * cancels subscriptions when their owner is deleted.
 */
@Injectable()
export class SubscriptionOwners {
  constructor(
    private readonly repository: BillingCustomersRepository,
    private readonly charged: ChargedSubscriptionsRepository,
    private readonly subscriptions: SubscriptionsRepository,
    private readonly outbox: OutboxService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /**
   * Gives a new owner the purchases made for it before it existed. Runs in the transaction that creates the owner: under
   * the lock, a concurrent event either sees the owner or is seen here.
   */
  async claimFor(owner: Owner & { clerkId: string }, db: Queryable): Promise<void> {
    await this.claim(await this.findPurchases(owner, db), db);
  }

  /** The customers with purchases for a new owner: the first half of `claimFor`, which can be sent with the owner's row. */
  async findPurchases(owner: Owner & { clerkId: string }, db: Queryable): Promise<CustomerRef[]> {
    // After a conflict, the row is locked first (docs/decisions/0011).
    await this.repository.lockNewOwner(owner, db);
    return this.repository.listWithClaims(claimsMatching({ kind: owner.kind, ids: [owner.clerkId] }), db);
  }

  async claim(customers: CustomerRef[], db: Queryable): Promise<void> {
    await lockNames('billing customer', customers.map(lockNameOf), db);
    for (const customer of customers) await this.resolveOwners(customer, SYSTEM, db);
  }

  /** Links a subscription to an owner for good, and its customer if that has no owner. The caller holds the owner's row. */
  async link({ id }: Pick<Subscription, 'id'>, owner: Owner, actor: Actor, db: Queryable): Promise<Subscription> {
    await lockNames('owner', [owner.id], db);
    const { provider, providerCustomerId } = (await this.subscriptions.find(id, db))!;
    const customer = provider === 'manual' || providerCustomerId === null ? undefined : { provider, providerCustomerId };
    if (customer !== undefined) await lockNames('billing customer', [lockNameOf(customer)], db);
    const before = (await this.subscriptions.lock(id, db))!;
    const after = await this.subscriptions.update(id, { ownerKind: owner.kind, ownerId: owner.id, ownerLinked: true }, db);
    if (customer !== undefined) {
      await this.repository.link(customer, owner, db);
      await this.resolveOwners(customer, actor, db, { recordedId: id });
    }
    await this.record('subscription.linked', after, actor, { before: ownerFields(before), after: ownerFields(after) }, db, before);
    return after;
  }

  /** Links a customer that was created for an owner, unless the customer has an owner. */
  async linkCustomer(customer: CustomerRef, owner: Owner, actor: Actor, db: Queryable): Promise<void> {
    await lockNames('billing customer', [lockNameOf(customer)], db);
    await this.repository.link(customer, owner, db);
    await this.resolveOwners(customer, actor, db);
  }

  /** Whether another purchase would charge the owner twice. After the provider has given up (`unpaid`), buying again is fine. */
  async hasChargedSubscription(ownerId: string): Promise<boolean> {
    return (await this.charged.list(ownerId)).some(({ status }) => status !== 'unpaid');
  }

  /**
   * Requests the cancellation of every charged subscription of an owner that is being deleted. Under the lock, a concurrent event is
   * either seen here or sees the deletion.
   * @throws {SubscriptionActive} if there is one and `cancel` is false
   */
  async cancelFor({ id, clerkId }: { id: string; clerkId: string | null }, { cancel }: { cancel: boolean }, db: Queryable): Promise<void> {
    await lockNames('owner', [id, clerkId], db);
    const charged = await this.charged.list(id, db);
    if (charged.length > 0 && !cancel) throw new SubscriptionActive();
    for (const row of charged) await this.requestCancellation(row, db);
  }

  async resumeFor(ownerId: string, db: Queryable): Promise<void> {
    await lockNames('owner', [ownerId], db);
    await this.charged.withdrawEndRequests(ownerId, db);
  }

  /** A deletion may miss an event at the same time, if that had not locked a linked owner. Returns the number of owners. */
  async cancelOrphans(since: Date, limit: number): Promise<number> {
    const ownerIds = await this.charged.listDeletedOwners({ since, limit });
    for (const id of ownerIds) {
      await this.db.transaction(async (tx) => {
        await lockNames('owner', [id], tx);
        // The owner may have been restored since.
        const [stillDeleted] = await this.charged.listDeletedOwners({ since, limit: 1, only: id }, tx);
        if (stillDeleted !== undefined) await this.cancelFor({ id, clerkId: null }, { cancel: true }, tx);
      });
    }
    return ownerIds.length;
  }

  /** Keeps the owner of everything that belongs to owners about to be purged. */
  async pinOwners(ownerIds: string[], db: Queryable): Promise<void> {
    await this.repository.pinOwners(ownerIds, db);
  }

  /** Takes the advisory locks of the claimed owners, then of the customer. Callers take row locks afterwards. */
  async lockOwnersAndCustomer(customer: CustomerRef, claims: string[], db: Queryable): Promise<void> {
    const ids = claims.map(idOfClaim);
    const otherIds = ids.filter((id) => !isClerkOrganization(id));
    // The same order as in Clerk's events: the user of a membership before its organization.
    await lockNames('owner', otherIds, db);
    await lockNames('owner', ids.filter(isClerkOrganization), db);
    await lockNames('billing customer', [lockNameOf(customer)], db);
  }

  /**
   * Resolves the owner of everything a customer has; see `resolveOwnerChanges`. The caller holds the customer's lock. Returns the
   * subscriptions with their owners.
   * @param options.recordedId the subscription whose change the caller writes to the audit log
   * @param options.records what the customer has, if the caller read it after the last change
   */
  async resolveOwners(
    customer: CustomerRef,
    actor: Actor,
    db: Queryable,
    { recordedId, records: known }: { recordedId?: string; records?: CustomerRecords } = {},
  ): Promise<Map<string, Subscription>> {
    const records = known ?? (await this.loadRecords(customer, db));
    const claims = claimsIn(records);
    const owners = await this.repository.findOwners(claims, db);
    const changes = resolveOwnerChanges(records, ownersByClaim(claims, owners));
    await Promise.all(changes.map((change) => this.repository.updateOwner(change, db)));
    const before = new Map((records.subscriptions as Subscription[]).map((row) => [row.id, row]));
    const after = new Map([...before].map(([id, row]) => [id, withOwner(row, changes)]));
    for (const row of after.values()) if (hasDeletedOwner(row, owners) && willBeCharged(row)) await this.requestCancellation(row, db);
    for (const { table, id } of changes) {
      if (table !== 'subscription' || id === recordedId) continue;
      const [from, to] = [before.get(id)!, after.get(id)!];
      await this.record('subscription.claimed', to, actor, { before: ownerFields(from), after: ownerFields(to) }, db, from);
    }
    return after;
  }

  async loadRecords(customer: CustomerRef, db: Queryable): Promise<CustomerRecords> {
    return this.repository.loadRecords(customer, db);
  }

  /** Records a change for the organization that owns the row. @param before the row as it was: its former owner sees the change too */
  async record(
    action: string,
    row: Owned,
    actor: Actor,
    change: { before?: object; after?: object },
    db: Queryable,
    before?: Owned,
  ): Promise<void> {
    const ids = new Set([before, row].flatMap((one) => (one?.ownerKind === 'organization' ? [one.ownerId!] : [])));
    const target = { type: 'subscription', id: row.id };
    for (const organizationId of ids.size > 0 ? ids : [undefined])
      await this.audit.record({ actor, action, organizationId, target, ...change }, db);
  }

  private async requestCancellation(row: Subscription, db: Queryable): Promise<void> {
    const { id, provider, providerSubscriptionId, endRequestedAt } = row;
    if (endRequestedAt !== null || providerSubscriptionId === null) return;
    await this.subscriptions.update(id, { endRequestedAt: this.clock.now() }, db);
    await this.outbox.enqueue(SUBSCRIPTION_CANCELLATION, { provider, providerSubscriptionId } satisfies SubscriptionCancellation, db);
    await this.record('subscription.end_requested', row, SYSTEM, {}, db);
  }
}

type Owned = Pick<Subscription, 'id' | 'ownerKind' | 'ownerId'>;

export function willBeCharged({ status, cancelAtPeriodEnd }: Pick<Subscription, 'status' | 'cancelAtPeriodEnd'>): boolean {
  return !cancelAtPeriodEnd && CHARGED_STATUSES.includes(status);
}

function isClerkOrganization(id: string): boolean {
  return id.startsWith('org_');
}

function lockNameOf({ provider, providerCustomerId }: CustomerRef): string {
  return `${provider}:${providerCustomerId}`;
}

function claimsIn({ customer, subscriptions, payments }: CustomerRecords): string[] {
  return [...(customer === undefined ? [] : [customer]), ...subscriptions, ...payments].flatMap(({ ownerClaims }) => ownerClaims);
}

function ownersByClaim(claims: string[], known: KnownOwner[]): Map<string, Owner> {
  const owners = new Map<string, Owner>();
  for (const claim of claims) {
    const [kind, id] = [claim.slice(0, claim.indexOf(':')) as OwnerKind | 'any', idOfClaim(claim)];
    const owner = known.find((one) => (kind === 'any' || one.kind === kind) && (one.id === id || one.clerkId === id));
    if (owner !== undefined) owners.set(claim, { kind: owner.kind, id: owner.id });
  }
  return owners;
}

function withOwner(row: Subscription, changes: OwnerChange[]): Subscription {
  const change = changes.find(({ table, id }) => table === 'subscription' && id === row.id);
  return change === undefined ? row : { ...row, ownerKind: change.owner?.kind ?? null, ownerId: change.owner?.id ?? null };
}

function ownerFields({ ownerKind, ownerId }: Owned): object {
  return ownerId === null ? {} : { ownerKind, ownerId };
}

/** A purged owner is unknown. */
function hasDeletedOwner({ ownerId }: Subscription, known: KnownOwner[]): boolean {
  return ownerId !== null && !known.some(({ id, isDeleted }) => id === ownerId && !isDeleted);
}
