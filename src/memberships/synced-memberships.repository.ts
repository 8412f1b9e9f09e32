import { Inject, Injectable } from '@nestjs/common';
import { and, eq, getTableColumns, gt, isNull, or, sql } from 'drizzle-orm';
import { type EventVersion, mayWrite, VERSION, versionColumns, versionValues } from '../sync/event-version.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, rowsOf, sendStatement, sendWrite, statement, statementByColumns } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { users } from '../users/users.table.js';
import { type Membership, memberships } from './organization-memberships.table.js';

export interface ClerkMembershipKey {
  clerkMembershipId: string;
  organizationId: string;
  userId: string;
}

export interface ClerkMember {
  clerkMembershipId: string;
  clerkUserId: string;
}

type NewMembership = typeof memberships.$inferInsert;

const LIST_OF_PAIR = statement(
  queries
    .select({ ...getTableColumns(memberships), isNewer: mayWrite(VERSION, memberships).as('is_newer') })
    .from(memberships)
    .where(
      or(
        and(eq(memberships.organizationId, sql.placeholder('organizationId')), eq(memberships.userId, sql.placeholder('userId'))),
        eq(memberships.clerkMembershipId, sql.placeholder('clerkMembershipId')),
      ),
    ),
);
const INSERT = statementByColumns<NewMembership>((row) => queries.insert(memberships).values(row));
const UPDATE_IF_NEWER = statementByColumns<Partial<NewMembership>>((changes) =>
  queries
    .update(memberships)
    .set({ ...changes, ...versionColumns(VERSION) })
    .where(and(eq(memberships.id, sql.placeholder('membershipId')), mayWrite(VERSION, memberships))),
);
const END = statement(
  queries
    .update(memberships)
    .set({ deletedAt: sql`now()` })
    .where(sql`${memberships.id} = ANY (${sql.placeholder('ids')}::uuid[])`),
);

@Injectable()
export class SyncedMembershipsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /**
   * Lists a membership and all others of the same user and organization, tombstones included, and whether an event with
   * this version is newer.
   */
  async listOfPair(
    { clerkMembershipId, organizationId, userId }: ClerkMembershipKey,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ row: Membership; isNewer: boolean }[]> {
    const { rows } = await sendStatement<{ is_newer: boolean }>(
      LIST_OF_PAIR({ clerkMembershipId, organizationId, userId, ...versionValues(version) }),
      db,
    );
    return rowsOf(memberships, rows).map((row, index) => ({ row, isNewer: rows[index]!.is_newer }));
  }

  /** Tombstones included. */
  async findAllByClerkId(clerkMembershipIds: string[], db: Queryable = this.db): Promise<Membership[]> {
    return db.select().from(memberships).where(isOneOf(memberships.clerkMembershipId, clerkMembershipIds));
  }

  /** Lists live memberships by Clerk id, without those of the last minute, which Clerk may not know yet. */
  async listClerkIds(
    organizationId: string,
    { after, limit }: { after: string; limit: number },
    db: Queryable = this.db,
  ): Promise<ClerkMember[]> {
    const rows = await db
      .select({ clerkMembershipId: memberships.clerkMembershipId, clerkUserId: users.clerkUserId })
      .from(memberships)
      .innerJoin(users, eq(users.id, memberships.userId))
      .where(
        and(
          eq(memberships.organizationId, organizationId),
          gt(memberships.clerkMembershipId, after),
          gt(users.clerkUserId, ''),
          isNull(memberships.deletedAt),
          isAMinuteOld(memberships),
        ),
      )
      .orderBy(memberships.clerkMembershipId)
      .limit(limit);
    return rows as ClerkMember[];
  }

  async insert(membership: NewMembership, db: Queryable): Promise<void> {
    await sendWrite(INSERT(membership), db);
  }

  /** Tombstones included: their fields follow the newest event too. */
  async updateIfNewer(id: string, changes: Partial<NewMembership>, version: EventVersion, db: Queryable): Promise<void> {
    await sendWrite(UPDATE_IF_NEWER(changes, { membershipId: id, ...versionValues(version) }), db);
  }

  async end(ids: string[], db: Queryable): Promise<void> {
    if (ids.length > 0) await sendWrite(END({ ids }), db);
  }

  /** Ends at most `limit` of them. Returns how many. */
  async endOfOrganization(organizationId: string, limit: number, db: Queryable): Promise<number> {
    const some = db
      .select({ id: memberships.id })
      .from(memberships)
      .where(and(eq(memberships.organizationId, organizationId), isNull(memberships.deletedAt)))
      .limit(limit);
    const { rowCount } = await db
      .update(memberships)
      .set({ deletedAt: sql`now()` })
      .where(sql`${memberships.id} IN (${some})`);
    return rowCount ?? 0;
  }
}
