import { Inject, Injectable } from '@nestjs/common';
import { and, asc, eq, gt, isNotNull, lt, not, or, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type Account, accounts } from './accounts.table.js';
import { verifications } from './verifications.table.js';

const TOKENS = ['accessToken', 'refreshToken', 'idToken'] as const;

export type AccountTokens = Pick<Account, 'id' | (typeof TOKENS)[number]>;

@Injectable()
export class AccountsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async listOfUser(userId: string, db: Queryable = this.db): Promise<Account[]> {
    return db.select().from(accounts).where(eq(accounts.userId, userId)).orderBy(asc(accounts.createdAt), asc(accounts.id));
  }

  async lockOfUser(userId: string, db: Queryable): Promise<Account[]> {
    return db.select().from(accounts).where(eq(accounts.userId, userId)).for('update');
  }

  async insert(account: typeof accounts.$inferInsert, db: Queryable = this.db): Promise<void> {
    await db.insert(accounts).values(account);
  }

  async delete(userId: string, accountId: string, db: Queryable = this.db): Promise<void> {
    await db.delete(accounts).where(and(eq(accounts.userId, userId), eq(accounts.id, accountId)));
  }

  async deleteOfUsers(userIds: string[], db: Queryable = this.db): Promise<void> {
    await db.delete(accounts).where(isOneOf(accounts.userId, userIds));
  }

  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    const moved = await db
      .update(accounts)
      .set({ userId: toUserId })
      .where('ids' in which ? isOneOf(accounts.id, which.ids) : eq(accounts.userId, which.ofUser))
      .returning({ id: accounts.id });
    return moved.map(({ id }) => id);
  }

  async ownersOf(ids: string[], db: Queryable): Promise<string[]> {
    const owners = await db.selectDistinct({ userId: accounts.userId }).from(accounts).where(isOneOf(accounts.id, ids));
    return owners.map(({ userId }) => userId);
  }

  /** A user may get several passwords by a merge. Better Auth finds one by `providerAccountId`, so the oldest gets the user's id. */
  async markOldestPasswords(userIds: string[], db: Queryable): Promise<void> {
    const passwords = and(eq(accounts.provider, 'credential'), isOneOf(accounts.userId, userIds));
    // In two steps, because the unique id that one loses may go to another.
    await db
      .update(accounts)
      .set({ providerAccountId: sql`${accounts.id}` })
      .where(passwords);
    const oldest = sql`SELECT DISTINCT ON (${accounts.userId}) ${accounts.id} FROM ${accounts} WHERE ${passwords}
      ORDER BY ${accounts.userId}, ${accounts.createdAt}, ${accounts.id}`;
    await db
      .update(accounts)
      .set({ providerAccountId: sql`${accounts.userId}` })
      .where(sql`${accounts.id} IN (${oldest})`);
  }

  async deleteVerificationsOfUsers(userIds: string[], db: Queryable, lock?: { skipLocked: true }): Promise<string[]> {
    // Locked in one order, so that parallel cancellations wait instead of deadlocking.
    const locked = await db
      .select({ id: verifications.id })
      .from(verifications)
      .where(isOneOf(verifications.userId, userIds))
      .orderBy(asc(verifications.id))
      .for('update', lock);
    const ids = locked.map(({ id }) => id);
    const deleted = await db
      .delete(verifications)
      .where(isOneOf(verifications.id, ids))
      .returning({ identifier: verifications.identifier });
    return deleted.map(({ identifier }) => identifier);
  }

  async deleteVerificationsOfKind(userId: string, prefix: string, db: Queryable): Promise<void> {
    await db.delete(verifications).where(and(eq(verifications.userId, userId), sql`starts_with(${verifications.identifier}, ${prefix})`));
  }

  async insertVerification(verification: typeof verifications.$inferInsert, db: Queryable = this.db): Promise<void> {
    await db.insert(verifications).values(verification);
  }

  async findVerification(identifier: string, db: Queryable = this.db): Promise<string | undefined> {
    const [found] = await db.select({ value: verifications.value }).from(verifications).where(live(identifier));
    return found?.value;
  }

  /** Locks a live verification against deletion. Returns false if there is none. */
  async lockVerification(identifier: string, db: Queryable): Promise<boolean> {
    const [locked] = await db.select({ id: verifications.id }).from(verifications).where(live(identifier)).for('share');
    return locked !== undefined;
  }

  async deleteExpiredVerifications(limit: number, db: Queryable = this.db): Promise<number> {
    const expired = db
      .select({ id: verifications.id })
      .from(verifications)
      .where(lt(verifications.expiresAt, sql`now()`))
      .orderBy(verifications.expiresAt)
      .limit(limit)
      .for('update', { skipLocked: true });
    const { rowCount } = await db.delete(verifications).where(sql`${verifications.id} IN (${expired})`);
    return rowCount ?? 0;
  }

  /** Locks some accounts with a token that is encrypted under another key than this. */
  async lockUnderOlderKeys(keyId: string, limit: number, db: Queryable): Promise<AccountTokens[]> {
    const stale = TOKENS.map((token) => and(isNotNull(accounts[token]), not(sql`starts_with(${accounts[token]}, ${`${keyId}.`})`)));
    return (
      db
        .select({ id: accounts.id, accessToken: accounts.accessToken, refreshToken: accounts.refreshToken, idToken: accounts.idToken })
        .from(accounts)
        .where(or(...stale))
        .limit(limit)
        // Waits for locked rows: a skipped one could not be decrypted once its key is removed.
        .for('update')
    );
  }

  async updateTokens({ id, ...tokens }: AccountTokens, db: Queryable = this.db): Promise<void> {
    await db.update(accounts).set(tokens).where(eq(accounts.id, id));
  }
}

function live(identifier: string) {
  return and(eq(verifications.identifier, identifier), gt(verifications.expiresAt, sql`now()`));
}
