import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { Config, type RateLimit } from '../config/config.js';
import { DATABASE, type Database } from '../database/database.js';
import type { ClerkIdentity } from './clerk-tokens.js';

/** A live session and its user. */
export interface SessionAccess {
  sessionId: string;
  userId: string;
  operator: boolean;
  suspended: boolean;
  /** Set when this very request prolonged the session. */
  prolongedTo: Date | null;
}

/** What is known of a Clerk session token's user and session. */
export interface ClerkAccess extends Omit<SessionAccess, 'sessionId' | 'prolongedTo'> {
  sessionId: string | null;
  refused: boolean;
}

/** Whose allowance a call spends. */
export interface Spender {
  tokenHash?: string;
  clerkUserId?: string;
  /** Used when neither of them leads to a user. */
  fallback: string;
}

/** What is left of an allowance after a call. */
export interface Allowance {
  allowed: boolean;
  /** Seconds until it is whole again. */
  debt: number;
}

/**
 * Marks the use of a session at most once in so many seconds, and slides its end. A row that somebody
 * else is writing is skipped: a hundred requests at once must not queue for one note. Nor does anybody wait
 * for the disk: a note that a crash of the server loses is made again at the next use.
 */
const touch = (column: string, { sessionIdleSeconds, sessionAbsoluteSeconds, sessionTouchSeconds }: Config) => `
  touched AS (
    UPDATE sessions
       SET last_used_at = now(), updated_at = now(),
           expires_at = CASE WHEN sliding
             THEN greatest(expires_at, least(now() + interval '${sessionIdleSeconds} seconds', created_at + interval '${sessionAbsoluteSeconds} seconds'))
             ELSE expires_at END
     WHERE id = (SELECT id FROM sessions
                  WHERE ${column} = $1 AND last_used_at < now() - interval '${sessionTouchSeconds} seconds'
                    AND expires_at > now() AND ended_at IS NULL
                    FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING CASE WHEN sliding THEN expires_at END AS prolonged_to, set_config('synchronous_commit', 'off', true))`;

const session = (config: Config) => `
  WITH ${touch('token', config)}
  SELECT s.id AS "sessionId", u.id AS "userId", u.operator, u.suspended_at IS NOT NULL AS suspended,
         (SELECT prolonged_to FROM touched) AS "prolongedTo"
    FROM sessions s JOIN users u ON u.id = s.user_id
   WHERE s.token = $1 AND s.expires_at > now() AND s.ended_at IS NULL AND u.deleted_at IS NULL`;

const clerk = (config: Config) => `
  WITH ${touch('clerk_session_id', config)}
  SELECT s.id AS "sessionId", u.id AS "userId", u.operator, u.suspended_at IS NOT NULL AS suspended,
         u.deleted_at IS NOT NULL OR s.ended_at IS NOT NULL OR s.user_id <> u.id AS refused,
         (SELECT prolonged_to FROM touched) AS "prolongedTo"
    FROM users u LEFT JOIN sessions s ON s.clerk_session_id = $1
   WHERE u.clerk_user_id = $2`;

/** GCRA: one row an allowance, one statement a call; the row's lock makes it exact over all replicas. */
const SPEND = `
  WITH spender AS (
    SELECT $1 || ':' || coalesce(
      (SELECT user_id::text FROM sessions WHERE token = $2 AND expires_at > now()),
      (SELECT id::text FROM users WHERE clerk_user_id = $3),
      $4) AS key),
  spent AS (
    INSERT INTO rate_limits AS r (key, whole_at)
    SELECT key, clock_timestamp() + $5 * interval '1 microsecond' FROM spender
    ON CONFLICT (key) DO UPDATE SET whole_at = greatest(r.whole_at, clock_timestamp()) + $5 * interval '1 microsecond'
      WHERE greatest(r.whole_at, clock_timestamp()) + $5 * interval '1 microsecond' <= clock_timestamp() + $6 * interval '1 second'
    RETURNING whole_at)
  SELECT true AS allowed, extract(epoch FROM whole_at - clock_timestamp())::float8 AS debt FROM spent
  UNION ALL
  SELECT false, extract(epoch FROM r.whole_at - clock_timestamp())::float8
    FROM rate_limits r JOIN spender ON r.key = spender.key WHERE NOT EXISTS (SELECT FROM spent)`;

/** The statements that every request waits for: prepared, pipelined, one round trip. */
@Injectable()
export class AccessRepository {
  private readonly session: string;
  private readonly clerk: string;

  constructor(
    @Inject(DATABASE) private readonly db: Database,
    config: Config,
  ) {
    // The configured seconds stand in the text: they never change, and a parameter is sent with every request.
    this.session = session(config);
    this.clerk = clerk(config);
  }

  async findSession(tokenHash: string): Promise<SessionAccess | undefined> {
    return this.one<SessionAccess>('access_session', this.session, [tokenHash]);
  }

  async findClerkSession({ clerkUserId, clerkSessionId }: ClerkIdentity): Promise<ClerkAccess | undefined> {
    return this.one<ClerkAccess>('access_clerk', this.clerk, [clerkSessionId, clerkUserId]);
  }

  async spend(name: string, { limit, windowSeconds }: RateLimit, spender: Spender): Promise<Allowance> {
    // Rounded down: a whole allowance must fit its window to the microsecond.
    const interval = Math.floor((windowSeconds * 1e6) / limit);
    const values = [name, spender.tokenHash ?? null, spender.clerkUserId ?? null, spender.fallback, interval, windowSeconds];
    // No row: refused by one that another call is just writing for the first time.
    return (await this.one<Allowance>('access_spend', SPEND, values)) ?? { allowed: false, debt: windowSeconds };
  }

  /** Removes some allowances that are whole again: no row means the same. Answers how many. */
  async sweepAllowances(limit: number): Promise<number> {
    const { rowCount } = await this.db.execute(
      sql`DELETE FROM rate_limits WHERE key IN (SELECT key FROM rate_limits WHERE whole_at < now() LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
    );
    return rowCount ?? 0;
  }

  private async one<T>(name: string, text: string, values: unknown[]): Promise<T | undefined> {
    const { rows } = (await this.db.$client.query({ name, text, values })) as unknown as { rows: T[] };
    return rows[0];
  }
}
