import { Inject, Injectable } from '@nestjs/common';
import { and, count, eq, getTableColumns, gt, isNotNull, isNull, or, type SQL, sql } from 'drizzle-orm';
import {
  type EventVersion,
  isNewer,
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
import { type UserMerge, userMerges } from './user-merges.table.js';
import { type User, users } from './users.table.js';

type NewUser = typeof users.$inferInsert;

const HAS_CLERK_ID = eq(users.clerkUserId, sql.placeholder('clerkUserId'));
const HAS_ID = eq(users.id, sql.placeholder('userId'));
const EMAIL = sql.placeholder('claimedEmail');

const FIND = statement(queries.select().from(users).where(HAS_CLERK_ID));
const FIND_WITH_ORDER = statement(
  queries
    .select({ ...getTableColumns(users), isNewer: mayWrite(VERSION, users).as('is_newer') })
    .from(users)
    .where(HAS_CLERK_ID),
);
const LOCK = statement(queries.select().from(users).where(HAS_CLERK_ID).for('no key update'));
const INSERT = statementByColumns<NewUser>((row) =>
  queries.insert(users).values(row).onConflictDoNothing({ target: users.clerkUserId }).returning(),
);
const UPDATE = statementByColumns<Partial<NewUser>>((changes) => queries.update(users).set(changes).where(HAS_ID));
const updateUserIfNewer = (condition?: SQL) =>
  statementByColumns<Partial<NewUser>>((changes) =>
    queries
      .update(users)
      .set({ ...changes, ...versionColumns(VERSION) })
      .where(and(HAS_ID, isNull(users.deletedAt), mayWrite(VERSION, users), condition))
      .returning(),
  );
const UPDATE_IF_NEWER = updateUserIfNewer();
const UPDATE_IF_NEWER_WITH_EMAIL = updateUserIfNewer(
  sql`(${users.email}, ${users.clerkEmail}) IS NOT DISTINCT FROM (${EMAIL}::text, ${EMAIL}::text)`,
);
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
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkUserId: string, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await readRows(users, FIND({ clerkUserId }), db);
    return user;
  }

  /** Finds a user, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(clerkUserId: string, version: EventVersion, db: Queryable): Promise<{ user: User; isNewer: boolean } | undefined> {
    const { rows } = await sendStatement<{ is_newer: boolean }>(FIND_WITH_ORDER({ clerkUserId, ...versionValues(version) }), db);
    const [user] = rowsOf(users, rows);
    return user && { user, isNewer: rows[0]!.is_newer };
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
    const [user] = await readRows(users, LOCK({ clerkUserId }), db);
    return user;
  }

  async insert(user: NewUser, db: Queryable): Promise<User | undefined> {
    const [inserted] = await readRows(users, INSERT(user), db);
    return inserted;
  }

  /** Returns undefined when a newer event has written the row, the user is deleted, or the email is not the given one. */
  async updateIfNewer(
    id: string,
    changes: Partial<NewUser>,
    version: EventVersion,
    db: Queryable,
    { email }: { email?: string | null } = {},
  ): Promise<User | undefined> {
    const others = { userId: id, ...versionValues(version), claimedEmail: email };
    const update = email === undefined ? UPDATE_IF_NEWER : UPDATE_IF_NEWER_WITH_EMAIL;
    const [updated] = await readRows(users, update(changes, others), db);
    return updated;
  }

  async update(id: string, changes: Partial<NewUser>, db: Queryable): Promise<void> {
    await sendWrite(UPDATE(changes, { userId: id }), db);
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
