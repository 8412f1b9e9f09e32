import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, isNull, or, sql } from 'drizzle-orm';
import { type EventVersion, versionColumns, mayWrite } from '../sync/event-version.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
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

@Injectable()
export class SyncedMembershipsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Lists a membership and all others of the same user and organization, tombstones included. */
  async listOfPair({ clerkMembershipId, organizationId, userId }: ClerkMembershipKey, db: Queryable): Promise<Membership[]> {
    const ofPair = and(eq(memberships.organizationId, organizationId), eq(memberships.userId, userId));
    return db
      .select()
      .from(memberships)
      .where(or(ofPair, eq(memberships.clerkMembershipId, clerkMembershipId)));
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

  async insert(membership: typeof memberships.$inferInsert, db: Queryable): Promise<Membership> {
    const [inserted] = await db.insert(memberships).values(membership).returning();
    return inserted!;
  }

  /** Tombstones included: their fields follow the newest event too. */
  async updateIfNewer(
    id: string,
    changes: Partial<typeof memberships.$inferInsert>,
    version: EventVersion,
    db: Queryable,
  ): Promise<Membership | undefined> {
    const [updated] = await db
      .update(memberships)
      .set({ ...changes, ...versionColumns(version) })
      .where(and(eq(memberships.id, id), mayWrite(version, memberships)))
      .returning();
    return updated;
  }

  async end(ids: string[], db: Queryable): Promise<void> {
    if (ids.length === 0) return;
    await db
      .update(memberships)
      .set({ deletedAt: sql`now()` })
      .where(isOneOf(memberships.id, ids));
  }

  async endOfOrganization(organizationId: string, db: Queryable): Promise<void> {
    await db
      .update(memberships)
      .set({ deletedAt: sql`now()` })
      .where(and(eq(memberships.organizationId, organizationId), isNull(memberships.deletedAt)));
  }
}
