import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, isNotNull, isNull, or, sql } from 'drizzle-orm';
import { type EventVersion, isSame, newestFirst, versionOfRow } from '../sync/event-version.js';
import { SyncedRows } from '../sync/synced-rows.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, readRows, statement } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type Organization, organizations } from './organizations.table.js';

type NewOrganization = typeof organizations.$inferInsert;

const SLUG = sql.placeholder('claimedSlug');

const IS_KNOWN = or(sql`${organizations.eventAt} > '-infinity'`, isNotNull(organizations.deletedAt));
const LOCK_IF_KNOWN = statement(
  queries
    .select()
    .from(organizations)
    .where(and(eq(organizations.clerkOrganizationId, sql.placeholder('clerkOrganizationId')), IS_KNOWN))
    .for('no key update'),
);
const LIST_CLAIMANTS = statement(
  queries
    .select()
    .from(organizations)
    .where(and(isNull(organizations.deletedAt), or(eq(organizations.slug, SLUG), eq(organizations.clerkSlug, SLUG))))
    .orderBy(newestFirst(organizations)),
);

@Injectable()
export class SyncedOrganizationsRepository {
  private readonly rows = new SyncedRows(organizations, {
    providerId: organizations.clerkOrganizationId,
    claimed: [organizations.slug, organizations.clerkSlug],
  });

  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkOrganizationId: string, db: Queryable = this.db): Promise<Organization | undefined> {
    return this.rows.find(clerkOrganizationId, db);
  }

  /** Finds an organization, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(
    clerkOrganizationId: string,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ row: Organization; isNewer: boolean } | undefined> {
    return this.rows.findWithOrder(clerkOrganizationId, version, db);
  }

  async findAllByClerkId(clerkOrganizationIds: string[], db: Queryable = this.db): Promise<Organization[]> {
    return db.select().from(organizations).where(isOneOf(organizations.clerkOrganizationId, clerkOrganizationIds));
  }

  /** Lists live organizations by Clerk id, without those of the last minute, which Clerk may not know yet. */
  async listClerkIds({ after, limit }: { after: string; limit: number }, db: Queryable = this.db): Promise<string[]> {
    const rows = await db
      .select({ id: organizations.clerkOrganizationId })
      .from(organizations)
      .where(and(gt(organizations.clerkOrganizationId, after), isNull(organizations.deletedAt), isAMinuteOld(organizations)))
      .orderBy(organizations.clerkOrganizationId)
      .limit(limit);
    return rows.map(({ id }) => id!);
  }

  async lockByClerkId(clerkOrganizationId: string, db: Queryable): Promise<Organization | undefined> {
    return this.rows.lock(clerkOrganizationId, db);
  }

  /** Blocks the deletion of an organization and changes of its member count, if it is a tombstone or had an event of its own. */
  async lockIfKnown(clerkOrganizationId: string, db: Queryable): Promise<Organization | undefined> {
    const [organization] = await readRows(organizations, LOCK_IF_KNOWN({ clerkOrganizationId }), db);
    return organization;
  }

  async insert(organization: NewOrganization, db: Queryable): Promise<Organization | undefined> {
    return this.rows.insert(organization, db);
  }

  /** Returns undefined when a newer event has written the row, it is deleted, or the slug is not the given one. */
  async updateIfNewer(
    id: string,
    changes: Partial<NewOrganization>,
    version: EventVersion,
    db: Queryable,
    { slug }: { slug?: string | null } = {},
  ): Promise<Organization | undefined> {
    return this.rows.updateIfNewer(id, changes, { version, claim: slug }, db);
  }

  async update(id: string, changes: Partial<NewOrganization>, db: Queryable): Promise<void> {
    await this.rows.update(id, changes, db);
  }

  /** Returns false when an event has written the row since it was read. */
  async updateIfSame(organization: Organization, changes: Partial<NewOrganization>, db: Queryable): Promise<boolean> {
    const { rowCount } = await db
      .update(organizations)
      .set(changes)
      .where(and(eq(organizations.id, organization.id), isSame(versionOfRow(organization), organizations)));
    return rowCount === 1;
  }

  async remove(id: string, db: Queryable): Promise<void> {
    await db.delete(organizations).where(eq(organizations.id, id));
  }

  /** Lists the organizations that have or claim a slug, the newest claim first. */
  async listClaimants(slug: string, db: Queryable = this.db): Promise<Organization[]> {
    return readRows(organizations, LIST_CLAIMANTS({ claimedSlug: slug }), db);
  }
}
