import { Inject, Injectable } from '@nestjs/common';
import { and, eq, isNull, sql, type SQL } from 'drizzle-orm';
import { type EventKey, isNewer, keyColumns } from '../common/event-key.js';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { type Membership, memberships } from './organization-memberships.table.js';

/** One membership among several of the same person in the same organization: people leave and come back. */
export interface Place {
  organizationId: string;
  userId: string;
  clerkMembershipId: string;
  createdAt: Date;
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
      .where(and(eq(memberships.id, id), isNewer(key, memberships)))
      .returning();
    return updated;
  }

  async end(which: { id: string } | { organizationId: string } | { olderThan: Place }, db: Queryable): Promise<void> {
    let condition: SQL | undefined;
    if ('id' in which) condition = eq(memberships.id, which.id);
    else if ('organizationId' in which) condition = eq(memberships.organizationId, which.organizationId);
    else
      condition = and(othersOfPair(which.olderThan), sql`${place} < (${which.olderThan.createdAt}, ${which.olderThan.clerkMembershipId})`);
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
      .where(and(othersOfPair(than), sql`${place} > (${than.createdAt}, ${than.clerkMembershipId})`))
      .limit(1);
    return later !== undefined;
  }
}

const place = sql`(${memberships.createdAt}, ${memberships.clerkMembershipId})`;

/** Itself aside: when it was created may be missing in one event and told in the next. */
function othersOfPair({ organizationId, userId, clerkMembershipId }: Place): SQL | undefined {
  const isOther = sql`${memberships.clerkMembershipId} IS DISTINCT FROM ${clerkMembershipId}`;
  return and(eq(memberships.organizationId, organizationId), eq(memberships.userId, userId), isOther);
}
