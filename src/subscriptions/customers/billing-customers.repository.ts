import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, isNull, or, type Placeholder, sql } from 'drizzle-orm';
import { organizations } from '../../organizations/organizations.table.js';
import type { Owner, OwnerKind } from '../../owners/owner.js';
import { isId, newId } from '../../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { lockOfRow } from '../../platform/database/locks.js';
import { queries, readRows, sendStatement, sendWrite, statement } from '../../platform/database/statement.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import { type EventVersion, isNewer, VERSION, versionColumns, versionValues } from '../../sync/event-version.js';
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

const REF = { provider: sql.placeholder('provider'), providerCustomerId: sql.placeholder('providerCustomerId') };
const NEW_CUSTOMER = { id: sql.placeholder('id'), ...REF };

const FIND = statement(queries.select().from(billingCustomers).where(isOfCustomer(billingCustomers, REF)));
const LIST_SUBSCRIPTIONS = statement(queries.select().from(subscriptions).where(isOfCustomer(subscriptions, REF)));
const LIST_PAYMENTS = statement(queries.select().from(payments).where(isOfCustomer(payments, REF)));
const INSERT = statement(queries.insert(billingCustomers).values(NEW_CUSTOMER).onConflictDoNothing());
const UPSERT = statement(
  queries
    .insert(billingCustomers)
    .values({ ...NEW_CUSTOMER, ownerClaims: sql.placeholder('claims'), ...versionColumns(VERSION) })
    .onConflictDoUpdate({
      target: [billingCustomers.provider, billingCustomers.providerCustomerId],
      set: { ownerClaims: sql`excluded.owner_claims`, ...versionColumns(VERSION), updatedAt: sql`now()` },
      setWhere: isNewer(VERSION, billingCustomers),
    }),
);
const LOCK_NEW_OWNER = { user: lockOfRow('owner', users), organization: lockOfRow('owner', organizations) };
const CLAIMED = sql`owner_claims && ${sql.placeholder('claims')}::text[]`;
const LIST_WITH_CLAIMS = statement(
  sql`SELECT provider, provider_customer_id FROM ${billingCustomers} WHERE ${CLAIMED}
      UNION SELECT provider, provider_customer_id FROM ${subscriptions} WHERE ${CLAIMED} AND provider <> 'manual' AND provider_customer_id IS NOT NULL
      UNION SELECT provider, provider_customer_id FROM ${payments} WHERE ${CLAIMED}`,
);
const OWN_IDS = sql`ANY (${sql.placeholder('own')}::uuid[])`;
const CLERK_IDS = sql`ANY (${sql.placeholder('ids')}::text[])`;
const FIND_OWNERS = statement(
  sql`SELECT 'user' AS kind, id, clerk_user_id AS clerk_id, deleted_at IS NOT NULL AS is_deleted FROM ${users}
       WHERE id = ${OWN_IDS} OR clerk_user_id = ${CLERK_IDS}
      UNION ALL
      SELECT 'organization', id, clerk_organization_id, deleted_at IS NOT NULL FROM ${organizations}
       WHERE id = ${OWN_IDS} OR clerk_organization_id = ${CLERK_IDS}
      UNION ALL
      SELECT 'merged user', merge.id, NULL, owner.id IS NULL OR owner.deleted_at IS NOT NULL FROM ${userMerges} merge
        LEFT JOIN ${users} owner ON owner.id = merge.into_user_id WHERE merge.id = ${OWN_IDS}`,
);
const updateOwnerOf = (table: typeof billingCustomers | typeof subscriptions | typeof payments) =>
  statement(
    sql`UPDATE ${table} SET owner_kind = ${sql.placeholder('ownerKind')}, owner_id = ${sql.placeholder('ownerId')}, updated_at = now() WHERE id = ${sql.placeholder('id')}`,
  );
const UPDATE_OWNER = {
  customer: updateOwnerOf(billingCustomers),
  subscription: updateOwnerOf(subscriptions),
  payment: updateOwnerOf(payments),
};

/** Customers of the providers, and the owners of their subscriptions and payments. Writers hold the lock of the customer. */
@Injectable()
export class BillingCustomersRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async find(ref: CustomerRef, db: Queryable): Promise<BillingCustomer | undefined> {
    const [customer] = await readRows(billingCustomers, FIND({ ...ref }), db);
    return customer;
  }

  /** Returns whether it changed the row. @param claims null where only the customer's id is known */
  async upsert(
    { provider, providerCustomerId }: CustomerRef,
    claims: string[] | null,
    version: EventVersion,
    db: Queryable,
  ): Promise<boolean> {
    const row = { id: newId(), provider, providerCustomerId };
    const { rowCount } = await sendStatement(claims === null ? INSERT(row) : UPSERT({ ...row, claims, ...versionValues(version) }), db);
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
      readRows(billingCustomers, FIND({ ...ref }), db),
      readRows(subscriptions, LIST_SUBSCRIPTIONS({ ...ref }), db),
      readRows(payments, LIST_PAYMENTS({ ...ref }), db),
    ]);
    return { customer: customer && withLink(customer), subscriptions: ownSubscriptions.map(withLink), payments: ownPayments };
  }

  async lockNewOwner({ kind, id, clerkId }: Owner & { clerkId: string }, db: Queryable): Promise<void> {
    await LOCK_NEW_OWNER[kind](clerkId, id, db);
  }

  async listWithClaims(claims: string[], db: Queryable): Promise<CustomerRef[]> {
    const { rows } = await sendStatement<{ provider: CustomerRef['provider']; provider_customer_id: string }>(
      LIST_WITH_CLAIMS({ claims }),
      db,
    );
    return rows.map((row) => ({ provider: row.provider, providerCustomerId: row.provider_customer_id }));
  }

  /** Users and organizations with one of the claimed ids, ours or Clerk's. Tombstones are included. */
  async findOwners(claims: string[], db: Queryable): Promise<KnownOwner[]> {
    const ids = [...new Set(claims.map(idOfClaim))];
    if (ids.length === 0) return [];
    const { rows } = await sendStatement<{ kind: OwnerKind | 'merged user'; id: string; clerk_id: string | null; is_deleted: boolean }>(
      FIND_OWNERS({ ids, own: ids.filter(isId) }),
      db,
    );
    const merged = new Set(rows.flatMap(({ kind, id }) => (kind === 'merged user' ? [id] : [])));
    return rows.flatMap(({ kind, id, clerk_id: clerkId, is_deleted: isDeleted }) => {
      // The row of a merged user is a tombstone or purged; what counts is the user it was merged into.
      if (kind === 'user' && merged.has(id)) return [];
      return [{ kind: kind === 'merged user' ? 'user' : kind, id, clerkId, isDeleted }];
    });
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
    await sendWrite(UPDATE_OWNER[table]({ id, ownerKind: owner?.kind ?? null, ownerId: owner?.id ?? null }), db);
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
  { provider, providerCustomerId }: CustomerRef | Record<keyof CustomerRef, Placeholder>,
) {
  return and(eq(table.provider, provider), eq(table.providerCustomerId, providerCustomerId));
}
