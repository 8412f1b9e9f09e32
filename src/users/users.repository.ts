import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gte, inArray, isNotNull, isNull, lt, ne, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { purgedIds } from './purged-ids.table.js';
import { type User, users, userSearchText } from './users.table.js';

export interface UserFilters {
  email?: string;
  clerkUserId?: string;
  createdFrom?: Date;
  createdBefore?: Date;
  /** Words, or beginnings of words, of name, username and email. */
  search?: string;
}

@Injectable()
export class UsersRepository {
  private readonly byId;

  constructor(@Inject(DATABASE) private readonly db: Database) {
    this.byId = db
      .select()
      .from(users)
      .where(and(eq(users.id, sql.placeholder('id')), isNull(users.deletedAt)))
      .prepare('users_by_id');
  }

  async findById(id: string): Promise<User | undefined> {
    const [user] = await this.byId.execute({ id });
    return user;
  }

  async findByEmail(email: string, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await db.select().from(users).where(eq(users.email, email));
    return user;
  }

  /** Tombstones included: a dead Clerk id must be recognised. */
  async findByClerkId(clerkUserId: string, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await db.select().from(users).where(eq(users.clerkUserId, clerkUserId));
    return user;
  }

  async list(
    filters: UserFilters,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
    db: Queryable = this.db,
  ): Promise<User[]> {
    const { email, clerkUserId, createdFrom, createdBefore, search } = filters;
    return db
      .select()
      .from(users)
      .where(
        and(
          isNull(users.deletedAt),
          email === undefined ? undefined : eq(users.email, email),
          clerkUserId === undefined ? undefined : eq(users.clerkUserId, clerkUserId),
          createdFrom && gte(users.createdAt, createdFrom),
          createdBefore && lt(users.createdAt, createdBefore),
          search === undefined ? undefined : matches(search),
          after && sql`(${users.createdAt}, ${users.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
        ),
      )
      .orderBy(desc(users.createdAt), desc(users.id))
      .limit(limit);
  }

  async insert(user: typeof users.$inferInsert, db: Queryable = this.db): Promise<User> {
    const [inserted] = await db.insert(users).values(user).returning();
    return inserted!;
  }

  async insertClerkUser(user: { id: string; clerkUserId: string }, db: Queryable = this.db): Promise<void> {
    await db
      .insert(users)
      .values({ ...user, name: '' })
      .onConflictDoNothing({ target: users.clerkUserId });
  }

  async update(id: string, changes: Partial<typeof users.$inferInsert>, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await db
      .update(users)
      .set(changes)
      .where(and(eq(users.id, id), isNull(users.deletedAt)))
      .returning();
    return user;
  }

  /** Takes an address from rows that never proved it; answers whose they are. */
  async releaseUnprovedEmail(email: string, exceptId: string, db: Queryable): Promise<string[]> {
    const released = await db
      .update(users)
      .set({ email: null })
      .where(and(eq(users.email, email), eq(users.emailVerified, false), ne(users.id, exceptId)))
      .returning({ id: users.id });
    return released.map(({ id }) => id);
  }

  async markDeleted(id: string, db: Queryable): Promise<User | undefined> {
    return this.update(id, { deletedAt: new Date(), email: null, emailVerified: false, emailVerifiedAt: null }, db);
  }

  /** Removes tombstones for good and keeps their provider ids; answers how many. */
  async purge(deletedBefore: Date, limit: number, db: Queryable): Promise<number> {
    const dead = await db
      .select({ id: users.id, clerkUserId: users.clerkUserId })
      .from(users)
      .where(and(isNotNull(users.deletedAt), lt(users.deletedAt, deletedBefore)))
      .orderBy(users.deletedAt)
      .limit(limit)
      .for('update', { skipLocked: true });
    if (dead.length === 0) return 0;
    const known = dead.flatMap(({ clerkUserId }) =>
      clerkUserId === null ? [] : [{ provider: 'clerk', kind: 'user', externalId: clerkUserId }],
    );
    if (known.length > 0) await db.insert(purgedIds).values(known).onConflictDoNothing();
    await db.delete(users).where(
      inArray(
        users.id,
        dead.map(({ id }) => id),
      ),
    );
    return dead.length;
  }

  async wasPurged(clerkUserId: string, db: Queryable = this.db): Promise<boolean> {
    const [row] = await db
      .select({ externalId: purgedIds.externalId })
      .from(purgedIds)
      .where(and(eq(purgedIds.provider, 'clerk'), eq(purgedIds.kind, 'user'), eq(purgedIds.externalId, clerkUserId)));
    return row !== undefined;
  }
}

/** Every word must begin a word of the text; what is not a letter or digit separates words. */
function matches(search: string) {
  const words = search.match(/[\p{L}\p{N}]+/gu) ?? [];
  // Nothing to look for finds nothing, rather than everything.
  return words.length === 0
    ? sql`false`
    : sql`${userSearchText(users)} @@ to_tsquery('simple', ${words.map((word) => `${word}:*`).join(' & ')})`;
}
