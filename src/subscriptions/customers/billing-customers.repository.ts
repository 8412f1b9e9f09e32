import { Inject, Injectable } from '@nestjs/common';
import { and, arrayOverlaps, desc, eq, isNull, or, sql } from 'drizzle-orm';
import { organizations } from '../../organizations/organizations.table.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import { isId, newId } from '../../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import { type EventVersion, isNewer, versionColumns } from '../../sync/event-version.js';
import { userMerges } from '../../users/user-merges.table.js';
import { users } from '../../users/users.table.js';
import { payments } from '../payments/payments.table.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';
import type { CustomerSnapshot } from '../sync/billing-provider.port.js';
import { type BillingCustomer, billingCustomers } from './billing-customers.table.js';
import { ownedBy } from './owned-by.js';
import { type CustomerRecords, idOfClaim, type OwnerChange } from './owner-claims.js';

export interface CustomerRef {
  provider: CustomerSnapshot['provider'];
  providerCustomerId: string;
}

export interface KnownOwner {
  kind: OwnerKind;
  id: string;
  clerkId: string | null;
  /** Deleted for good. A user who was merged into a live user is not. */
  isDeleted: boolean;
}

const TABLES = { customer: billingCustomers, subscription: subscriptions, payment: payments } as const;

/** Customers of the providers, and the owners of their subscriptions and payments. Writers hold the lock of the customer. */
@Injectable()
export class BillingCustomersRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async find(ref: CustomerRef, db: Queryable): Promise<BillingCustomer | undefined> {
    const [customer] = await db.select().from(billingCustomers).where(isOfCustomer(billingCustomers, ref));
    return customer;
  }

  /** Returns whether it changed the row. @param claims null where only the customer's id is known */
  async upsert(
    { provider, providerCustomerId }: CustomerRef,
    claims: string[] | null,
    version: EventVersion,
    db: Queryable,
  ): Promise<boolean> {
    if (claims === null) {
      const { rowCount } = await db.insert(billingCustomers).values({ id: newId(), provider, providerCustomerId }).onConflictDoNothing();
      return rowCount === 1;
    }
    const { rowCount } = await db
      .insert(billingCustomers)
      .values({ id: newId(), provider, providerCustomerId, ownerClaims: claims, ...versionColumns(version) })
      .onConflictDoUpdate({
        target: [billingCustomers.provider, billingCustomers.providerCustomerId],
        set: { ownerClaims: claims, ...versionColumns(version), updatedAt: sql`now()` },
        setWhere: isNewer(version, billingCustomers),
      });
    return rowCount === 1;
  }

  /** Final: no later event revives a deleted customer. */
  async markDeleted(ref: CustomerRef, db: Queryable): Promise<void> {
    await db
      .update(billingCustomers)
      .set({ deletedAt: sql`now()` })
      .where(and(isOfCustomer(billingCustomers, ref), isNull(billingCustomers.deletedAt)));
  }

  async link({ provider, providerCustomerId }: CustomerRef, { kind: ownerKind, id: ownerId }: Owner, db: Queryable): Promise<void> {
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

  /** An owner may manage the payments of its own customers, and of customers without an owner that bought only for it. Newest first. */
  async listByOwner({ id }: Owner, db: Queryable = this.db): Promise<BillingCustomer[]> {
    const boughtOnlyForOwner = sql`SELECT bool_and(${subscriptions.ownerId} IS NOT DISTINCT FROM ${id}::uuid) FROM ${subscriptions}
      WHERE ${subscriptions.provider} = ${billingCustomers.provider} AND ${subscriptions.providerCustomerId} = ${billingCustomers.providerCustomerId}`;
    const ofOwnSubscriptions = db
      .select({ provider: subscriptions.provider, providerCustomerId: subscriptions.providerCustomerId })
      .from(subscriptions)
      .where(eq(subscriptions.ownerId, id));
    const isUnowned = and(
      isNull(billingCustomers.ownerId),
      sql`(${billingCustomers.provider}, ${billingCustomers.providerCustomerId}) IN (${ofOwnSubscriptions})`,
      sql`(${boughtOnlyForOwner})`,
    );
    return db
      .select()
      .from(billingCustomers)
      .where(and(or(ownedBy(id, billingCustomers.ownerId), isUnowned), isNull(billingCustomers.deletedAt)))
      .orderBy(desc(billingCustomers.createdAt), desc(billingCustomers.id));
  }

  async loadRecords(ref: CustomerRef, db: Queryable): Promise<CustomerRecords> {
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

  async listWithClaims(claims: string[], db: Queryable): Promise<CustomerRef[]> {
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

  /** Users and organizations with one of the claimed ids, ours or Clerk's. Tombstones are included. */
  async findOwners(claims: string[], db: Queryable): Promise<KnownOwner[]> {
    const ids = [...new Set(claims.map(idOfClaim))];
    if (ids.length === 0) return [];
    const own = ids.filter(isId);
    const isOurs = (column: typeof users.id | typeof organizations.id | typeof userMerges.id) =>
      own.length === 0 ? sql`false` : isOneOf(column, own);
    const [people, tenants, merged] = await Promise.all([
      db
        .select({ id: users.id, clerkId: users.clerkUserId, deletedAt: users.deletedAt })
        .from(users)
        .where(or(isOurs(users.id), isOneOf(users.clerkUserId, ids))),
      db
        .select({ id: organizations.id, clerkId: organizations.clerkOrganizationId, deletedAt: organizations.deletedAt })
        .from(organizations)
        .where(or(isOurs(organizations.id), isOneOf(organizations.clerkOrganizationId, ids))),
      db
        .select({ id: userMerges.id, isDeleted: sql<boolean>`${users.id} IS NULL OR ${users.deletedAt} IS NOT NULL` })
        .from(userMerges)
        .leftJoin(users, eq(users.id, userMerges.intoUserId))
        .where(isOurs(userMerges.id)),
    ]);
    const mergedIds = new Set(merged.map(({ id }) => id));
    return [
      // The row of a merged user is a tombstone or purged; what counts is the user it was merged into.
      ...merged.map(({ id, isDeleted }) => ({ kind: 'user' as const, id, clerkId: null, isDeleted })),
      ...people
        .filter(({ id }) => !mergedIds.has(id))
        .map(({ id, clerkId, deletedAt }) => ({ kind: 'user' as const, id, clerkId, isDeleted: deletedAt !== null })),
      ...tenants.map(({ id, clerkId, deletedAt }) => ({ kind: 'organization' as const, id, clerkId, isDeleted: deletedAt !== null })),
    ];
  }

  /** Returns whether the owner exists, and keeps it from being deleted until the transaction ends. */
  async lockLiveOwner({ kind, id }: Owner, db: Queryable): Promise<boolean> {
    const table = kind === 'user' ? users : organizations;
    const [row] = await db
      .select({ id: table.id })
      .from(table)
      .where(and(eq(table.id, id), isNull(table.deletedAt)))
      .for('share');
    return row !== undefined;
  }

  async findEmail(userId: string, db: Queryable = this.db): Promise<string | undefined> {
    const [row] = await db.select({ email: users.email }).from(users).where(eq(users.id, userId));
    return row?.email ?? undefined;
  }

  async updateOwner({ table, id, owner }: OwnerChange, db: Queryable): Promise<void> {
    await db
      .update(TABLES[table])
      .set({ ownerKind: owner?.kind ?? null, ownerId: owner?.id ?? null })
      .where(eq(TABLES[table].id, id));
  }

  /** Keeps the present owner of everything that belongs to these owners, whatever is claimed later. */
  async pinOwners(ownerIds: string[], db: Queryable): Promise<void> {
    await db.update(billingCustomers).set({ ownerLinked: true }).where(isOneOf(billingCustomers.ownerId, ownerIds));
    await db.update(subscriptions).set({ ownerLinked: true }).where(isOneOf(subscriptions.ownerId, ownerIds));
  }
}

/** A linked owner is the first claim of its row, so that its deletion is noticed like that of a claimed owner. */
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
