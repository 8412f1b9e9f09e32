import { isDeepStrictEqual } from 'node:util';
import { Injectable, Logger } from '@nestjs/common';
import { type Actor, SYSTEM } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { Clock } from '../common/clock.js';
import { type EventKey, EventRank, keyColumns, keyOfRow } from '../common/event-key.js';
import { newId } from '../common/ids.js';
import { holdNames } from '../common/locks.js';
import type { Owner, OwnerKind } from '../common/owner.js';
import type { Queryable } from '../database/database.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { PlansService } from '../plans/plans.service.js';
import type { CustomerSnapshot, PaymentSnapshot, SubscriptionSnapshot, Told } from './billing-provider.js';
import { claimsFor, claimsOf, type CustomerBooks, idOfClaim, type OwnerChange, ownerChanges } from './owner-claims.js';
import { CHARGED_STATUSES, checkTimeOf } from './subscription-state.js';
import { SubscriptionActive } from './subscriptions.errors.js';
import type { Subscription } from './subscriptions.table.js';
import { type KnownOwner, type Payer, SyncedSubscriptionsRepository } from './synced-subscriptions.repository.js';

/** The outbox's entry for a subscription that is to end at its provider. */
export const SUBSCRIPTION_END = 'subscription.end';
export interface SubscriptionEnd {
  provider: string;
  providerSubscriptionId: string;
}

/**
 * Takes what billing providers tell, by events or when asked. Whatever order it comes in, and however often, the
 * rows end the same: each follows the newest word about it, and whose it is follows from all that was said
 * (docs/decisions/0015). What is told of one customer goes one after the other.
 */
@Injectable()
export class SyncedSubscriptionsService {
  private readonly logger = new Logger(SyncedSubscriptionsService.name);

  constructor(
    private readonly repository: SyncedSubscriptionsRepository,
    private readonly plans: PlansService,
    private readonly outbox: OutboxService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /** Answers whether the row is now what was told; a repair may have been overtaken. */
  async apply(snapshot: SubscriptionSnapshot, told: Told, db: Queryable): Promise<boolean> {
    const { customer, says, ...fields } = snapshot;
    const ownerClaims = claimsOf(says);
    await this.meet(customer, ownerClaims, told.key, db);
    const seen = await this.repository.lookAtSubscription({ ...customer, ...snapshot }, told.key, told.repairs, db);
    const mayWrite = seen === undefined || (told.repairs === undefined ? seen.isNews : seen.isSame);
    const row = mayWrite ? await this.write({ ...fields, ownerClaims }, customer, seen, told, db) : seen.row;
    if (fields.productId !== null) await this.repository.putProduct(row.id, fields.productId, told.key, db);
    const after = await this.settle(customer, told.actor, db, row.id);
    if (mayWrite) await this.recordChange(seen?.row, after.get(row.id) ?? row, told.actor, db);
    return mayWrite;
  }

  /**
   * Its provider, asked for it, has none of that name: whatever it was, it is over. The row's key stays, so that any
   * later word counts. Answers false for a row that was written since it was read.
   */
  async end(seen: Subscription, db: Queryable): Promise<boolean> {
    const { provider, providerCustomerId, id } = seen;
    await holdNames('billing customer', [`${provider}:${providerCustomerId}`], db);
    const row = await this.repository.lock(id, db);
    if (!isDeepStrictEqual(keyOfRow(row), keyOfRow(seen))) return false;
    const now = this.clock.now();
    const after = await this.repository.updateSubscription(id, { status: 'canceled', endedAt: now, confirmedAt: now, checkAt: null }, db);
    await this.recordChange(row, after, SYSTEM, db);
    return true;
  }

  async applyCustomer(customer: CustomerSnapshot, { key, actor }: Told, db: Queryable): Promise<void> {
    const claims = customer.says && claimsOf(customer.says);
    await this.hold(customer, claims ?? [], db);
    const isNews = await this.repository.putCustomer(customer, claims, key, db);
    if (customer.isDeleted) await this.repository.markCustomerDeleted(customer, db);
    if (isNews) await this.settle(customer, actor, db);
  }

  async applyPayment({ customer, says, ...fields }: PaymentSnapshot, { key, actor }: Told, db: Queryable): Promise<void> {
    const { provider, providerCustomerId } = customer;
    const ownerClaims = claimsOf(says);
    await this.meet(customer, ownerClaims, key, db);
    const row = { id: newId(), provider, providerCustomerId, ownerClaims, ...fields };
    if ((await this.repository.putPayment(row, key, db)) !== undefined) await this.settle(customer, actor, db);
  }

  /**
   * Gives somebody who has just appeared what was bought for them before. In the transaction that makes them: the
   * name is held, so that what names them meanwhile either sees them or is seen.
   */
  async claim(owner: Owner & { clerkId: string }, db: Queryable): Promise<void> {
    await holdNames('owner', [owner.clerkId], db);
    const payers = await this.repository.payersClaiming(claimsFor({ kind: owner.kind, ids: [owner.clerkId] }), db);
    await holdNames('billing customer', payers.map(nameOf), db);
    for (const payer of payers) await this.settle(payer, SYSTEM, db);
  }

  /** Says for good whose a subscription is, and its customer if that is nobody's yet. Whoever calls holds the owner's row. */
  async link({ id }: Pick<Subscription, 'id'>, owner: Owner, actor: Actor, db: Queryable): Promise<Subscription> {
    await holdNames('owner', [owner.id], db);
    const known = await this.repository.payerOf(id, db);
    await holdNames('billing customer', known === undefined ? [] : [nameOf(known)], db);
    const before = await this.repository.lock(id, db);
    const link = { ownerKind: owner.kind, ownerId: owner.id };
    const after = await this.repository.updateSubscription(id, { ...link, ownerLinked: true }, db);
    if (known !== undefined) {
      await this.repository.linkOwnerlessCustomer(known, owner, db);
      await this.settle(known, actor, db, id);
    }
    const { ownerKind, ownerId } = before;
    await this.record('subscription.linked', after, actor, { before: { ownerKind, ownerId }, after: link }, db);
    return after;
  }

  /** Whether somebody will be charged again unless it is ended. */
  async isCharged(ownerId: string): Promise<boolean> {
    return (await this.repository.listCharged(ownerId)).length > 0;
  }

  /**
   * Has everything ended at its provider that an owner is charged for who is going. The name is held, so that what
   * is told of them meanwhile either is seen here or sees that they are gone.
   *
   * @throws {SubscriptionActive} where there is something, and nobody asked to cancel it
   */
  async release({ id, clerkId }: { id: string; clerkId: string | null }, { cancel }: { cancel: boolean }, db: Queryable): Promise<void> {
    await holdNames('owner', [id, clerkId], db);
    const charged = await this.repository.listCharged(id, db);
    if (charged.length > 0 && !cancel) throw new SubscriptionActive();
    for (const row of charged) await this.requestEnd(row, db);
  }

  /** What belongs to those whose rows are about to go stays theirs. */
  async keepOwners(ownerIds: string[], db: Queryable): Promise<void> {
    await this.repository.keepOwners(ownerIds, db);
  }

  /**
   * Whose everything of a customer is; see `ownerChanges`. Whoever calls holds the customer's name. Answers the
   * subscriptions as they are then.
   *
   * @param written the one whose change is recorded by whoever wrote it
   */
  private async settle(payer: Payer, actor: Actor, db: Queryable, written?: string): Promise<Map<string, Subscription>> {
    const books = await this.repository.booksOf(payer, db);
    const known = await this.repository.knownOwners(claimsIn(books), db);
    const changes = ownerChanges(books, byClaim(claimsIn(books), known));
    for (const change of changes) await this.repository.updateOwner(change, db);
    const rows = new Map((books.subscriptions as Subscription[]).map((row) => [row.id, withOwner(row, changes)]));
    for (const row of rows.values()) if (isOwnedByDead(row, known) && isCharged(row)) await this.requestEnd(row, db);
    for (const { table, id, owner } of changes) {
      if (table === 'subscription' && owner !== undefined && id !== written) await this.recordClaim(rows.get(id)!, actor, db);
    }
    return rows;
  }

  /** What comes along with something else of a customer was so when that was told. */
  private async meet(customer: CustomerSnapshot, otherClaims: string[], { at, messageId }: EventKey, db: Queryable): Promise<void> {
    const claims = customer.says && claimsOf(customer.says);
    await this.hold(customer, [...otherClaims, ...(claims ?? [])], db);
    // An event of the customer's own of that moment counts more.
    const key = { at, modifiedAt: customer.modifiedAt, rank: EventRank.hearsay, messageId };
    await this.repository.putCustomer(customer, claims, key, db);
    if (customer.isDeleted) await this.repository.markCustomerDeleted(customer, db);
  }

  /** Names before rows: of the owners that it tells of, then of the customer. */
  private async hold(customer: CustomerSnapshot, claims: string[], db: Queryable): Promise<void> {
    await holdNames('owner', claims.map(idOfClaim), db);
    await holdNames('billing customer', [nameOf(customer)], db);
  }

  private async write(
    fields: Omit<SubscriptionSnapshot, 'customer' | 'says'> & { ownerClaims: string[] },
    { provider, providerCustomerId }: CustomerSnapshot,
    seen: { row: Subscription; isNews: boolean } | undefined,
    { key, repairs }: Told,
    db: Queryable,
  ): Promise<Subscription> {
    const now = this.clock.now();
    // What was asked for is right now, whatever its dates say.
    const confirmedAt = repairs === undefined ? null : now;
    const { isGraceGuessed, ...told } = fields;
    // A guess must not take the place of what an event told.
    const pastDueUntil = (isGraceGuessed === true ? seen?.row.pastDueUntil : undefined) ?? told.pastDueUntil;
    const row = { ...told, pastDueUntil, provider, providerCustomerId, confirmedAt };
    const isKnown = this.plans.tierOfProduct(provider, fields.productId) !== undefined;
    if (!isKnown)
      this.logger.error(
        { provider, productId: fields.productId },
        'A subscription of a product that is in no plan: access stays as it was',
      );
    if (seen === undefined) {
      const dated = { ...row, createdAt: now, eventAt: key.at };
      return this.repository.insertSubscription({ id: newId(), ...dated, ...keyColumns(key), checkAt: checkTimeOf(dated) }, db);
    }
    const keyAfter = seen.isNews ? key : keyOfRow(seen.row);
    const dated = { ...row, createdAt: seen.row.createdAt, eventAt: keyAfter.at };
    const checkAt = later(checkTimeOf(dated), repairs === undefined ? null : new Date(now.getTime() + RECHECK_MS));
    return this.repository.updateSubscription(seen.row.id, { ...row, ...keyColumns(keyAfter), checkAt }, db);
  }

  private async requestEnd(row: Subscription, db: Queryable): Promise<void> {
    const { id, provider, providerSubscriptionId, endRequestedAt } = row;
    if (endRequestedAt !== null || providerSubscriptionId === null) return;
    await this.repository.updateSubscription(id, { endRequestedAt: this.clock.now() }, db);
    await this.outbox.enqueue(SUBSCRIPTION_END, { provider, providerSubscriptionId } satisfies SubscriptionEnd, db);
    await this.record('subscription.end_requested', row, SYSTEM, {}, db);
  }

  private async recordChange(before: Subscription | undefined, after: Subscription, actor: Actor, db: Queryable): Promise<void> {
    const change = { before: before && viewOf(before), after: viewOf(after) };
    if (isDeepStrictEqual(change.before, change.after)) return;
    await this.record(before === undefined ? 'subscription.created' : 'subscription.updated', after, actor, change, db);
  }

  private async recordClaim(row: Subscription, actor: Actor, db: Queryable): Promise<void> {
    const { ownerKind, ownerId } = row;
    await this.record('subscription.claimed', row, actor, { after: { ownerKind, ownerId } }, db);
  }

  private async record(
    action: string,
    { id, ownerKind, ownerId }: Subscription,
    actor: Actor,
    change: { before?: object; after?: object },
    db: Queryable,
  ): Promise<void> {
    const organizationId = ownerKind === 'organization' ? ownerId! : undefined;
    await this.audit.record({ actor, action, organizationId, target: { type: 'subscription', id }, ...change }, db);
  }
}

/** How soon a provider is asked again that says that a row is right although its date is over. */
const RECHECK_MS = 3_600_000;

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
    const owner = known.find((one) => (kind === 'any' || one.kind === kind) && (one.id === id.toLowerCase() || one.clerkId === id));
    if (owner !== undefined) owners.set(claim, { kind: owner.kind, id: owner.id });
  }
  return owners;
}

function withOwner(row: Subscription, changes: OwnerChange[]): Subscription {
  const change = changes.find(({ table, id }) => table === 'subscription' && id === row.id);
  return change === undefined ? row : { ...row, ownerKind: change.owner?.kind ?? null, ownerId: change.owner?.id ?? null };
}

function isOwnedByDead({ ownerId }: Subscription, known: KnownOwner[]): boolean {
  return known.some(({ id, isDead }) => id === ownerId && isDead);
}

function isCharged({ status, cancelAtPeriodEnd }: Subscription): boolean {
  return !cancelAtPeriodEnd && CHARGED_STATUSES.includes(status);
}

function later(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one;
  return one > other ? one : other;
}

function viewOf({ status, productId, cancelAtPeriodEnd, seats, currentPeriodEnd, endsAt, ownerKind, ownerId }: Subscription): object {
  return { status, productId, cancelAtPeriodEnd, seats, currentPeriodEnd, endsAt, ownerKind, ownerId };
}
