import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, inArray, isNull, sql, type SQL } from 'drizzle-orm';
import { type EventKey, keyColumns, mayWrite } from '../common/event-key.js';
import { isAMinuteOld } from '../database/columns.js';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { users } from '../users/users.table.js';
import { type Membership, memberships } from './organization-memberships.table.js';

export interface Pair {
  organizationId: string;
  userId: string;
}

/** One membership among several of the same pair: people leave and come back. */
export interface Place extends Pair {
  clerkMembershipId: string;
  createdAt: Date;
}

/** A membership, and whose it is, by Clerk's ids. */
export interface ClerkMember {
  clerkMembershipId: string;
  clerkUserId: string;
}

/** Statements about memberships that a provider owns. */
@Injectable()
export class SyncedMembershipsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Tombstones included. */
  async findByClerkId(clerkMembershipId: string, db: Queryable = this.db): Promise<Membership | undefined> {
    const [membership] = await db.select().from(memberships).where(eq(memberships.clerkMembershipId, clerkMembershipId));
    return membership;
  }

  /** Tombstones included. */
  async findAllByClerkId(clerkMembershipIds: string[], db: Queryable = this.db): Promise<Membership[]> {
    return db.select().from(memberships).where(inArray(memberships.clerkMembershipId, clerkMembershipIds));
  }

  /** Ids of the living of an organization, in their own order, of which Clerk has had time to know. */
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

  /** Of the dead, too: what they were follows the newest event. */
  async updateIfNewer(
    id: string,
    changes: Partial<typeof memberships.$inferInsert>,
    key: EventKey,
    db: Queryable,
  ): Promise<Membership | undefined> {
    const [updated] = await db
      .update(memberships)
      .set({ ...changes, ...keyColumns(key) })
      .where(and(eq(memberships.id, id), mayWrite(key, memberships)))
      .returning();
    return updated;
  }

  async end(which: { id: string } | { organizationId: string } | { olderThan: Place }, db: Queryable): Promise<void> {
    let condition: SQL | undefined;
    if ('id' in which) condition = eq(memberships.id, which.id);
    else if ('organizationId' in which) condition = eq(memberships.organizationId, which.organizationId);
    else condition = and(ofPair(which.olderThan), sql`${place} < (${which.olderThan.createdAt}, ${which.olderThan.clerkMembershipId})`);
    await db
      .update(memberships)
      .set({ deletedAt: new Date() })
      .where(and(condition, isNull(memberships.deletedAt)));
  }

  /** Whether the same person has joined the same organization again since, whatever became of that. */
  async hasLater(than: Place, db: Queryable): Promise<boolean> {
    const [later] = await db
      .select({ id: memberships.id })
      .from(memberships)
      .where(and(ofPair(than), sql`${place} > (${than.createdAt}, ${than.clerkMembershipId})`))
      .limit(1);
    return later !== undefined;
  }
}

const place = sql`(${memberships.createdAt}, ${memberships.clerkMembershipId})`;

function ofPair({ organizationId, userId }: Pair): SQL | undefined {
  return and(eq(memberships.organizationId, organizationId), eq(memberships.userId, userId));
}
