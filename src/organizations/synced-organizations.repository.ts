import { Inject, Injectable } from '@nestjs/common';
import { and, eq, getTableColumns, gt, isNotNull, isNull, or, type SQL, sql } from 'drizzle-orm';
import {
  type EventVersion,
  isSame,
  mayWrite,
  newestFirst,
  VERSION,
  versionColumns,
  versionOfRow,
  versionValues,
} from '../sync/event-version.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, readRows, rowsOf, sendStatement, sendWrite, statement, statementByColumns } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type Organization, organizations } from './organizations.table.js';

type NewOrganization = typeof organizations.$inferInsert;

const HAS_CLERK_ID = eq(organizations.clerkOrganizationId, sql.placeholder('clerkOrganizationId'));
const HAS_ID = eq(organizations.id, sql.placeholder('organizationId'));
const SLUG = sql.placeholder('claimedSlug');

const FIND = statement(queries.select().from(organizations).where(HAS_CLERK_ID));
const FIND_WITH_ORDER = statement(
  queries
    .select({ ...getTableColumns(organizations), isNewer: mayWrite(VERSION, organizations).as('is_newer') })
    .from(organizations)
    .where(HAS_CLERK_ID),
);
const LOCK = statement(queries.select().from(organizations).where(HAS_CLERK_ID).for('no key update'));
const IS_KNOWN = or(sql`${organizations.eventAt} > '-infinity'`, isNotNull(organizations.deletedAt));
const LOCK_IF_KNOWN = statement(queries.select().from(organizations).where(and(HAS_CLERK_ID, IS_KNOWN)).for('no key update'));
const INSERT = statementByColumns<NewOrganization>((row) =>
  queries.insert(organizations).values(row).onConflictDoNothing({ target: organizations.clerkOrganizationId }).returning(),
);
const UPDATE = statementByColumns<Partial<NewOrganization>>((changes) => queries.update(organizations).set(changes).where(HAS_ID));
const updateOrganizationIfNewer = (condition?: SQL) =>
  statementByColumns<Partial<NewOrganization>>((changes) =>
    queries
      .update(organizations)
      .set({ ...changes, ...versionColumns(VERSION) })
      .where(and(HAS_ID, isNull(organizations.deletedAt), mayWrite(VERSION, organizations), condition))
      .returning(),
  );
const UPDATE_IF_NEWER = updateOrganizationIfNewer();
const UPDATE_IF_NEWER_WITH_SLUG = updateOrganizationIfNewer(
  sql`(${organizations.slug}, ${organizations.clerkSlug}) IS NOT DISTINCT FROM (${SLUG}::text, ${SLUG}::text)`,
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
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkOrganizationId: string, db: Queryable = this.db): Promise<Organization | undefined> {
    const [organization] = await readRows(organizations, FIND({ clerkOrganizationId }), db);
    return organization;
  }

  /** Finds an organization, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(
    clerkOrganizationId: string,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ organization: Organization; isNewer: boolean } | undefined> {
    const { rows } = await sendStatement<{ is_newer: boolean }>(FIND_WITH_ORDER({ clerkOrganizationId, ...versionValues(version) }), db);
    const [organization] = rowsOf(organizations, rows);
    return organization && { organization, isNewer: rows[0]!.is_newer };
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
    const [organization] = await readRows(organizations, LOCK({ clerkOrganizationId }), db);
    return organization;
  }

  /** Blocks the deletion of an organization and changes of its member count, if it is a tombstone or had an event of its own. */
  async lockIfKnown(clerkOrganizationId: string, db: Queryable): Promise<Organization | undefined> {
    const [organization] = await readRows(organizations, LOCK_IF_KNOWN({ clerkOrganizationId }), db);
    return organization;
  }

  async insert(organization: NewOrganization, db: Queryable): Promise<Organization | undefined> {
    const [inserted] = await readRows(organizations, INSERT(organization), db);
    return inserted;
  }

  /** Returns undefined when a newer event has written the row, it is deleted, or the slug is not the given one. */
  async updateIfNewer(
    id: string,
    changes: Partial<NewOrganization>,
    version: EventVersion,
    db: Queryable,
    { slug }: { slug?: string | null } = {},
  ): Promise<Organization | undefined> {
    const others = { organizationId: id, ...versionValues(version), claimedSlug: slug };
    const update = slug === undefined ? UPDATE_IF_NEWER : UPDATE_IF_NEWER_WITH_SLUG;
    const [updated] = await readRows(organizations, update(changes, others), db);
    return updated;
  }

  async update(id: string, changes: Partial<NewOrganization>, db: Queryable): Promise<void> {
    await sendWrite(UPDATE(changes, { organizationId: id }), db);
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
