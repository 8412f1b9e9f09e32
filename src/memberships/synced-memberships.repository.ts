import { Injectable } from '@nestjs/common';
import { and, eq, inArray, isNull, or } from 'drizzle-orm';
import { type EventKey, isNewer, keyColumns } from '../common/event-key.js';
import type { Queryable } from '../database/database.js';
import { type Membership, memberships } from './organization-memberships.table.js';

/** One membership among several of the same pair: people leave and come back. */
export interface Place {
  clerkMembershipId: string;
  organizationId: string;
  userId: string;
}

/** Statements about memberships that a provider owns. */
@Injectable()
export class SyncedMembershipsRepository {
  /** This one and every other of the same pair, tombstones included. */
  async listOfPair({ clerkMembershipId, organizationId, userId }: Place, db: Queryable): Promise<Membership[]> {
    const ofPair = and(eq(memberships.organizationId, organizationId), eq(memberships.userId, userId));
    return db
      .select()
      .from(memberships)
      .where(or(ofPair, eq(memberships.clerkMembershipId, clerkMembershipId)));
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

  async end(ids: string[], db: Queryable): Promise<void> {
    if (ids.length === 0) return;
    await db.update(memberships).set({ deletedAt: new Date() }).where(inArray(memberships.id, ids));
  }

  async endOfOrganization(organizationId: string, db: Queryable): Promise<void> {
    await db
      .update(memberships)
      .set({ deletedAt: new Date() })
      .where(and(eq(memberships.organizationId, organizationId), isNull(memberships.deletedAt)));
  }
}
