import { Inject, Injectable } from '@nestjs/common';
import { type Actor, SYSTEM } from '../../access/principal.js';
import { AuditService } from '../../audit/audit.service.js';
import { Clock } from '../../platform/time/clock.service.js';
import { lockNames } from '../../platform/database/locks.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import { claimsFor, type CustomerBooks, idOfClaim, type OwnerChange, ownerChanges } from './owner-claims.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import { SubscriptionActive } from '../subscriptions.errors.js';
import type { Subscription } from '../subscriptions.table.js';
import { type KnownOwner, type Payer, SyncedSubscriptionsRepository } from '../sync/synced-subscriptions.repository.js';

/** The outbox's entry for a subscription that is to end at its provider. */
export const SUBSCRIPTION_END = 'subscription.end';
export interface SubscriptionEnd {
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
  async claim(owner: Owner & { clerkId: string }, db: Queryable): Promise<void> {
    await lockNames('owner', [owner.clerkId], db);
    const payers = await this.repository.payersClaiming(claimsFor({ kind: owner.kind, ids: [owner.clerkId] }), db);
    await lockNames('billing customer', payers.map(nameOf), db);
    for (const payer of payers) await this.resolveOwners(payer, SYSTEM, db);
  }

  /** Says for good whose a subscription is, and its customer if that is nobody's yet. Whoever calls holds the owner's row. */
  async link({ id }: Pick<Subscription, 'id'>, owner: Owner, actor: Actor, db: Queryable): Promise<Subscription> {
    await lockNames('owner', [owner.id], db);
    const payer = await this.repository.payerOf(id, db);
    if (payer !== undefined) await lockNames('billing customer', [nameOf(payer)], db);
    const before = await this.repository.lock(id, db);
    const link = { ownerKind: owner.kind, ownerId: owner.id };
    const after = await this.repository.updateSubscription(id, { ...link, ownerLinked: true }, db);
    if (payer !== undefined) {
      await this.repository.linkCustomer(payer, owner, db);
      await this.resolveOwners(payer, actor, db, id);
    }
    await this.record('subscription.linked', after, actor, { before: ownerIn(before), after: ownerIn(after) }, db, before);
    return after;
  }

  /** Says for good whose a customer is that was made for somebody, unless that is known. */
  async linkCustomer(payer: Payer, owner: Owner, actor: Actor, db: Queryable): Promise<void> {
    await lockNames('billing customer', [nameOf(payer)], db);
    await this.repository.linkCustomer(payer, owner, db);
    await this.resolveOwners(payer, actor, db);
  }

  /** Whether somebody would be charged twice who bought once more. What the provider has given up on keeps nobody from coming back. */
  async isCharged(ownerId: string): Promise<boolean> {
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
    for (const row of charged) await this.requestEnd(row, db);
  }

  /** An owner is back: what has not ended goes on. */
  async resumeFor(ownerId: string, db: Queryable): Promise<void> {
    await lockNames('owner', [ownerId], db);
    await this.repository.keepCharging(ownerId, db);
  }

  /**
   * Has everything ended that owners are charged for who are gone: a provider may revive it, or sell it, when nobody
   * looks any more. Answers how many owners there were.
   */
  async cancelOrphans(limit: number): Promise<number> {
    const gone = await this.repository.listGoneOwners({ limit });
    for (const id of gone) {
      await this.db.transaction(async (tx) => {
        await lockNames('owner', [id], tx);
        // Somebody may have brought them back.
        const [still] = await this.repository.listGoneOwners({ limit: 1, only: id }, tx);
        if (still !== undefined) await this.cancelFor({ id, clerkId: null }, { cancel: true }, tx);
      });
    }
    return gone.length;
  }

  /** What belongs to those whose rows are about to go stays theirs. */
  async pinOwners(ownerIds: string[], db: Queryable): Promise<void> {
    await this.repository.keepOwners(ownerIds, db);
  }

  /** Names before rows: of the owners that something names, then of its customer. */
  async hold(payer: Payer, claims: string[], db: Queryable): Promise<void> {
    const ids = claims.map(idOfClaim);
    // In the order in which Clerk's events make them: whom a membership names is there before the organization.
    await lockNames(
      'owner',
      ids.filter((id) => !isClerkOrganization(id)),
      db,
    );
    await lockNames('owner', ids.filter(isClerkOrganization), db);
    await lockNames('billing customer', [nameOf(payer)], db);
  }

  /**
   * Whose everything of a customer is; see `ownerChanges`. Whoever calls holds the customer's name. Answers the
   * subscriptions as they are then.
   *
   * @param written the one whose change is recorded by whoever wrote it
   */
  async resolveOwners(payer: Payer, actor: Actor, db: Queryable, written?: string): Promise<Map<string, Subscription>> {
    const books = await this.repository.booksOf(payer, db);
    const known = await this.repository.knownOwners(claimsIn(books), db);
    const changes = ownerChanges(books, byClaim(claimsIn(books), known));
    await Promise.all(changes.map((change) => this.repository.updateOwner(change, db)));
    const rows = new Map((books.subscriptions as Subscription[]).map((row) => [row.id, withOwner(row, changes)]));
    for (const row of rows.values()) if (isOwnedByDead(row, known) && isCharged(row)) await this.requestEnd(row, db);
    const before = new Map((books.subscriptions as Subscription[]).map((row) => [row.id, row]));
    for (const { table, id } of changes) {
      if (table !== 'subscription' || id === written) continue;
      const [from, to] = [before.get(id)!, rows.get(id)!];
      await this.record('subscription.claimed', to, actor, { before: ownerIn(from), after: ownerIn(to) }, db, from);
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

  private async requestEnd(row: Subscription, db: Queryable): Promise<void> {
    const { id, provider, providerSubscriptionId, endRequestedAt } = row;
    if (endRequestedAt !== null || providerSubscriptionId === null) return;
    await this.repository.updateSubscription(id, { endRequestedAt: this.clock.now() }, db);
    await this.outbox.enqueue(SUBSCRIPTION_END, { provider, providerSubscriptionId } satisfies SubscriptionEnd, db);
    await this.record('subscription.end_requested', row, SYSTEM, {}, db);
  }
}

type Owned = Pick<Subscription, 'id' | 'ownerKind' | 'ownerId'>;

/** The provider will charge for it again. */
export function isCharged({ status, cancelAtPeriodEnd }: Pick<Subscription, 'status' | 'cancelAtPeriodEnd'>): boolean {
  return !cancelAtPeriodEnd && CHARGED_STATUSES.includes(status);
}

function isClerkOrganization(id: string): boolean {
  return id.startsWith('org_');
}

function nameOf({ provider, providerCustomerId }: Payer): string {
  return `${provider}:${providerCustomerId}`;
}

function claimsIn({ customer, subscriptions, payments }: CustomerBooks): string[] {
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

function ownerIn({ ownerKind, ownerId }: Owned): object {
  return ownerId === null ? {} : { ownerKind, ownerId };
}

function isOwnedByDead({ ownerId }: Subscription, known: KnownOwner[]): boolean {
  return known.some(({ id, isDead }) => id === ownerId && isDead);
}
