import { isDeepStrictEqual } from 'node:util';
import { Injectable, Logger } from '@nestjs/common';
import { type Actor, SYSTEM } from '../../access/principal.js';
import { newId } from '../../platform/crypto/ids.js';
import type { Queryable } from '../../platform/database/database.js';
import { Clock } from '../../platform/time/clock.service.js';
import { HOUR_MS } from '../../platform/time/durations.js';
import { PlansService } from '../../plans/plans.service.js';
import { type EventVersion, EventRank, versionColumns, versionOfRow } from '../../sync/event-version.js';
import { BillingCustomersRepository } from '../customers/billing-customers.repository.js';
import { claimsFromHints } from '../customers/owner-claims.js';
import { SubscriptionOwners, willBeCharged } from '../customers/subscription-owners.service.js';
import { hasReportedGrace } from '../reconciliation/subscription-comparison.js';
import { nextCheckAt } from '../subscription-state.js';
import { SubscriptionsRepository } from '../subscriptions.repository.js';
import type { Subscription } from '../subscriptions.table.js';
import {
  type BillingPeriod,
  type CustomerSnapshot,
  type PaymentSnapshot,
  periodOf,
  type SubscriptionSnapshot,
  type SyncContext,
} from './billing-provider.port.js';
import { type LockedSubscription, SyncedSubscriptionsRepository } from './synced-subscriptions.repository.js';

/** Delay of the next check after a provider confirmed a row whose dates are over. */
const RECHECK_MS = HOUR_MS;

const WITHOUT_OWNER = { ownerKind: null, ownerId: null, ownerLinked: false, tier: null, note: null };

/**
 * Applies what billing providers report, by events or on request. Any order and any repetition end in the same rows:
 * the newest version of each object wins, and owners follow from all claims (docs/decisions/0015). Changes of one
 * customer run one after the other, under its lock.
 */
@Injectable()
export class SyncedSubscriptionsService {
  private readonly logger = new Logger(SyncedSubscriptionsService.name);

  constructor(
    private readonly repository: SyncedSubscriptionsRepository,
    private readonly subscriptions: SubscriptionsRepository,
    private readonly customers: BillingCustomersRepository,
    private readonly owners: SubscriptionOwners,
    private readonly plans: PlansService,
    private readonly clock: Clock,
  ) {}

  /** Returns whether the row now equals the snapshot. A newer event may have overtaken a repair. */
  async apply(snapshot: SubscriptionSnapshot, context: SyncContext, db: Queryable): Promise<boolean> {
    const { customer, ownerHints, pastTrial, ...fields } = snapshot;
    const { version, expectedVersion, actor } = context;
    const ownerClaims = claimsFromHints(ownerHints);
    await this.lockWithEmbedded(customer, ownerClaims, db);
    // Sent together: the customer before the subscription.
    const [isSameCustomer, locked] = await Promise.all([
      this.syncEmbeddedCustomer(customer, version, db),
      this.repository.lockForSync({ ...customer, ...snapshot }, version, expectedVersion, db),
    ]);
    const mayWrite = locked === undefined || (expectedVersion === undefined ? locked.isNewer : locked.isSame);
    const row = mayWrite ? await this.write({ ...fields, ownerClaims }, customer, locked, context, db) : locked.row;
    if (fields.productId !== null) await this.repository.upsertProduct(row.id, fields.productId, version, db);
    const before = locked?.row;
    await this.upsertPeriods({ row, before, periods: [periodOfRow(fields), pastTrial] }, version, db);
    const resolved =
      isSameCustomer && hasSameOwner(before, row)
        ? undefined
        : await this.owners.resolveOwners(customer, actor, db, { recordedId: row.id });
    if (mayWrite) await this.recordChange(before, resolved?.get(row.id) ?? row, actor, db);
    return mayWrite;
  }

  /**
   * Marks a subscription as ended that its provider no longer knows. The row keeps its version, so that any later
   * event counts. Returns false if the row has changed since it was read.
   */
  async end(known: Subscription, db: Queryable): Promise<boolean> {
    const { provider, providerCustomerId, id } = known;
    if (provider === 'manual' || providerCustomerId === null) return false;
    await this.owners.lockOwnersAndCustomer({ provider, providerCustomerId }, [], db);
    const row = (await this.subscriptions.lock(id, db))!;
    if (!isDeepStrictEqual(versionOfRow(row), versionOfRow(known))) return false;
    const now = this.clock.now();
    const after = await this.subscriptions.update(
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
    const [isNewer, records] = await Promise.all([
      this.upsertCustomer(customer, claims, version, db),
      this.owners.loadRecords(customer, db),
    ]);
    if (isNewer) await this.owners.resolveOwners(customer, actor, db, { records });
  }

  async applyPayment({ customer, ownerHints, ...fields }: PaymentSnapshot, { version, actor }: SyncContext, db: Queryable): Promise<void> {
    const { provider, providerCustomerId } = customer;
    const ownerClaims = claimsFromHints(ownerHints);
    const row = { id: newId(), provider, providerCustomerId, ownerClaims, ...fields };
    await this.lockWithEmbedded(customer, ownerClaims, db);
    const [isSameCustomer, isNewer, records] = await Promise.all([
      this.syncEmbeddedCustomer(customer, version, db),
      this.repository.upsertPayment(row, version, db),
      this.owners.loadRecords(customer, db),
    ]);
    if (isNewer || !isSameCustomer) await this.owners.resolveOwners(customer, actor, db, { records });
  }

  private async lockWithEmbedded(customer: CustomerSnapshot, otherClaims: string[], db: Queryable): Promise<void> {
    const claims = customer.ownerHints === null ? [] : claimsFromHints(customer.ownerHints);
    await this.owners.lockOwnersAndCustomer(customer, [...otherClaims, ...claims], db);
  }

  /**
   * Writes the customer inside another object, which is older than an event of its own. Returns whether nothing changed.
   * The caller holds the customer's lock.
   */
  private async syncEmbeddedCustomer(customer: CustomerSnapshot, { at, messageId }: EventVersion, db: Queryable): Promise<boolean> {
    const claims = customer.ownerHints && claimsFromHints(customer.ownerHints);
    const version = { at, modifiedAt: customer.modifiedAt, rank: EventRank.embedded, messageId };
    const [before] = await Promise.all([this.customers.find(customer, db), this.upsertCustomer(customer, claims, version, db)]);
    return before !== undefined && (claims === null || isDeepStrictEqual(before.ownerClaims, claims));
  }

  /** Returns whether the row changed. A deletion counts however old its event is. */
  private async upsertCustomer(
    customer: CustomerSnapshot,
    claims: string[] | null,
    version: EventVersion,
    db: Queryable,
  ): Promise<boolean> {
    const isNewer = await this.customers.upsert(customer, claims, version, db);
    if (customer.isDeleted) await this.customers.markDeleted(customer, db);
    return isNewer;
  }

  private async write(
    fields: Omit<SubscriptionSnapshot, 'customer' | 'ownerHints' | 'pastTrial'> & { ownerClaims: string[] },
    { provider, providerCustomerId }: CustomerSnapshot,
    locked: LockedSubscription | undefined,
    { version, expectedVersion }: SyncContext,
    db: Queryable,
  ): Promise<Subscription> {
    const now = this.clock.now();
    // What we requested from the provider is right now, whatever its dates say.
    const confirmedAt = expectedVersion === undefined ? null : now;
    const { isGraceEstimated: _, ...columns } = fields;
    const pastDueUntil = locked !== undefined && hasReportedGrace(locked.row, fields) ? locked.row.pastDueUntil : columns.pastDueUntil;
    // A canceled subscription needs no cancellation; if it is revived, it may need one again.
    const endRequestedAt = columns.status === 'canceled' || locked === undefined ? null : locked.row.endRequestedAt;
    const row = { ...columns, pastDueUntil, provider, providerCustomerId, confirmedAt, endRequestedAt };
    if (this.plans.tierOfProduct(provider, fields.productId) === undefined)
      this.logger.error(
        { provider, productId: fields.productId },
        'A subscription has a product that is in no plan. Access stays as it was.',
      );
    if (locked === undefined) {
      const dated = { ...row, createdAt: now, eventAt: version.at };
      const inserted = { ...WITHOUT_OWNER, ...dated, id: newId(), ...versionColumns(version), checkAt: nextCheckAt(dated), updatedAt: now };
      await this.subscriptions.insertRow(inserted, db);
      return inserted;
    }
    const newVersion = locked.isNewer ? version : versionOfRow(locked.row);
    const dated = { ...row, createdAt: locked.row.createdAt, eventAt: newVersion.at };
    const checkAt = laterCheck(nextCheckAt(dated), expectedVersion === undefined ? null : new Date(now.getTime() + RECHECK_MS));
    const changes = { ...row, ...versionColumns(newVersion), checkAt };
    await this.subscriptions.write(locked.row.id, changes, db);
    return { ...locked.row, ...changes };
  }

  /** Stale events add their periods too, so that any order ends in the same periods. */
  private async upsertPeriods(
    { row, before, periods }: { row: Subscription; before?: Subscription; periods: (BillingPeriod | undefined)[] },
    version: EventVersion,
    db: Queryable,
  ): Promise<void> {
    for (const period of periods) if (period !== undefined) await this.repository.upsertPeriod(row.id, period, version, db);
    // A process of a version before decision 0031 may have written the row without its period.
    const former = before && periodOfRow(before);
    if (former !== undefined && former.start.getTime() !== row.currentPeriodStart?.getTime())
      await this.repository.upsertPeriod(row.id, former, versionOfRow(before!), db);
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

/** Whether the write cannot have changed the owner, nor require a cancellation. */
function hasSameOwner(before: Subscription | undefined, after: Subscription): boolean {
  if (before === undefined || (willBeCharged(after) && !willBeCharged(before))) return false;
  return before.providerCustomerId === after.providerCustomerId && isDeepStrictEqual(before.ownerClaims, after.ownerClaims);
}

function laterCheck(one: Date | null, other: Date | null): Date | null {
  if (one === null || other === null) return one;
  return one > other ? one : other;
}

function auditedFields(row: Subscription): object {
  const { status, productId, cancelAtPeriodEnd, seats, currentPeriodEnd, endsAt, ownerKind, ownerId } = row;
  return { status, productId, cancelAtPeriodEnd, seats, currentPeriodEnd, endsAt, ownerKind, ownerId };
}
