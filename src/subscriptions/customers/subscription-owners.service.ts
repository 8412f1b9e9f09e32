import { Inject, Injectable } from '@nestjs/common';
import { type Actor, SYSTEM } from '../../access/principal.js';
import { AuditService } from '../../audit/audit.service.js';
import { Clock } from '../../platform/time/clock.service.js';
import { lockNames } from '../../platform/database/locks.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import { claimsMatching, type CustomerRecords, idOfClaim, type OwnerChange, resolveOwnerChanges } from './owner-claims.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import { SubscriptionActive } from '../subscriptions.errors.js';
import type { Subscription } from '../subscriptions.table.js';
import { type KnownOwner, type CustomerRef, SyncedSubscriptionsRepository } from '../sync/synced-subscriptions.repository.js';

/** The outbox's entry for a subscription that is to end at its provider. */
export const SUBSCRIPTION_CANCELLATION = 'subscription.end';
export interface SubscriptionCancellation {
  provider: string;
  providerSubscriptionId: string;
}

/**
 * Whose subscriptions, payments and customers are: by all that was said of them, whatever order it came in
 * (docs/decisions/0015), and what becomes of them when an owner comes or goes.
 */
@Injectable()
export class SubscriptionOwners {
  constructor(
    private readonly repository: SyncedSubscriptionsRepository,
    private readonly outbox: OutboxService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /**
   * Gives somebody who has just appeared what was bought for them before. In the transaction that makes them: the
   * name is held, so that what names them meanwhile either sees them or is seen.
   */
  async claimFor(owner: Owner & { clerkId: string }, db: Queryable): Promise<void> {
    await lockNames('owner', [owner.clerkId], db);
    const customers = await this.repository.listCustomersWithClaims(claimsMatching({ kind: owner.kind, ids: [owner.clerkId] }), db);
    await lockNames('billing customer', customers.map(lockNameOf), db);
    for (const customer of customers) await this.resolveOwners(customer, SYSTEM, db);
  }

  /** Says for good whose a subscription is, and its customer if that is nobody's yet. Whoever calls holds the owner's row. */
  async link({ id }: Pick<Subscription, 'id'>, owner: Owner, actor: Actor, db: Queryable): Promise<Subscription> {
    await lockNames('owner', [owner.id], db);
    const customer = await this.repository.findCustomerOf(id, db);
    if (customer !== undefined) await lockNames('billing customer', [lockNameOf(customer)], db);
    const before = await this.repository.lock(id, db);
    const link = { ownerKind: owner.kind, ownerId: owner.id };
    const after = await this.repository.updateSubscription(id, { ...link, ownerLinked: true }, db);
    if (customer !== undefined) {
      await this.repository.linkCustomer(customer, owner, db);
      await this.resolveOwners(customer, actor, db, id);
    }
    await this.record('subscription.linked', after, actor, { before: ownerFields(before), after: ownerFields(after) }, db, before);
    return after;
  }

  /** Says for good whose a customer is that was made for somebody, unless that is known. */
  async linkCustomer(customer: CustomerRef, owner: Owner, actor: Actor, db: Queryable): Promise<void> {
    await lockNames('billing customer', [lockNameOf(customer)], db);
    await this.repository.linkCustomer(customer, owner, db);
    await this.resolveOwners(customer, actor, db);
  }

  /** Whether somebody would be charged twice who bought once more. What the provider has given up on keeps nobody from coming back. */
  async hasChargedSubscription(ownerId: string): Promise<boolean> {
    return (await this.repository.listCharged(ownerId)).some(({ status }) => status !== 'unpaid');
  }

  /**
   * Has everything ended at its provider that an owner is charged for who is going. The name is held, so that what
   * is told of them meanwhile either is seen here or sees that they are gone.
   *
   * @throws {SubscriptionActive} where there is something, and nobody asked to cancel it
   */
  async cancelFor({ id, clerkId }: { id: string; clerkId: string | null }, { cancel }: { cancel: boolean }, db: Queryable): Promise<void> {
    await lockNames('owner', [id, clerkId], db);
    const charged = await this.repository.listCharged(id, db);
    if (charged.length > 0 && !cancel) throw new SubscriptionActive();
    for (const row of charged) await this.requestCancellation(row, db);
  }

  /** An owner is back: what has not ended goes on. */
  async resumeFor(ownerId: string, db: Queryable): Promise<void> {
    await lockNames('owner', [ownerId], db);
    await this.repository.withdrawEndRequests(ownerId, db);
  }

  /**
   * Has everything ended that owners are charged for who are gone: a provider may revive it, or sell it, when nobody
   * looks any more. Answers how many owners there were.
   */
  async cancelOrphans(limit: number): Promise<number> {
    const ownerIds = await this.repository.listDeletedOwners({ limit });
    for (const id of ownerIds) {
      await this.db.transaction(async (tx) => {
        await lockNames('owner', [id], tx);
        // Somebody may have brought them back.
        const [stillDeleted] = await this.repository.listDeletedOwners({ limit: 1, only: id }, tx);
        if (stillDeleted !== undefined) await this.cancelFor({ id, clerkId: null }, { cancel: true }, tx);
      });
    }
    return ownerIds.length;
  }

  /** What belongs to those whose rows are about to go stays theirs. */
  async pinOwners(ownerIds: string[], db: Queryable): Promise<void> {
    await this.repository.pinOwners(ownerIds, db);
  }

  /** Names before rows: of the owners that something names, then of its customer. */
  async lockOwnersAndCustomer(customer: CustomerRef, claims: string[], db: Queryable): Promise<void> {
    const ids = claims.map(idOfClaim);
    // In the order in which Clerk's events make them: whom a membership names is there before the organization.
    await lockNames(
      'owner',
      ids.filter((id) => !isClerkOrganization(id)),
      db,
    );
    await lockNames('owner', ids.filter(isClerkOrganization), db);
    await lockNames('billing customer', [lockNameOf(customer)], db);
  }

  /**
   * Whose everything of a customer is; see `ownerChanges`. Whoever calls holds the customer's name. Answers the
   * subscriptions as they are then.
   *
   * @param written the one whose change is recorded by whoever wrote it
   */
  async resolveOwners(customer: CustomerRef, actor: Actor, db: Queryable, written?: string): Promise<Map<string, Subscription>> {
    const records = await this.repository.loadCustomerRecords(customer, db);
    const known = await this.repository.findOwners(claimsIn(records), db);
    const changes = resolveOwnerChanges(records, byClaim(claimsIn(records), known));
    await Promise.all(changes.map((change) => this.repository.updateOwner(change, db)));
    const rows = new Map((records.subscriptions as Subscription[]).map((row) => [row.id, withOwner(row, changes)]));
    for (const row of rows.values()) if (hasDeletedOwner(row, known) && willBeCharged(row)) await this.requestCancellation(row, db);
    const before = new Map((records.subscriptions as Subscription[]).map((row) => [row.id, row]));
    for (const { table, id } of changes) {
      if (table !== 'subscription' || id === written) continue;
      const [from, to] = [before.get(id)!, rows.get(id)!];
      await this.record('subscription.claimed', to, actor, { before: ownerFields(from), after: ownerFields(to) }, db, from);
    }
    return rows;
  }

  /**
   * In the log of the organization that it belongs to.
   *
   * @param before as it was: whoever had it can read that, too
   */
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
    await this.repository.updateSubscription(id, { endRequestedAt: this.clock.now() }, db);
    await this.outbox.enqueue(SUBSCRIPTION_CANCELLATION, { provider, providerSubscriptionId } satisfies SubscriptionCancellation, db);
    await this.record('subscription.end_requested', row, SYSTEM, {}, db);
  }
}

type Owned = Pick<Subscription, 'id' | 'ownerKind' | 'ownerId'>;

/** The provider will charge for it again. */
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

/** Which claim means whom. */
function byClaim(claims: string[], known: KnownOwner[]): Map<string, Owner> {
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

function hasDeletedOwner({ ownerId }: Subscription, known: KnownOwner[]): boolean {
  return known.some(({ id, isDeleted }) => id === ownerId && isDeleted);
}
