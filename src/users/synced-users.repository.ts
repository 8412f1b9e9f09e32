import { Inject, Injectable } from '@nestjs/common';
import { and, count, eq, gt, isNotNull, isNull, or, sql } from 'drizzle-orm';
import { type EventVersion, isNewer, isSame, versionColumns, versionOfRow, mayWrite, newestFirst } from '../sync/event-version.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type UserMerge, userMerges } from './user-merges.table.js';
import { type User, users } from './users.table.js';

@Injectable()
export class SyncedUsersRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkUserId: string, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await db.select().from(users).where(eq(users.clerkUserId, clerkUserId));
    return user;
  }

  /** Finds a user, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(clerkUserId: string, version: EventVersion, db: Queryable): Promise<{ user: User; isNewer: boolean } | undefined> {
    const [seen] = await db
      .select({ user: users, isNewer: sql<boolean>`${mayWrite(version, users)}` })
      .from(users)
      .where(eq(users.clerkUserId, clerkUserId));
    return seen;
  }

  async findAllByClerkId(clerkUserIds: string[], db: Queryable = this.db): Promise<User[]> {
    return db.select().from(users).where(isOneOf(users.clerkUserId, clerkUserIds));
  }

  /** Lists live users by Clerk id, without those of the last minute, which Clerk may not know yet. */
  async listClerkIds({ after, limit }: { after: string; limit: number }, db: Queryable = this.db): Promise<string[]> {
    const rows = await db
      .select({ id: users.clerkUserId })
      .from(users)
      .where(and(gt(users.clerkUserId, after), isNull(users.deletedAt), isAMinuteOld(users)))
      .orderBy(users.clerkUserId)
      .limit(limit);
    return rows.map(({ id }) => id!);
  }

  async countLive(db: Queryable = this.db): Promise<number> {
    const [row] = await db
      .select({ live: count() })
      .from(users)
      .where(and(isNotNull(users.clerkUserId), isNull(users.deletedAt)));
    return row!.live;
  }

  async lockByClerkId(clerkUserId: string, db: Queryable): Promise<User | undefined> {
    const [user] = await db.select().from(users).where(eq(users.clerkUserId, clerkUserId)).for('no key update');
    return user;
  }

  async insert(user: typeof users.$inferInsert, db: Queryable): Promise<User | undefined> {
    const [inserted] = await db.insert(users).values(user).onConflictDoNothing({ target: users.clerkUserId }).returning();
    return inserted;
  }

  /** Returns undefined when a newer event has written the row, the user is deleted, or the email is not the given one. */
  async updateIfNewer(
    id: string,
    changes: Partial<typeof users.$inferInsert>,
    version: EventVersion,
    db: Queryable,
    { email }: { email?: string | null } = {},
  ): Promise<User | undefined> {
    const [updated] = await db
      .update(users)
      .set({ ...changes, ...versionColumns(version) })
      .where(
        and(
          eq(users.id, id),
          isNull(users.deletedAt),
          mayWrite(version, users),
          email === undefined
            ? undefined
            : sql`(${users.email}, ${users.clerkEmail}) IS NOT DISTINCT FROM (${email}::text, ${email}::text)`,
        ),
      )
      .returning();
    return updated;
  }

  async update(id: string, changes: Partial<typeof users.$inferInsert>, db: Queryable): Promise<User> {
    const [updated] = await db.update(users).set(changes).where(eq(users.id, id)).returning();
    return updated!;
  }

  /** Returns false when an event has written the row since it was read. */
  async updateIfSame(user: User, changes: Partial<typeof users.$inferInsert>, db: Queryable): Promise<boolean> {
    const { rowCount } = await db
      .update(users)
      .set(changes)
      .where(and(eq(users.id, user.id), isSame(versionOfRow(user), users)));
    return rowCount === 1;
  }

  async remove(id: string, db: Queryable): Promise<void> {
    await db.delete(users).where(eq(users.id, id));
  }

  /** Lists the users who have or claim an address, the strongest claim first. */
  async listClaimants(email: string, db: Queryable = this.db): Promise<User[]> {
    return db
      .select()
      .from(users)
      .where(and(isNull(users.deletedAt), or(eq(users.email, email), eq(users.clerkEmail, email))))
      .orderBy(sql`${users.clerkEmailVerified} DESC, ${newestFirst(users)}`);
  }

  /** Locks a merge over an address that a newer event decided, with the suspension of the merged user. */
  async lockLaterMerge(
    email: string,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ merge: UserMerge; suspendedAt: Date | null } | undefined> {
    const [later] = await db
      .select({ merge: userMerges, suspendedAt: users.suspendedAt })
      .from(userMerges)
      .innerJoin(users, eq(users.id, userMerges.id))
      .where(and(eq(userMerges.email, email), sql`NOT ${isNewer(version, userMerges)}`))
      .for('update', { of: userMerges });
    return later;
  }

  async insertMerge(merge: typeof userMerges.$inferInsert, db: Queryable): Promise<void> {
    await db.insert(userMerges).values(merge);
  }

  async updateMerge(id: string, intoUserId: string, version: EventVersion, db: Queryable): Promise<void> {
    await db
      .update(userMerges)
      .set({ intoUserId, ...versionColumns(version) })
      .where(eq(userMerges.id, id));
  }
}
