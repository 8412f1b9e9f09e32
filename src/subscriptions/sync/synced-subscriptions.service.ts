import { isDeepStrictEqual } from 'node:util';
import { Injectable, Logger } from '@nestjs/common';
import { type Actor, SYSTEM } from '../../access/principal.js';
import { Clock } from '../../platform/time/clock.service.js';
import { type EventVersion, EventRank, keyColumns, keyOfRow } from '../../sync/event-version.js';
import { newId } from '../../platform/crypto/ids.js';
import type { Queryable } from '../../platform/database/database.js';
import { PlansService } from '../../plans/plans.service.js';
import {
  type BillingPeriod,
  type CustomerSnapshot,
  type PaymentSnapshot,
  periodOf,
  type SubscriptionSnapshot,
  type SyncContext,
} from './billing-provider.port.js';
import { claimsFromHints } from '../customers/owner-claims.js';
import { willBeCharged, SubscriptionOwners } from '../customers/subscription-owners.service.js';
import { hasReportedGrace } from '../reconciliation/subscription-comparison.js';
import { nextCheckAt } from '../subscription-state.js';
import type { Subscription } from '../subscriptions.table.js';
import { SyncedSubscriptionsRepository } from './synced-subscriptions.repository.js';
import { HOUR_MS } from '../../platform/time/durations.js';

/** How soon a provider is asked again that says that a row is right although its date is over. */
const RECHECK_MS = HOUR_MS;

/** A row, whether what was told is news of it, and whether it still is as it was when it was found to be wrong. */
type Seen = Awaited<ReturnType<SyncedSubscriptionsRepository['lockForSync']>>;

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
    private readonly owners: SubscriptionOwners,
    private readonly plans: PlansService,
    private readonly clock: Clock,
  ) {}

  /** Answers whether the row is now what was told; a repair may have been overtaken. */
  async apply(snapshot: SubscriptionSnapshot, told: SyncContext, db: Queryable): Promise<boolean> {
    const { customer, ownerHints, pastTrial, ...fields } = snapshot;
    const ownerClaims = claimsFromHints(ownerHints);
    const isSameCustomer = await this.syncEmbeddedCustomer(customer, ownerClaims, told.version, db);
    const seen = await this.repository.lockForSync({ ...customer, ...snapshot }, told.version, told.expectedVersion, db);
    const mayWrite = seen === undefined || (told.expectedVersion === undefined ? seen.isNewer : seen.isSame);
    const row = mayWrite ? await this.write({ ...fields, ownerClaims }, customer, seen, told, db) : seen.row;
    if (fields.productId !== null) await this.repository.upsertProduct(row.id, fields.productId, told.version, db);
    const before = seen?.row;
    await this.upsertPeriods({ row, before, periods: [periodOfRow(fields), pastTrial] }, told.version, db);
    const after =
      isSameCustomer && hasSameOwner(before, row) ? undefined : await this.owners.resolveOwners(customer, told.actor, db, row.id);
    if (mayWrite) await this.recordChange(before, after?.get(row.id) ?? row, told.actor, db);
    return mayWrite;
  }

  /**
   * Its provider, asked for it, has none of that name: whatever it was, it is over. The row's key stays, so that any
   * later word counts. Answers false for a row that was written since it was read.
   */
  async end(seen: Subscription, db: Queryable): Promise<boolean> {
    const { provider, providerCustomerId, id } = seen;
    if (provider === 'manual' || providerCustomerId === null) return false;
    await this.owners.lockOwnersAndCustomer({ provider, providerCustomerId }, [], db);
    const row = await this.repository.lock(id, db);
    if (!isDeepStrictEqual(keyOfRow(row), keyOfRow(seen))) return false;
    const now = this.clock.now();
    const after = await this.repository.updateSubscription(
      id,
      { status: 'canceled', endedAt: now, confirmedAt: now, checkAt: null, endRequestedAt: null },
      db,
    );
    await this.recordChange(row, after, SYSTEM, db);
    return true;
  }

  async applyCustomer(customer: CustomerSnapshot, { version, actor }: SyncContext, db: Queryable): Promise<void> {
    const claims = customer.ownerHints && claimsFromHints(customer.ownerHints);
    await this.owners.lockOwnersAndCustomer(customer, claims ?? [], db);
    if (await this.upsertCustomer(customer, claims, version, db)) await this.owners.resolveOwners(customer, actor, db);
  }

  async applyPayment({ customer, ownerHints, ...fields }: PaymentSnapshot, { version, actor }: SyncContext, db: Queryable): Promise<void> {
    const { provider, providerCustomerId } = customer;
    const ownerClaims = claimsFromHints(ownerHints);
    const isSameCustomer = await this.syncEmbeddedCustomer(customer, ownerClaims, version, db);
    const row = { id: newId(), provider, providerCustomerId, ownerClaims, ...fields };
    const isNewer = await this.repository.upsertPayment(row, version, db);
    if (isNewer || !isSameCustomer) await this.owners.resolveOwners(customer, actor, db);
  }

  /** What comes along with something else of a customer was so when that was told. Answers whether it was known. */
  private async syncEmbeddedCustomer(
    customer: CustomerSnapshot,
    otherClaims: string[],
    { at, messageId }: EventVersion,
    db: Queryable,
  ): Promise<boolean> {
    const claims = customer.ownerHints && claimsFromHints(customer.ownerHints);
    // An event of the customer's own of that moment counts more.
    const key = { at, modifiedAt: customer.modifiedAt, rank: EventRank.embedded, messageId };
    await this.owners.lockOwnersAndCustomer(customer, [...otherClaims, ...(claims ?? [])], db);
    const before = await this.repository.findCustomer(customer, db);
    await this.upsertCustomer(customer, claims, key, db);
    return before !== undefined && (claims === null || isDeepStrictEqual(before.ownerClaims, claims));
  }

  /** Answers whether it is news. That a customer is gone is final, however old the word. */
  private async upsertCustomer(customer: CustomerSnapshot, claims: string[] | null, key: EventVersion, db: Queryable): Promise<boolean> {
    const isNewer = await this.repository.upsertCustomer(customer, claims, key, db);
    if (customer.isDeleted) await this.repository.markCustomerDeleted(customer, db);
    return isNewer;
  }

  private async write(
    fields: Omit<SubscriptionSnapshot, 'customer' | 'ownerHints' | 'pastTrial'> & { ownerClaims: string[] },
    { provider, providerCustomerId }: CustomerSnapshot,
    seen: Seen,
    { version, expectedVersion }: SyncContext,
    db: Queryable,
  ): Promise<Subscription> {
    const now = this.clock.now();
    // What was asked for is right now, whatever its dates say.
    const confirmedAt = expectedVersion === undefined ? null : now;
    const { isGraceEstimated: _, ...told } = fields;
    const pastDueUntil = seen !== undefined && hasReportedGrace(seen.row, fields) ? seen.row.pastDueUntil : told.pastDueUntil;
    // What is over need not be ended any more; should it come back, it may have to be.
    const endRequestedAt = told.status === 'canceled' ? null : seen?.row.endRequestedAt;
    const row = { ...told, pastDueUntil, provider, providerCustomerId, confirmedAt, endRequestedAt };
    if (this.plans.tierOfProduct(provider, fields.productId) === undefined) {
      const { productId } = fields;
      this.logger.error({ provider, productId }, 'A subscription of a product that is in no plan: access stays as it was');
    }
    if (seen === undefined) {
      const dated = { ...row, createdAt: now, eventAt: version.at };
      return this.repository.insertSubscription({ id: newId(), ...dated, ...keyColumns(version), checkAt: nextCheckAt(dated) }, db);
    }
    const keyAfter = seen.isNewer ? version : keyOfRow(seen.row);
    const dated = { ...row, createdAt: seen.row.createdAt, eventAt: keyAfter.at };
    const checkAt = laterCheck(nextCheckAt(dated), expectedVersion === undefined ? null : new Date(now.getTime() + RECHECK_MS));
    return this.repository.updateSubscription(seen.row.id, { ...row, ...keyColumns(keyAfter), checkAt }, db);
  }

  /** Stale events add their periods too: whatever order they come in, the same periods are known in the end. */
  private async upsertPeriods(
    { row, before, periods }: { row: Subscription; before?: Subscription; periods: (BillingPeriod | undefined)[] },
    key: EventVersion,
    db: Queryable,
  ): Promise<void> {
    for (const period of periods) if (period !== undefined) await this.repository.upsertPeriod(row.id, period, key, db);
    // A process of a version before decision 0031 may have written the row without its period.
    const former = before && periodOfRow(before);
    if (former !== undefined && former.start.getTime() !== row.currentPeriodStart?.getTime())
      await this.repository.upsertPeriod(row.id, former, keyOfRow(before!), db);
  }

  private async recordChange(before: Subscription | undefined, after: Subscription, actor: Actor, db: Queryable): Promise<void> {
    const change = { before: before && auditedFields(before), after: auditedFields(after) };
    if (isDeepStrictEqual(change.before, change.after)) return;
    const action = before === undefined ? 'subscription.created' : 'subscription.updated';
    await this.owners.record(action, after, actor, change, db, before);
  }
}

function periodOfRow({
  currentPeriodStart,
  currentPeriodEnd,
}: Pick<Subscription, 'currentPeriodStart' | 'currentPeriodEnd'>): BillingPeriod | undefined {
  return periodOf(currentPeriodStart, currentPeriodEnd);
}

/** Whether whose it is cannot have changed with what was written. */
function hasSameOwner(before: Subscription | undefined, after: Subscription): boolean {
  if (before === undefined || (willBeCharged(after) && !willBeCharged(before))) return false;
  return before.providerCustomerId === after.providerCustomerId && isDeepStrictEqual(before.ownerClaims, after.ownerClaims);
}

function laterCheck(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one;
  return one > other ? one : other;
}

function auditedFields({
  status,
  productId,
  cancelAtPeriodEnd,
  seats,
  currentPeriodEnd,
  endsAt,
  ownerKind,
  ownerId,
}: Subscription): object {
  return { status, productId, cancelAtPeriodEnd, seats, currentPeriodEnd, endsAt, ownerKind, ownerId };
}
