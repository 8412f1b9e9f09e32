import { Inject, Injectable } from '@nestjs/common';
import { and, arrayOverlaps, eq, inArray, isNotNull, isNull, or, sql } from 'drizzle-orm';
import { type EventVersion, isNewer, isSame, keyColumns } from '../../sync/event-version.js';
import { isId, newId } from '../../platform/crypto/ids.js';
import type { Owner } from '../../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { organizations } from '../../organizations/organizations.table.js';
import { userMerges } from '../../users/user-merges.table.js';
import { users } from '../../users/users.table.js';
import { type BillingCustomer, billingCustomers } from '../customers/billing-customers.table.js';
import type { BillingPeriod, CustomerSnapshot } from './billing-provider.port.js';
import { ownedBy } from '../customers/owned-by.js';
import { type CustomerRecords, idOfClaim, type OwnerChange } from '../customers/owner-claims.js';
import { payments } from '../payments/payments.table.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import { subscriptionPeriods } from './subscription-periods.table.js';
import { subscriptionProducts } from './subscription-products.table.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';

/** A customer of a provider, by name. */
export interface CustomerRef {
  provider: CustomerSnapshot['provider'];
  providerCustomerId: string;
}

/** Somebody whom a claim may mean. */
export interface KnownOwner {
  kind: 'user' | 'organization';
  id: string;
  clerkId: string | null;
  /** Gone for good: not one whose row only went on as another one's. */
  isDeleted: boolean;
}

const TABLES = { customer: billingCustomers, subscription: subscriptions, payment: payments } as const;

/** Statements about what billing providers tell. Whoever writes holds the customer's name. */
@Injectable()
export class SyncedSubscriptionsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findCustomer({ provider, providerCustomerId }: CustomerRef, db: Queryable): Promise<BillingCustomer | undefined> {
    const [customer] = await db.select().from(billingCustomers).where(isOfCustomer(billingCustomers, { provider, providerCustomerId }));
    return customer;
  }

  /** Answers whether it is news. */
  async upsertCustomer(
    { provider, providerCustomerId }: CustomerRef,
    claims: string[] | null,
    key: EventVersion,
    db: Queryable,
  ): Promise<boolean> {
    if (claims === null) {
      const { rowCount } = await db.insert(billingCustomers).values({ id: newId(), provider, providerCustomerId }).onConflictDoNothing();
      return rowCount === 1;
    }
    const { rowCount } = await db
      .insert(billingCustomers)
      .values({ id: newId(), provider, providerCustomerId, ownerClaims: claims, ...keyColumns(key) })
      .onConflictDoUpdate({
        target: [billingCustomers.provider, billingCustomers.providerCustomerId],
        set: { ownerClaims: claims, ...keyColumns(key), updatedAt: sql`now()` },
        setWhere: isNewer(key, billingCustomers),
      });
    return rowCount === 1;
  }

  /** It is final: nothing that is told of a customer later brings them back. */
  async markCustomerDeleted({ provider, providerCustomerId }: CustomerRef, db: Queryable): Promise<void> {
    await db
      .update(billingCustomers)
      .set({ deletedAt: sql`now()` })
      .where(and(isOfCustomer(billingCustomers, { provider, providerCustomerId }), isNull(billingCustomers.deletedAt)));
  }

  /** A subscription, whether what comes with this key is news of it, and whether it still has the key that is repaired. */
  async lockForSync(
    { provider, providerSubscriptionId }: { provider: Subscription['provider']; providerSubscriptionId: string },
    key: EventVersion,
    expectedVersion: EventVersion | undefined,
    db: Queryable,
  ): Promise<{ row: Subscription; isNewer: boolean; isSame: boolean } | undefined> {
    const [seen] = await db
      .select({
        row: subscriptions,
        isNewer: sql<boolean>`${isNewer(key, subscriptions)}`,
        isSame: sql<boolean>`${isSame(expectedVersion ?? key, subscriptions)}`,
      })
      .from(subscriptions)
      .where(and(eq(subscriptions.provider, provider), eq(subscriptions.providerSubscriptionId, providerSubscriptionId)))
      .for('no key update');
    return seen;
  }

  async lock(id: string, db: Queryable): Promise<Subscription> {
    const [row] = await db.select().from(subscriptions).where(eq(subscriptions.id, id)).for('no key update');
    return row!;
  }

  async insertSubscription(row: typeof subscriptions.$inferInsert, db: Queryable): Promise<Subscription> {
    const [inserted] = await db.insert(subscriptions).values(row).returning();
    return inserted!;
  }

  async updateSubscription(
    id: string,
    changes: Partial<typeof subscriptions.$inferInsert>,
    db: Queryable = this.db,
  ): Promise<Subscription> {
    const [updated] = await db.update(subscriptions).set(changes).where(eq(subscriptions.id, id)).returning();
    return updated!;
  }

  async upsertProduct(subscriptionId: string, productId: string, key: EventVersion, db: Queryable): Promise<void> {
    await db
      .insert(subscriptionProducts)
      .values({ subscriptionId, productId, ...keyColumns(key) })
      .onConflictDoUpdate({
        target: [subscriptionProducts.subscriptionId, subscriptionProducts.productId],
        set: keyColumns(key),
        setWhere: isNewer(key, subscriptionProducts),
      });
  }

  /** Adds a billing period; of one that is known the newest event tells the end. */
  async upsertPeriod(subscriptionId: string, { start, end }: BillingPeriod, key: EventVersion, db: Queryable): Promise<void> {
    await db
      .insert(subscriptionPeriods)
      .values({ subscriptionId, startsAt: start, endsAt: end, ...keyColumns(key) })
      .onConflictDoUpdate({
        target: [subscriptionPeriods.subscriptionId, subscriptionPeriods.startsAt],
        set: { endsAt: end, ...keyColumns(key) },
        setWhere: isNewer(key, subscriptionPeriods),
      });
  }

  /** Answers whether it is news. */
  async upsertPayment(row: typeof payments.$inferInsert, key: EventVersion, db: Queryable): Promise<boolean> {
    const { id: _, ...fields } = row;
    const { rowCount } = await db
      .insert(payments)
      .values({ ...row, ...keyColumns(key) })
      .onConflictDoUpdate({
        target: [payments.provider, payments.kind, payments.providerPaymentId],
        set: { ...fields, ...keyColumns(key), updatedAt: sql`now()` },
        setWhere: isNewer(key, payments),
      });
    return rowCount === 1;
  }

  /** All that hangs on a customer. */
  async loadCustomerRecords(ref: CustomerRef, db: Queryable): Promise<CustomerRecords> {
    const [[customer], ownSubscriptions, ownPayments] = await Promise.all([
      db.select().from(billingCustomers).where(isOfCustomer(billingCustomers, ref)),
      db.select().from(subscriptions).where(isOfCustomer(subscriptions, ref)),
      db
        .select({
          id: payments.id,
          ownerKind: payments.ownerKind,
          ownerId: payments.ownerId,
          ownerClaims: payments.ownerClaims,
          providerPaymentId: payments.providerPaymentId,
          providerSubscriptionId: payments.providerSubscriptionId,
          ofProviderPaymentId: payments.ofProviderPaymentId,
        })
        .from(payments)
        .where(isOfCustomer(payments, ref)),
    ]);
    return { customer: customer && withLink(customer), subscriptions: ownSubscriptions.map(withLink), payments: ownPayments };
  }

  /** Users and organizations, tombstones included, who go by one of these ids, ours or Clerk's. */
  async findOwners(claims: string[], db: Queryable): Promise<KnownOwner[]> {
    const ids = [...new Set(claims.map(idOfClaim))];
    if (ids.length === 0) return [];
    const own = ids.filter(isId);
    const isOurs = (column: typeof users.id | typeof organizations.id | typeof userMerges.id) =>
      own.length === 0 ? sql`false` : inArray(column, own);
    const [people, tenants, merged] = await Promise.all([
      db
        .select({ id: users.id, clerkId: users.clerkUserId, deletedAt: users.deletedAt })
        .from(users)
        .where(or(isOurs(users.id), inArray(users.clerkUserId, ids))),
      db
        .select({ id: organizations.id, clerkId: organizations.clerkOrganizationId, deletedAt: organizations.deletedAt })
        .from(organizations)
        .where(or(isOurs(organizations.id), inArray(organizations.clerkOrganizationId, ids))),
      db
        .select({ id: userMerges.id, isDeleted: sql<boolean>`${users.id} IS NULL OR ${users.deletedAt} IS NOT NULL` })
        .from(userMerges)
        .leftJoin(users, eq(users.id, userMerges.intoUserId))
        .where(isOurs(userMerges.id)),
    ]);
    const wentOn = new Set(merged.map(({ id }) => id));
    return [
      // Their row is a tombstone, or purged, and what is theirs is whom's they became.
      ...merged.map(({ id, isDeleted }) => ({ kind: 'user' as const, id, clerkId: null, isDeleted })),
      ...people
        .filter(({ id }) => !wentOn.has(id))
        .map(({ id, clerkId, deletedAt }) => ({ kind: 'user' as const, id, clerkId, isDeleted: deletedAt !== null })),
      ...tenants.map(({ id, clerkId, deletedAt }) => ({ kind: 'organization' as const, id, clerkId, isDeleted: deletedAt !== null })),
    ];
  }

  async updateOwner({ table, id, owner }: OwnerChange, db: Queryable): Promise<void> {
    await db
      .update(TABLES[table])
      .set({ ownerKind: owner?.kind ?? null, ownerId: owner?.id ?? null })
      .where(eq(TABLES[table].id, id));
  }

  /** The customers of whose books something names one of these claims. */
  async listCustomersWithClaims(claims: string[], db: Queryable): Promise<CustomerRef[]> {
    const found = await Promise.all(
      [billingCustomers, subscriptions, payments].map((table) =>
        db
          .selectDistinct({ provider: table.provider, providerCustomerId: table.providerCustomerId })
          .from(table)
          .where(arrayOverlaps(table.ownerClaims, claims)),
      ),
    );
    const customers = new Map<string, CustomerRef>();
    for (const { provider, providerCustomerId } of found.flat()) {
      if (provider === 'manual' || providerCustomerId === null) continue;
      customers.set(`${provider}:${providerCustomerId}`, { provider, providerCustomerId });
    }
    return [...customers.values()];
  }

  /** Whose books a subscription is in; undefined for a grant. */
  async findCustomerOf(id: string, db: Queryable): Promise<CustomerRef | undefined> {
    const [row] = await db.select().from(subscriptions).where(eq(subscriptions.id, id));
    const { provider, providerCustomerId } = row!;
    return provider === 'manual' || providerCustomerId === null ? undefined : { provider, providerCustomerId };
  }

  /** Says for good whose customer it is, unless that is known. */
  async linkCustomer({ provider, providerCustomerId }: CustomerRef, { kind: ownerKind, id: ownerId }: Owner, db: Queryable): Promise<void> {
    const link = { ownerKind, ownerId, ownerLinked: true };
    await db
      .insert(billingCustomers)
      .values({ id: newId(), provider, providerCustomerId, ...link })
      .onConflictDoUpdate({
        target: [billingCustomers.provider, billingCustomers.providerCustomerId],
        set: link,
        setWhere: isNull(billingCustomers.ownerId),
      });
  }

  /** What an owner is charged for until somebody ends it, and nobody has asked to end yet. */
  async listCharged(ownerId: string, db: Queryable = this.db): Promise<Subscription[]> {
    return db
      .select()
      .from(subscriptions)
      .where(and(ownedBy(ownerId, subscriptions.ownerId), isNull(subscriptions.endRequestedAt), isChargedAgain()))
      .orderBy(subscriptions.id);
  }

  /** Owners who are gone, and are charged for something that nobody has asked to end. */
  async listDeletedOwners({ limit, only }: { limit: number; only?: string }, db: Queryable = this.db): Promise<string[]> {
    const ownerId = sql`coalesce(${userMerges.intoUserId}, ${subscriptions.ownerId})`;
    const isAlive = sql`EXISTS (SELECT FROM ${users} WHERE ${users.id} = ${ownerId} AND ${users.deletedAt} IS NULL)
      OR EXISTS (SELECT FROM ${organizations} WHERE ${organizations.id} = ${subscriptions.ownerId} AND ${organizations.deletedAt} IS NULL)`;
    const rows = await db
      .selectDistinct({ ownerId: subscriptions.ownerId })
      .from(subscriptions)
      .leftJoin(userMerges, eq(userMerges.id, subscriptions.ownerId))
      .where(
        and(
          isNotNull(subscriptions.ownerId),
          isNull(subscriptions.endRequestedAt),
          isChargedAgain(),
          sql`NOT (${isAlive})`,
          only === undefined ? undefined : eq(subscriptions.ownerId, only),
        ),
      )
      .limit(limit);
    return rows.map((row) => row.ownerId!);
  }

  /** Takes back that somebody's subscriptions are to end, as far as they have not. */
  async withdrawEndRequests(ownerId: string, db: Queryable): Promise<void> {
    await db
      .update(subscriptions)
      .set({ endRequestedAt: null })
      .where(and(eq(subscriptions.ownerId, ownerId), isNotNull(subscriptions.endRequestedAt)));
  }

  async isEndRequested({ provider, providerSubscriptionId }: { provider: string; providerSubscriptionId: string }): Promise<boolean> {
    const [row] = await this.db
      .select({ endRequestedAt: subscriptions.endRequestedAt })
      .from(subscriptions)
      .where(and(sql`${subscriptions.provider}::text = ${provider}`, eq(subscriptions.providerSubscriptionId, providerSubscriptionId)));
    return row !== undefined && row.endRequestedAt !== null;
  }

  /** What belongs to somebody whose row is about to go stays theirs. */
  async pinOwners(ownerIds: string[], db: Queryable): Promise<void> {
    await db.update(billingCustomers).set({ ownerLinked: true }).where(inArray(billingCustomers.ownerId, ownerIds));
    await db.update(subscriptions).set({ ownerLinked: true }).where(inArray(subscriptions.ownerId, ownerIds));
  }
}

/** It will be charged again. */
function isChargedAgain() {
  return and(
    isNotNull(subscriptions.providerSubscriptionId),
    inArray(subscriptions.status, CHARGED_STATUSES),
    eq(subscriptions.cancelAtPeriodEnd, false),
  );
}

/** Whose something is for good is the first whom it names: what is bought for somebody who is gone must be seen to be. */
function withLink<Row extends Pick<Subscription, 'ownerLinked' | 'ownerKind' | 'ownerId' | 'ownerClaims'>>(row: Row): Row {
  const { ownerLinked, ownerKind, ownerId, ownerClaims } = row;
  return ownerLinked && ownerId !== null ? { ...row, ownerClaims: [`${ownerKind}:${ownerId}`, ...ownerClaims] } : row;
}

function isOfCustomer(
  table: typeof billingCustomers | typeof subscriptions | typeof payments,
  { provider, providerCustomerId }: CustomerRef,
) {
  return and(eq(table.provider, provider), eq(table.providerCustomerId, providerCustomerId));
}
