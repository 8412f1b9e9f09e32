import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, isNotNull, isNull, or, sql } from 'drizzle-orm';
import { type EventVersion, isSame, versionColumns, versionOfRow, mayWrite, newestFirst } from '../sync/event-version.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type Organization, organizations } from './organizations.table.js';

@Injectable()
export class SyncedOrganizationsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkOrganizationId: string, db: Queryable = this.db): Promise<Organization | undefined> {
    const [organization] = await db.select().from(organizations).where(eq(organizations.clerkOrganizationId, clerkOrganizationId));
    return organization;
  }

  /** Finds an organization, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(
    clerkOrganizationId: string,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ organization: Organization; isNewer: boolean } | undefined> {
    const [seen] = await db
      .select({ organization: organizations, isNewer: sql<boolean>`${mayWrite(version, organizations)}` })
      .from(organizations)
      .where(eq(organizations.clerkOrganizationId, clerkOrganizationId));
    return seen;
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
    const [organization] = await db
      .select()
      .from(organizations)
      .where(eq(organizations.clerkOrganizationId, clerkOrganizationId))
      .for('no key update');
    return organization;
  }

  /** Blocks the deletion of an organization until the transaction ends, if it is a tombstone or had an event of its own. */
  async lockIfKnown(clerkOrganizationId: string, db: Queryable): Promise<Organization | undefined> {
    const isKnown = or(sql`${organizations.eventAt} > '-infinity'`, isNotNull(organizations.deletedAt));
    const [organization] = await db
      .select()
      .from(organizations)
      .where(and(eq(organizations.clerkOrganizationId, clerkOrganizationId), isKnown))
      .for('share');
    return organization;
  }

  async insert(organization: typeof organizations.$inferInsert, db: Queryable): Promise<Organization | undefined> {
    const [inserted] = await db
      .insert(organizations)
      .values(organization)
      .onConflictDoNothing({ target: organizations.clerkOrganizationId })
      .returning();
    return inserted;
  }

  /** Returns undefined when a newer event has written the row, it is deleted, or the slug is not the given one. */
  async updateIfNewer(
    id: string,
    changes: Partial<typeof organizations.$inferInsert>,
    version: EventVersion,
    db: Queryable,
    { slug }: { slug?: string | null } = {},
  ): Promise<Organization | undefined> {
    const [updated] = await db
      .update(organizations)
      .set({ ...changes, ...versionColumns(version) })
      .where(
        and(
          eq(organizations.id, id),
          isNull(organizations.deletedAt),
          mayWrite(version, organizations),
          slug === undefined
            ? undefined
            : sql`(${organizations.slug}, ${organizations.clerkSlug}) IS NOT DISTINCT FROM (${slug}::text, ${slug}::text)`,
        ),
      )
      .returning();
    return updated;
  }

  async update(id: string, changes: Partial<typeof organizations.$inferInsert>, db: Queryable): Promise<void> {
    await db.update(organizations).set(changes).where(eq(organizations.id, id));
  }

  /** Returns false when an event has written the row since it was read. */
  async updateIfSame(organization: Organization, changes: Partial<typeof organizations.$inferInsert>, db: Queryable): Promise<boolean> {
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
    return db
      .select()
      .from(organizations)
      .where(and(isNull(organizations.deletedAt), or(eq(organizations.slug, slug), eq(organizations.clerkSlug, slug))))
      .orderBy(newestFirst(organizations));
  }
}
