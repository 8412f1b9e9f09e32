import { Inject, Injectable } from '@nestjs/common';
import { eq, type Placeholder, sql } from 'drizzle-orm';
import { organizations } from '../../organizations/organizations.table.js';
import type { Owner } from '../../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { newestFirst } from '../../sync/event-version.js';
import { userMerges } from '../../users/user-merges.table.js';
import { ownedBy } from '../customers/owned-by.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';
import type { BillingPeriod } from '../sync/billing-provider.port.js';
import { subscriptionPeriods } from '../sync/subscription-periods.table.js';
import { subscriptionProducts } from '../sync/subscription-products.table.js';

/** The reads behind every check of an entitlement: prepared, since they run with most requests. */
@Injectable()
export class EntitlementsRepository {
  private readonly byOwner;
  private readonly byOwners;
  private readonly byOrganization;

  constructor(@Inject(DATABASE) private readonly db: Database) {
    this.byOwner = selectByOwner(db, sql.placeholder('ownerId')).prepare('subscriptions_of_owner');
    this.byOwners = selectByOwners(db, sql.placeholder('ids'), sql.placeholder('periodsFrom')).prepare('subscriptions_of_owners');
    this.byOrganization = selectByOrganization(db, sql.placeholder('organizationId')).prepare('subscriptions_of_organization');
  }

  async listByOwner({ id }: Owner, db?: Queryable): Promise<Subscription[]> {
    return db === undefined ? this.byOwner.execute({ ownerId: id }) : selectByOwner(db, id);
  }

  /**
   * Subscriptions with the owner that was requested (the row may belong to a user who was merged into that owner) and
   * with the billing periods from the one that contains `periodsFrom`.
   */
  async listByOwners(ids: string[], periodsFrom: Date): Promise<{ requestedId: string; row: Subscription; periods: BillingPeriod[] }[]> {
    const rows = await this.byOwners.execute({ ids, periodsFrom: periodsFrom.toISOString() });
    return rows.map(({ periods, ...one }) => ({
      ...one,
      periods: periods.map(([start, end]) => ({ start: new Date(start), end: new Date(end) })),
    }));
  }

  async listProducts(subscriptionId: string, db: Queryable = this.db): Promise<string[]> {
    const rows = await db
      .select({ productId: subscriptionProducts.productId })
      .from(subscriptionProducts)
      .where(eq(subscriptionProducts.subscriptionId, subscriptionId))
      .orderBy(newestFirst(subscriptionProducts));
    return rows.map(({ productId }) => productId);
  }

  /** Reads the subscriptions of an organization and its number of members in one statement. */
  async readOrganization(organizationId: string, db?: Queryable): Promise<{ rows: Subscription[]; members: number }> {
    const found = await (db === undefined ? this.byOrganization.execute({ organizationId }) : selectByOrganization(db, organizationId));
    return { rows: found.flatMap(({ row }) => row ?? []), members: found[0]?.members ?? 0 };
  }
}

function selectByOwner(db: Queryable, ownerId: string | Placeholder) {
  return db.select().from(subscriptions).where(ownedBy(ownerId, subscriptions.ownerId));
}

function selectByOwners(db: Queryable, ids: Placeholder, periodsFrom: Placeholder) {
  const requested = sql`(SELECT id AS requested_id, id FROM unnest(${ids}::uuid[]) AS requested (id)
    UNION ALL SELECT ${userMerges.intoUserId}, ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = ANY (${ids}::uuid[])) AS owners`;
  // Every name is written with its table: Drizzle leaves it out of a statement about one table.
  const millis = (column: string) => sql.raw(`(extract(epoch FROM p.${column}) * 1000)::bigint`);
  const first = sql`SELECT max(q.starts_at) FROM ${subscriptionPeriods} AS q
    WHERE q.subscription_id = subscriptions.id AND q.starts_at <= ${periodsFrom}::timestamptz`;
  const periods = sql`SELECT coalesce(json_agg(json_build_array(${millis('starts_at')}, ${millis('ends_at')})), '[]') FROM ${subscriptionPeriods} AS p
    WHERE p.subscription_id = subscriptions.id AND p.starts_at >= coalesce((${first}), '-infinity')`;
  return db
    .select({ requestedId: sql<string>`owners.requested_id`, row: subscriptions, periods: sql<[number, number][]>`(${periods})` })
    .from(subscriptions)
    .innerJoin(requested, sql`owners.id = ${subscriptions.ownerId}`);
}

function selectByOrganization(db: Queryable, organizationId: string | Placeholder) {
  return db
    .select({ members: organizations.memberCount, row: subscriptions })
    .from(organizations)
    .leftJoin(subscriptions, eq(subscriptions.ownerId, organizations.id))
    .where(eq(organizations.id, organizationId));
}
