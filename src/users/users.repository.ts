import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, getTableColumns, gte, isNotNull, isNull, lt, ne, type SQL, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf, removeSome } from '../platform/database/statements/lists.js';
import { type Scan, scanOf, MAX_MATCHES, MAX_SCANNED } from '../platform/pagination/searches.js';
import { accounts } from '../accounts/accounts.table.js';
import { verifications } from '../accounts/verifications.table.js';
import { sessions } from '../sessions/sessions.table.js';
import { invitations } from '../invitations/invitations.table.js';
import { memberships } from '../memberships/organization-memberships.table.js';
import { organizations } from '../organizations/organizations.table.js';
import { userMerges } from './user-merges.table.js';
import { type User, userMatches, users } from './users.table.js';

export interface UserFilters {
  email?: string;
  clerkUserId?: string;
  createdFrom?: Date;
  createdBefore?: Date;
}

export interface UserPage {
  limit: number;
  after?: { createdAt: string; id: string };
  /** Only these users. */
  ids?: string[];
}

const NEWEST_FIRST = [desc(users.createdAt), desc(users.id)];

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

  async lock(id: string, db: Queryable): Promise<User | undefined> {
    const [user] = await db
      .select()
      .from(users)
      .where(and(eq(users.id, id), isNull(users.deletedAt)))
      .for('no key update');
    return user;
  }

  async shareOrganization(oneId: string, otherId: string, db: Queryable = this.db): Promise<boolean> {
    const other = alias(memberships, 'other');
    const [shared] = await db
      .select({ id: organizations.id })
      .from(memberships)
      .innerJoin(other, and(eq(other.organizationId, memberships.organizationId), eq(other.userId, otherId), isNull(other.deletedAt)))
      .innerJoin(organizations, and(eq(organizations.id, memberships.organizationId), isNull(organizations.deletedAt)))
      .where(and(eq(memberships.userId, oneId), isNull(memberships.deletedAt)))
      .limit(1);
    return shared !== undefined;
  }

  async findByClerkId(clerkUserId: string, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await db.select().from(users).where(eq(users.clerkUserId, clerkUserId));
    return user;
  }

  async list(filters: UserFilters, page: UserPage, db: Queryable = this.db): Promise<User[]> {
    return db
      .select()
      .from(users)
      .where(isListedUser(filters, page))
      .orderBy(...NEWEST_FIRST)
      .limit(page.limit);
  }

  /** Those of the next `MAX_SCANNED` users that match. @param words for `to_tsquery` */
  async scanNext(words: string, filters: UserFilters, page: UserPage, db: Queryable = this.db): Promise<Scan<User>> {
    const number = sql<number>`row_number() OVER (ORDER BY ${sql.join(NEWEST_FIRST, sql`, `)})`;
    const next = db
      .select({ ...getTableColumns(users), number: number.mapWith(Number).as('number') })
      .from(users)
      .where(isListedUser(filters, page))
      .orderBy(...NEWEST_FIRST)
      .limit(MAX_SCANNED)
      .as('next');
    const matches = userMatches(next, words);
    const rows = await db
      .select({ ...next._.selectedFields, isMatch: sql<boolean>`${matches}` })
      .from(next)
      .where(sql`${matches} OR ${next.number} = ${MAX_SCANNED}`)
      .orderBy(next.number)
      .limit(page.limit);
    return scanOf(rows);
  }

  /** Users with these words in their name, username or email, in no order. @param words for `to_tsquery` */
  async findMatching(words: string, db: Queryable = this.db): Promise<string[]> {
    const { rows } = await db.execute<{ id: string }>(sql`SELECT id FROM matching_users(${words}, ${MAX_MATCHES + 1}) AS found (id)`);
    return rows.map(({ id }) => id);
  }

  async insert(user: typeof users.$inferInsert, db: Queryable = this.db): Promise<User> {
    const [inserted] = await db.insert(users).values(user).returning();
    return inserted!;
  }

  async insertClerkUser(user: { id: string; clerkUserId: string }, db: Queryable = this.db): Promise<boolean> {
    const { rowCount } = await db
      .insert(users)
      .values({ ...user, name: '' })
      .onConflictDoNothing({ target: users.clerkUserId });
    return rowCount === 1;
  }

  async update(id: string, changes: Partial<typeof users.$inferInsert>, db: Queryable = this.db): Promise<User | undefined> {
    const [user] = await db
      .update(users)
      .set({ updatedAt: sql`now()`, ...changes })
      .where(and(eq(users.id, id), isNull(users.deletedAt)))
      .returning();
    return user;
  }

  async listUnverifiedHolders(email: string, exceptId: string, db: Queryable): Promise<string[]> {
    const found = await db.select({ id: users.id }).from(users).where(unverifiedHolder(email, exceptId));
    return found.map(({ id }) => id);
  }

  async releaseUnverifiedEmail(email: string, exceptId: string, db: Queryable): Promise<string[]> {
    const released = await db.update(users).set({ email: null }).where(unverifiedHolder(email, exceptId)).returning({ id: users.id });
    return released.map(({ id }) => id);
  }

  /** Former memberships included. */
  async listOrganizationIds(userId: string, db: Queryable): Promise<string[]> {
    const rows = await db.selectDistinct({ id: memberships.organizationId }).from(memberships).where(eq(memberships.userId, userId));
    return rows.map(({ id }) => id);
  }

  /** Lists, by organization, a user, the people who accepted their invitations, the people these invited, and so on. */
  async listInvitedBy(userId: string, organizationIds: string[], db: Queryable): Promise<{ organizationId: string; userId: string }[]> {
    const { rows } = await db.execute<{ organization_id: string; user_id: string }>(sql`
      WITH RECURSIVE people (organization_id, user_id) AS (
        SELECT organization_id, ${userId}::uuid FROM unnest(${sql.param(organizationIds)}::uuid[]) AS own (organization_id)
        UNION
        SELECT i.organization_id, i.answered_by FROM people p
          JOIN ${invitations} i ON i.organization_id = p.organization_id AND i.invited_by = p.user_id
         WHERE i.status = 'accepted' AND i.answered_by IS NOT NULL AND i.clerk_invitation_id IS NULL
      )
      SELECT organization_id, user_id FROM people ORDER BY organization_id, user_id`);
    return rows.map((row) => ({ organizationId: row.organization_id, userId: row.user_id }));
  }

  async markDeleted(id: string, deletedAt: Date, db: Queryable): Promise<User | undefined> {
    return this.update(id, { deletedAt, email: null, emailVerified: false, emailVerifiedAt: null }, db);
  }

  async lockPurgeable(deletedBefore: Date, limit: number, db: Queryable): Promise<Pick<User, 'id' | 'clerkUserId'>[]> {
    return db
      .select({ id: users.id, clerkUserId: users.clerkUserId })
      .from(users)
      .where(and(isNotNull(users.deletedAt), lt(users.deletedAt, deletedBefore)))
      .orderBy(users.deletedAt)
      .limit(limit)
      .for('update', { skipLocked: true });
  }

  /** Removes sessions, accounts and links in mails, together at most `limit`. Returns how many. */
  async removeSignIns(userIds: string[], limit: number, db: Queryable): Promise<number> {
    let left = limit;
    for (const table of [sessions, accounts, verifications]) left -= await removeSome(table, isOneOf(table.userId, userIds), left, db);
    return limit - left;
  }

  async remove(ids: string[], db: Queryable): Promise<void> {
    // The merge is kept, but not the address.
    await db.update(userMerges).set({ email: '' }).where(isOneOf(userMerges.id, ids));
    await db.delete(users).where(isOneOf(users.id, ids));
  }
}

function isListedUser({ email, clerkUserId, createdFrom, createdBefore }: UserFilters, { after, ids }: UserPage): SQL | undefined {
  return and(
    isNull(users.deletedAt),
    email === undefined ? undefined : eq(users.email, email),
    clerkUserId === undefined ? undefined : eq(users.clerkUserId, clerkUserId),
    createdFrom && gte(users.createdAt, createdFrom),
    createdBefore && lt(users.createdAt, createdBefore),
    ids && isOneOf(users.id, ids),
    after && sql`(${users.createdAt}, ${users.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
  );
}

function unverifiedHolder(email: string, exceptId: string) {
  return and(eq(users.email, email), eq(users.emailVerified, false), ne(users.id, exceptId));
}
