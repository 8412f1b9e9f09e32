import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gt, isNotNull, isNull, lt, ne, sql, type SQL } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, sendWrite, statementByColumns } from '../platform/database/statement.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import { type Session, sessions } from './sessions.table.js';

/** The row of an ended Clerk session refuses its tokens. It is kept longer than the longest session at Clerk. */
const KEEP_ENDED = sql`interval '400 days'`;

type NewSession = typeof sessions.$inferInsert;

const INSERT_CLERK_SESSION = statementByColumns<NewSession>((row) =>
  queries.insert(sessions).values(row).onConflictDoNothing({ target: sessions.clerkSessionId }),
);
const ENDED = { endedAt: sql`now()`, expiresAt: sql`now() + ${KEEP_ENDED}` };
const END_CLERK_SESSION = statementByColumns<NewSession>((row) =>
  queries
    .insert(sessions)
    .values({ ...row, ...ENDED })
    .onConflictDoUpdate({ target: sessions.clerkSessionId, set: ENDED, setWhere: isNull(sessions.endedAt) }),
);

export interface EndedSessions {
  count: number;
  clerkSessionIds: string[];
}

@Injectable()
export class SessionsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async listLive(
    userId: string,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
    db: Queryable = this.db,
  ): Promise<Session[]> {
    const afterCursor = after && sql`(${sessions.createdAt}, ${sessions.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`;
    return db
      .select()
      .from(sessions)
      .where(and(eq(sessions.userId, userId), live, afterCursor))
      .orderBy(desc(sessions.createdAt), desc(sessions.id))
      .limit(limit);
  }

  async findLive(userId: string, sessionId: string, db: Queryable = this.db): Promise<Session | undefined> {
    const [session] = await db
      .select()
      .from(sessions)
      .where(and(eq(sessions.id, sessionId), eq(sessions.userId, userId), live));
    return session;
  }

  async findLiveByToken(tokenHash: string, db: Queryable = this.db): Promise<Pick<Session, 'id' | 'userId'> | undefined> {
    const [session] = await db
      .select({ id: sessions.id, userId: sessions.userId })
      .from(sessions)
      .where(and(eq(sessions.tokenHash, tokenHash), live));
    return session;
  }

  async lockLive(userId: string, sessionId: string, db: Queryable): Promise<Session | undefined> {
    const [session] = await db
      .select()
      .from(sessions)
      .where(and(eq(sessions.id, sessionId), eq(sessions.userId, userId), live))
      .for('update');
    return session;
  }

  async hasLegacyCookie(tokenHash: string, db: Queryable = this.db): Promise<boolean> {
    const rows = await db
      .select({ id: sessions.id })
      .from(sessions)
      .where(and(eq(sessions.tokenHash, tokenHash), sessions.legacyCookie));
    return rows.length > 0;
  }

  async insertClerkSession(session: NewSession, db: Queryable = this.db): Promise<void> {
    await sendWrite(INSERT_CLERK_SESSION(session), db);
  }

  /** Also inserts an unknown session, so that its row refuses the tokens. */
  async endClerkSession(session: NewSession, db: Queryable): Promise<void> {
    await sendWrite(END_CLERK_SESSION(session), db);
  }

  async end(userId: string, sessionId: string, db: Queryable = this.db): Promise<EndedSessions> {
    return this.endWhere(and(eq(sessions.userId, userId), eq(sessions.id, sessionId)), db);
  }

  async endOfUsers(userIds: string[], { except }: { except?: string } = {}, db: Queryable = this.db): Promise<EndedSessions> {
    return this.endWhere(and(isOneOf(sessions.userId, userIds), except === undefined ? undefined : ne(sessions.id, except)), db);
  }

  /** Moves only our own sessions: a Clerk session belongs to its Clerk user. */
  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    const moved = await db
      .update(sessions)
      .set({ userId: toUserId })
      .where(and('ids' in which ? isOneOf(sessions.id, which.ids) : eq(sessions.userId, which.ofUser), isNull(sessions.clerkSessionId)))
      .returning({ id: sessions.id });
    return moved.map(({ id }) => id);
  }

  async deleteExpired(limit: number, db: Queryable = this.db): Promise<number> {
    // Each row is checked again under its lock, so a session that was extended meanwhile stays.
    const expired = db
      .select({ id: sessions.id })
      .from(sessions)
      .where(lt(sessions.expiresAt, sql`now()`))
      .orderBy(sessions.expiresAt)
      .limit(limit)
      .for('update', { skipLocked: true });
    const { rowCount } = await db.delete(sessions).where(sql`${sessions.id} IN (${expired})`);
    return rowCount ?? 0;
  }

  private async endWhere(which: SQL | undefined, db: Queryable): Promise<EndedSessions> {
    const deleted = await db.delete(sessions).where(and(which, isNull(sessions.clerkSessionId)));
    const clerk = await db
      .update(sessions)
      .set({ endedAt: sql`now()`, expiresAt: sql`now() + ${KEEP_ENDED}` })
      .where(and(which, isNotNull(sessions.clerkSessionId), isNull(sessions.endedAt)))
      .returning({ id: sessions.clerkSessionId });
    return { count: (deleted.rowCount ?? 0) + clerk.length, clerkSessionIds: clerk.map(({ id }) => id!) };
  }
}

const live = and(gt(sessions.expiresAt, sql`now()`), isNull(sessions.endedAt));
