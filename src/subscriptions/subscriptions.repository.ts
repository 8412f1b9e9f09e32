import { Inject, Injectable } from '@nestjs/common';
import { and, count, desc, eq, gt, inArray, isNotNull, isNull, notInArray, or, type Placeholder, type SQL, sql } from 'drizzle-orm';
import { newestFirst } from '../sync/event-version.js';
import type { Owner } from '../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { memberships } from '../memberships/organization-memberships.table.js';
import { organizations } from '../organizations/organizations.table.js';
import { userMerges } from '../users/user-merges.table.js';
import { users } from '../users/users.table.js';
import { billingCustomers, type BillingCustomer, type Provider } from './customers/billing-customers.table.js';
import type { BillingPeriod } from './sync/billing-provider.port.js';
import { ownedBy } from './customers/owned-by.js';
import { hasPaymentInState } from './payments/payments.repository.js';
import type { PaymentState } from './payments/payment-state.js';
import { subscriptionPeriods } from './sync/subscription-periods.table.js';
import { subscriptionProducts } from './sync/subscription-products.table.js';
import { type Subscription, type SubscriptionStatus, subscriptions } from './subscriptions.table.js';

export interface SubscriptionFilters {
  ownerId?: string;
  provider?: Provider;
  status?: SubscriptionStatus;
  /** Whether it is known whose it is. */
  owned?: boolean;
  /** Only those with a payment of this state. */
  paymentStatus?: PaymentState;
}

@Injectable()
export class SubscriptionsRepository {
  /** Asked whenever somebody wants to use something. */
  private readonly byOwner;
  private readonly byOwners;
  private readonly members;

  constructor(@Inject(DATABASE) private readonly db: Database) {
    this.byOwner = selectByOwner(db, sql.placeholder('ownerId')).prepare('subscriptions_of_owner');
    this.byOwners = selectByOwners(db, sql.placeholder('ids'), sql.placeholder('periodsFrom')).prepare('subscriptions_of_owners');
    this.members = selectMembers(db, sql.placeholder('organizationId')).prepare('subscriptions_members');
  }

  async listByOwner({ id }: Owner, db?: Queryable): Promise<Subscription[]> {
    return db === undefined ? this.byOwner.execute({ ownerId: id }) : selectByOwner(db, id);
  }

  /**
   * Each with the owner that was asked for (it may belong to a user whose row went on as theirs), and its billing
   * periods: the one of a moment, and all that began later.
   */
  async listByOwners(ids: string[], periodsFrom: Date): Promise<{ requestedId: string; row: Subscription; periods: BillingPeriod[] }[]> {
    const rows = await this.byOwners.execute({ ids, periodsFrom: periodsFrom.toISOString() });
    return rows.map(({ periods, ...one }) => ({
      ...one,
      periods: periods.map(([start, end]) => ({ start: new Date(start), end: new Date(end) })),
    }));
  }

  /** What a subscription was ever said to be of, the newest first. */
  async listProducts(subscriptionId: string, db: Queryable = this.db): Promise<string[]> {
    const rows = await db
      .select({ productId: subscriptionProducts.productId })
      .from(subscriptionProducts)
      .where(eq(subscriptionProducts.subscriptionId, subscriptionId))
      .orderBy(newestFirst(subscriptionProducts));
    return rows.map(({ productId }) => productId);
  }

  async countMembers(organizationId: string, db?: Queryable): Promise<number> {
    const [row] = await (db === undefined ? this.members.execute({ organizationId }) : selectMembers(db, organizationId));
    return row!.members;
  }

  async list(
    { ownerId, provider, status, owned, paymentStatus }: SubscriptionFilters,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
  ): Promise<Subscription[]> {
    const conditions: (SQL | undefined)[] = [
      ownerId === undefined ? undefined : ownedBy(ownerId, subscriptions.ownerId),
      provider === undefined ? undefined : eq(subscriptions.provider, provider),
      status === undefined ? undefined : eq(subscriptions.status, status),
      owned === undefined ? undefined : owned ? isNotNull(subscriptions.ownerId) : isNull(subscriptions.ownerId),
      paymentStatus && hasPaymentInState(paymentStatus),
      after && sql`(${subscriptions.createdAt}, ${subscriptions.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
    ];
    return this.db
      .select()
      .from(subscriptions)
      .where(and(...conditions))
      .orderBy(desc(subscriptions.createdAt), desc(subscriptions.id))
      .limit(limit);
  }

  async lock(id: string, db: Queryable): Promise<Subscription | undefined> {
    const [row] = await db.select().from(subscriptions).where(eq(subscriptions.id, id)).for('no key update');
    return row;
  }

  async find(id: string, db: Queryable = this.db): Promise<Subscription | undefined> {
    const [row] = await db.select().from(subscriptions).where(eq(subscriptions.id, id));
    return row;
  }

  async insert(row: typeof subscriptions.$inferInsert, db: Queryable): Promise<Subscription> {
    const [inserted] = await db.insert(subscriptions).values(row).returning();
    return inserted!;
  }

  async update(id: string, changes: Partial<typeof subscriptions.$inferInsert>, db: Queryable): Promise<Subscription> {
    const [updated] = await db.update(subscriptions).set(changes).where(eq(subscriptions.id, id)).returning();
    return updated!;
  }

  /** Whether there is a living one; it can not be deleted until the transaction ends. */
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

  /**
   * Those whose payments an owner may manage, the newest first: the owner's own, and nobody's who never bought
   * anything for somebody else.
   */
  async listCustomers({ id }: Owner, db: Queryable = this.db): Promise<BillingCustomer[]> {
    const bought = sql`SELECT bool_and(${subscriptions.ownerId} IS NOT DISTINCT FROM ${id}::uuid) FROM ${subscriptions}
      WHERE ${subscriptions.provider} = ${billingCustomers.provider} AND ${subscriptions.providerCustomerId} = ${billingCustomers.providerCustomerId}`;
    const ofOwn = db
      .select({ provider: subscriptions.provider, providerCustomerId: subscriptions.providerCustomerId })
      .from(subscriptions)
      .where(eq(subscriptions.ownerId, id));
    const isNobodys = and(
      isNull(billingCustomers.ownerId),
      sql`(${billingCustomers.provider}, ${billingCustomers.providerCustomerId}) IN (${ofOwn})`,
      sql`(${bought})`,
    );
    return db
      .select()
      .from(billingCustomers)
      .where(and(or(ownedBy(id, billingCustomers.ownerId), isNobodys), isNull(billingCustomers.deletedAt)))
      .orderBy(desc(billingCustomers.createdAt), desc(billingCustomers.id));
  }

  /** How many nobody owns, and how many are of products that are in no plan. */
  async countAnomalies(knownProducts: string[]): Promise<{ ownerless: number; unknownProduct: number }> {
    const isAlive = inArray(subscriptions.status, ['trialing', 'active', 'past_due']);
    const isUnknown = or(
      isNull(subscriptions.productId),
      knownProducts.length === 0 ? sql`true` : notInArray(subscriptions.productId, knownProducts),
    );
    const [row] = await this.db
      .select({
        ownerless: sql<number>`(count(*) FILTER (WHERE ${subscriptions.ownerId} IS NULL))::int`,
        unknownProduct: sql<number>`(count(*) FILTER (WHERE ${subscriptions.provider} <> 'manual' AND ${isUnknown}))::int`,
      })
      .from(subscriptions)
      .where(isAlive);
    return row!;
  }

  /** Organizations whose plan is paid by the seat, and that pay for another number of them than they have members. */
  async listSeatMismatches(
    provider: Provider,
    products: string[],
    { after, limit }: { after?: string; limit: number },
  ): Promise<{ id: string; providerSubscriptionId: string; members: number }[]> {
    if (products.length === 0) return [];
    const members = sql<number>`count(${memberships.id})::int`;
    const rows = await this.db
      .select({ id: subscriptions.id, providerSubscriptionId: subscriptions.providerSubscriptionId, members })
      .from(subscriptions)
      .innerJoin(memberships, and(eq(memberships.organizationId, subscriptions.ownerId), isNull(memberships.deletedAt)))
      .where(
        and(
          inArray(subscriptions.status, ['trialing', 'active']),
          eq(subscriptions.cancelAtPeriodEnd, false),
          isNull(subscriptions.endRequestedAt),
          eq(subscriptions.provider, provider),
          inArray(subscriptions.productId, products),
          after === undefined ? undefined : gt(subscriptions.id, after),
        ),
      )
      .groupBy(subscriptions.id)
      .having(sql`count(${memberships.id}) <> ${subscriptions.seats} AND ${subscriptions.seats} IS NOT NULL`)
      .orderBy(subscriptions.id)
      .limit(limit);
    return rows.map((row) => ({ ...row, providerSubscriptionId: row.providerSubscriptionId! }));
  }
}

function selectByOwner(db: Queryable, ownerId: string | Placeholder) {
  return db.select().from(subscriptions).where(ownedBy(ownerId, subscriptions.ownerId));
}

function selectByOwners(db: Queryable, ids: Placeholder, periodsFrom: Placeholder) {
  const asked = sql`(SELECT id AS asked_id, id FROM unnest(${ids}::uuid[]) AS asked (id)
    UNION ALL SELECT ${userMerges.intoUserId}, ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = ANY (${ids}::uuid[])) AS owners`;
  // Every name is written with its table: Drizzle leaves it out of a statement about one table.
  const millis = (column: string) => sql.raw(`(extract(epoch FROM p.${column}) * 1000)::bigint`);
  const first = sql`SELECT max(q.starts_at) FROM ${subscriptionPeriods} AS q
    WHERE q.subscription_id = subscriptions.id AND q.starts_at <= ${periodsFrom}::timestamptz`;
  const periods = sql`SELECT coalesce(json_agg(json_build_array(${millis('starts_at')}, ${millis('ends_at')})), '[]') FROM ${subscriptionPeriods} AS p
    WHERE p.subscription_id = subscriptions.id AND p.starts_at >= coalesce((${first}), '-infinity')`;
  return db
    .select({ requestedId: sql<string>`owners.asked_id`, row: subscriptions, periods: sql<[number, number][]>`(${periods})` })
    .from(subscriptions)
    .innerJoin(asked, sql`owners.id = ${subscriptions.ownerId}`);
}

function selectMembers(db: Queryable, organizationId: string | Placeholder) {
  return db
    .select({ members: count() })
    .from(memberships)
    .where(and(eq(memberships.organizationId, organizationId), isNull(memberships.deletedAt)));
}
