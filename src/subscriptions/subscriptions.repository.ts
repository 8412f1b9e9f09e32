import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gt, isNotNull, isNull, ne, type SQL, sql } from 'drizzle-orm';
import { organizations } from '../organizations/organizations.table.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, readRows, sendWrite, statement, statementByColumns } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import type { Provider } from './customers/billing-customers.table.js';
import { ownedBy } from './customers/owned-by.js';
import type { PaymentState } from './payments/payments.table.js';
import { hasPaymentInState } from './payments/payments.repository.js';
import { type Subscription, type SubscriptionStatus, subscriptions } from './subscriptions.table.js';

export interface SubscriptionFilters {
  ownerId?: string;
  provider?: Provider;
  status?: SubscriptionStatus;
  owned?: boolean;
  paymentStatus?: PaymentState;
}

type NewSubscription = typeof subscriptions.$inferInsert;

const HAS_ID = eq(subscriptions.id, sql.placeholder('subscriptionId'));
const LOCK = statement(queries.select().from(subscriptions).where(HAS_ID).for('no key update'));
const INSERT = statementByColumns<NewSubscription>((row) => queries.insert(subscriptions).values(row).returning());
const WRITE = statementByColumns<Partial<NewSubscription>>((changes) => queries.update(subscriptions).set(changes).where(HAS_ID));
const INSERT_ROW = statementByColumns<NewSubscription>((row) => queries.insert(subscriptions).values(row));
const UPDATE = statementByColumns<Partial<NewSubscription>>((changes) =>
  queries.update(subscriptions).set(changes).where(HAS_ID).returning(),
);

@Injectable()
export class SubscriptionsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

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
    const [row] = await readRows(subscriptions, LOCK({ subscriptionId: id }), db);
    return row;
  }

  async find(id: string, db: Queryable = this.db): Promise<Subscription | undefined> {
    const [row] = await db.select().from(subscriptions).where(eq(subscriptions.id, id));
    return row;
  }

  async insert(row: NewSubscription, db: Queryable): Promise<Subscription> {
    const [inserted] = await readRows(subscriptions, INSERT(row), db);
    return inserted!;
  }

  async insertRow(row: Subscription, db: Queryable): Promise<void> {
    await sendWrite(INSERT_ROW(row), db);
  }

  async write(id: string, changes: Partial<NewSubscription>, db: Queryable): Promise<void> {
    await sendWrite(WRITE(changes, { subscriptionId: id }), db);
  }

  async update(id: string, changes: Partial<NewSubscription>, db: Queryable): Promise<Subscription> {
    const [updated] = await readRows(subscriptions, UPDATE(changes, { subscriptionId: id }), db);
    return updated!;
  }

  /** Counts the live subscriptions without an owner, and those with a product in no plan. Reads one index entry for each known product. */
  async countAnomalies(knownProducts: string[]): Promise<{ ownerless: number; unknownProduct: number }> {
    const live = sql`FROM ${subscriptions} WHERE status IN ('trialing', 'active', 'past_due')`;
    const ofProviders = sql`${live} AND provider <> 'manual'`;
    const { rows } = await this.db.execute<{ ownerless: number; unknown_product: number }>(sql`
      WITH RECURSIVE products (id) AS (
        SELECT min(product_id) ${ofProviders}
        UNION ALL SELECT (SELECT min(product_id) ${ofProviders} AND product_id > products.id) FROM products WHERE id IS NOT NULL
      )
      SELECT (SELECT count(*) ${live} AND owner_id IS NULL)::int AS ownerless,
             (SELECT count(*) ${ofProviders} AND product_id IS NULL)::int
             + (SELECT coalesce(sum((SELECT count(*) ${ofProviders} AND product_id = products.id)), 0)
                  FROM products WHERE id <> ALL (${sql.param(knownProducts)}::text[]))::int AS unknown_product`);
    return { ownerless: rows[0]!.ownerless, unknownProduct: rows[0]!.unknown_product };
  }

  /** Subscriptions to these per-seat products whose number of seats differs from the number of members. */
  async listSeatMismatches(
    provider: Provider,
    products: string[],
    { after, limit }: { after?: string; limit: number },
  ): Promise<{ id: string; providerSubscriptionId: string; members: number }[]> {
    if (products.length === 0) return [];
    const rows = await this.db
      .select({ id: subscriptions.id, providerSubscriptionId: subscriptions.providerSubscriptionId, members: organizations.memberCount })
      .from(subscriptions)
      .innerJoin(organizations, eq(organizations.id, subscriptions.ownerId))
      .where(
        and(
          isOneOf(subscriptions.status, ['trialing', 'active']),
          eq(subscriptions.cancelAtPeriodEnd, false),
          isNull(subscriptions.endRequestedAt),
          eq(subscriptions.provider, provider),
          isOneOf(subscriptions.productId, products),
          gt(organizations.memberCount, 0),
          ne(organizations.memberCount, subscriptions.seats),
          after === undefined ? undefined : gt(subscriptions.id, after),
        ),
      )
      .orderBy(subscriptions.id)
      .limit(limit);
    return rows.map((row) => ({ ...row, providerSubscriptionId: row.providerSubscriptionId! }));
  }
}
