import { Inject, Injectable } from '@nestjs/common';
import { and, count, eq, getTableColumns, gt, isNotNull, isNull, or, sql } from 'drizzle-orm';
import {
  type EventVersion,
  isNewer,
  isSame,
  newestFirst,
  VERSION,
  versionColumns,
  versionOfRow,
  versionValues,
} from '../sync/event-version.js';
import { SyncedRows } from '../sync/synced-rows.js';
import { isAMinuteOld } from '../platform/database/columns.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, readRows, rowsOf, sendStatement, statement } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type UserMerge, userMerges } from './user-merges.table.js';
import { type User, users } from './users.table.js';

type NewUser = typeof users.$inferInsert;

const EMAIL = sql.placeholder('claimedEmail');

const LIST_CLAIMANTS = statement(
  queries
    .select()
    .from(users)
    .where(and(isNull(users.deletedAt), or(eq(users.email, EMAIL), eq(users.clerkEmail, EMAIL))))
    .orderBy(sql`${users.clerkEmailVerified} DESC, ${newestFirst(users)}`),
);
const LOCK_LATER_MERGE = statement(
  queries
    .select({ ...getTableColumns(userMerges), suspendedAt: users.suspendedAt })
    .from(userMerges)
    .innerJoin(users, eq(users.id, userMerges.id))
    .where(and(eq(userMerges.email, EMAIL), sql`NOT ${isNewer(VERSION, userMerges)}`))
    .for('update', { of: userMerges }),
);

export interface LaterMerge {
  merge: UserMerge;
  suspendedAt: Date | null;
}

@Injectable()
export class SyncedUsersRepository {
  private readonly rows = new SyncedRows(users, { providerId: users.clerkUserId, claimed: [users.email, users.clerkEmail] });

  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkUserId: string, db: Queryable = this.db): Promise<User | undefined> {
    return this.rows.find(clerkUserId, db);
  }

  /** Finds a user, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(clerkUserId: string, version: EventVersion, db: Queryable): Promise<{ row: User; isNewer: boolean } | undefined> {
    return this.rows.findWithOrder(clerkUserId, version, db);
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
    return this.rows.lock(clerkUserId, db);
  }

  async insert(user: NewUser, db: Queryable): Promise<User | undefined> {
    return this.rows.insert(user, db);
  }

  /** Returns undefined when a newer event has written the row, the user is deleted, or the email is not the given one. */
  async updateIfNewer(
    id: string,
    changes: Partial<NewUser>,
    version: EventVersion,
    db: Queryable,
    { email }: { email?: string | null } = {},
  ): Promise<User | undefined> {
    return this.rows.updateIfNewer(id, changes, { version, claim: email }, db);
  }

  async update(id: string, changes: Partial<NewUser>, db: Queryable): Promise<void> {
    await this.rows.update(id, changes, db);
  }

  /** Returns false when an event has written the row since it was read. */
  async updateIfSame(user: User, changes: Partial<NewUser>, db: Queryable): Promise<boolean> {
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
    return readRows(users, LIST_CLAIMANTS({ claimedEmail: email }), db);
  }

  /** Locks a merge over an address that a newer event decided, with the suspension of the merged user. */
  async lockLaterMerge(email: string, version: EventVersion, db: Queryable): Promise<LaterMerge | undefined> {
    const { rows } = await sendStatement<{ suspended_at: string | null }>(
      LOCK_LATER_MERGE({ claimedEmail: email, ...versionValues(version) }),
      db,
    );
    const [merge] = rowsOf(userMerges, rows);
    const suspendedAt = rows[0]?.suspended_at ?? null;
    return merge && { merge, suspendedAt: suspendedAt === null ? null : new Date(suspendedAt) };
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
