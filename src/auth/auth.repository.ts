import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gt, isNull, sql } from 'drizzle-orm';
import { accounts } from '../accounts/accounts.table.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { sessions } from '../sessions/sessions.table.js';
import { users } from '../users/users.table.js';

export interface SignInHistory {
  passwordHash: string | null;
  addresses: string[];
}

/** Users have a handful of sessions, so the newest are enough. */
const MAX_SESSIONS = 100;

@Injectable()
export class AuthRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Runs the same statement for an unknown email, so that its time does not reveal whether a user exists. */
  async findSignInHistory(email: string): Promise<SignInHistory> {
    const isPassword = and(eq(accounts.userId, users.id), eq(accounts.provider, 'credential'));
    const isOpen = and(eq(sessions.userId, users.id), gt(sessions.expiresAt, sql`now()`), isNull(sessions.endedAt));
    const rows = await this.db
      .select({ passwordHash: accounts.passwordHash, address: sessions.ipAddress })
      .from(users)
      .leftJoin(accounts, isPassword)
      .leftJoin(sessions, isOpen)
      .where(eq(users.email, email))
      .orderBy(desc(sessions.createdAt))
      .limit(MAX_SESSIONS);
    return { passwordHash: rows[0]?.passwordHash ?? null, addresses: rows.flatMap(({ address }) => address ?? []) };
  }
}
