import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { auditLog } from '../audit/audit-log.table.js';
import { newId } from '../platform/crypto/ids.js';
import { Config } from '../platform/config/config.js';
import type { RateLimit } from '../platform/config/value-types.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import type { Role } from '../memberships/organization-memberships.table.js';
import type { ClerkIdentity } from './credentials/clerk-tokens.service.js';

/** A live session and its user. */
export interface SessionAccess {
  sessionId: string;
  userId: string;
  operator: boolean;
  suspended: boolean;
  /** Whether its cookie may have the legacy name. Absent for a Clerk session, which has no cookie. */
  legacyCookie?: boolean;
  /** Set when this very request prolonged the session. */
  prolongedTo: Date | null;
  /** Null for somebody who is no member; absent where no organization was asked for. */
  role?: Role | null;
  /** Whether the organization that was asked for exists. */
  organization?: boolean;
}

/** What a live API key may do, and where. */
export interface ApiKeyAccess {
  apiKeyId: string;
  organizationId: string;
  scopes: string[];
}

/** What is known of a Clerk session token's user and session. */
export interface ClerkAccess extends Omit<SessionAccess, 'sessionId'> {
  sessionId: string | null;
  refused: boolean;
}

/** Whose allowance a call spends. */
export interface Spender {
  tokenHash?: string;
  clerkUserId?: string;
  apiKeyHash?: string;
  /** Used when none of them leads to somebody. */
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

/** The caller's role is read anew at every request; `organization` tells whether there is such a living one at all. */
const inOrganization = (parameter: string) => ({
  columns: `, m.role, o.id IS NOT NULL AS organization`,
  joins: `
    LEFT JOIN organizations o ON o.id = ${parameter} AND o.deleted_at IS NULL
    LEFT JOIN organization_memberships m ON m.organization_id = o.id AND m.user_id = u.id AND m.deleted_at IS NULL`,
});

const OUTSIDE = { columns: '', joins: '' };

const session = (config: Config, { columns, joins } = OUTSIDE) => `
  WITH ${touch('token', config)}
  SELECT s.id AS "sessionId", u.id AS "userId", u.operator, u.suspended_at IS NOT NULL OR u.banned AS suspended,
         s.legacy_cookie AS "legacyCookie", (SELECT prolonged_to FROM touched) AS "prolongedTo"${columns}
    FROM sessions s JOIN users u ON u.id = s.user_id ${joins}
   WHERE s.token = $1 AND s.expires_at > now() AND s.ended_at IS NULL AND u.deleted_at IS NULL`;

const clerk = (config: Config, { columns, joins } = OUTSIDE) => `
  WITH ${touch('clerk_session_id', config)}
  SELECT s.id AS "sessionId", u.id AS "userId", u.operator, u.suspended_at IS NOT NULL OR u.banned AS suspended,
         u.deleted_at IS NOT NULL OR s.ended_at IS NOT NULL OR s.user_id <> u.id AS refused,
         (SELECT prolonged_to FROM touched) AS "prolongedTo"${columns}
    FROM users u LEFT JOIN sessions s ON s.clerk_session_id = $1 ${joins}
   WHERE u.clerk_user_id = $2`;

const API_KEY = `
  WITH touched AS (
    UPDATE api_keys SET last_used_at = now()
     WHERE id = (SELECT id FROM api_keys
                  WHERE hash = $1 AND (revoked_at IS NULL OR revoked_at > now()) AND (expires_at IS NULL OR expires_at > now())
                    AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
                    FOR NO KEY UPDATE SKIP LOCKED))
  SELECT k.id AS "apiKeyId", k.organization_id AS "organizationId", k.scopes
    FROM api_keys k JOIN organizations o ON o.id = k.organization_id
   WHERE k.hash = $1 AND (k.revoked_at IS NULL OR k.revoked_at > now()) AND (k.expires_at IS NULL OR k.expires_at > now()) AND o.deleted_at IS NULL`;

/**
 * GCRA: one row an allowance, one statement a call; the row's lock makes it exact over all replicas. A
 * refused call holds that lock already: asking for it again reads what others wrote after it began.
 */
const gcra = ({ microseconds, seconds }: { microseconds: string | number; seconds: string | number }) => `
  spent AS (
    INSERT INTO rate_limits AS r (key, whole_at)
    SELECT key, clock_timestamp() + ${microseconds} * interval '1 microsecond' FROM spender
    ON CONFLICT (key) DO UPDATE SET whole_at = greatest(r.whole_at, clock_timestamp()) + ${microseconds} * interval '1 microsecond'
      WHERE greatest(r.whole_at, clock_timestamp()) + ${microseconds} * interval '1 microsecond' <= clock_timestamp() + ${seconds} * interval '1 second'
    RETURNING whole_at),
  refused AS (
    SELECT r.whole_at FROM rate_limits r JOIN spender ON r.key = spender.key
     WHERE NOT EXISTS (SELECT FROM spent) FOR NO KEY UPDATE OF r)
  SELECT true AS allowed, extract(epoch FROM whole_at - clock_timestamp())::float8 AS debt FROM spent
  UNION ALL
  SELECT false, extract(epoch FROM whole_at - clock_timestamp())::float8 FROM refused`;

const SPEND = `
  WITH spender AS (
    SELECT $1 || ':' || coalesce(
      (SELECT user_id::text FROM sessions WHERE token = $2 AND expires_at > now()),
      (SELECT id::text FROM users WHERE clerk_user_id = $3),
      (SELECT organization_id::text FROM api_keys WHERE hash = $7 AND (revoked_at IS NULL OR revoked_at > now()) AND (expires_at IS NULL OR expires_at > now())),
      $4) AS key),
  ${gcra({ microseconds: '$5', seconds: '$6' })}`;

const SPEND_KEY = `WITH spender AS (SELECT $1::text AS key), ${gcra({ microseconds: '$2', seconds: '$3' })}`;

const REFUND = `UPDATE rate_limits SET whole_at = whole_at - $2 * interval '1 microsecond' WHERE key = $1`;

/** Rounded down: a whole allowance must fit its window to the microsecond. */
function intervalOf({ limit, windowSeconds }: RateLimit): number {
  return Math.floor((windowSeconds * 1e6) / limit);
}

/** The statements that every request waits for: prepared, pipelined, one round trip. */
@Injectable()
export class AccessRepository {
  private readonly session: string;
  private readonly sessionInOrganization: string;
  private readonly clerk: string;
  private readonly clerkInOrganization: string;

  constructor(
    @Inject(DATABASE) private readonly db: Database,
    config: Config,
  ) {
    // The configured seconds stand in the text: they never change, and a parameter is sent with every request.
    this.session = session(config);
    this.sessionInOrganization = session(config, inOrganization('$2'));
    this.clerk = clerk(config);
    this.clerkInOrganization = clerk(config, inOrganization('$3'));
  }

  async findSession(tokenHash: string, organizationId?: string): Promise<SessionAccess | undefined> {
    return organizationId === undefined
      ? this.one('access_session', this.session, [tokenHash])
      : this.one('access_session_in_organization', this.sessionInOrganization, [tokenHash, organizationId]);
  }

  async findClerkSession({ clerkUserId, clerkSessionId }: ClerkIdentity, organizationId?: string): Promise<ClerkAccess | undefined> {
    const values = [clerkSessionId, clerkUserId];
    return organizationId === undefined
      ? this.one('access_clerk', this.clerk, values)
      : this.one('access_clerk_in_organization', this.clerkInOrganization, [...values, organizationId]);
  }

  async findApiKey(hash: string): Promise<ApiKeyAccess | undefined> {
    return this.one('access_api_key', API_KEY, [hash]);
  }

  /** Operators may look into any tenant, and each look is written down. */
  async recordOperatorRead(
    operatorId: string,
    organizationId: string,
    { requestId, ipAddress, path }: { requestId: string | null; ipAddress: string | null; path: string },
  ) {
    await this.db.insert(auditLog).values({
      id: newId(),
      organizationId,
      actorKind: 'user',
      actorId: operatorId,
      action: 'operator.read',
      targetType: 'organization',
      targetId: organizationId,
      changes: { path: { after: path } },
      requestId,
      ipAddress,
    });
  }

  async spend(name: string, { limit, windowSeconds }: RateLimit, spender: Spender): Promise<Allowance> {
    const interval = intervalOf({ limit, windowSeconds });
    const { tokenHash = null, clerkUserId = null, apiKeyHash = null, fallback } = spender;
    const values = [name, tokenHash, clerkUserId, fallback, interval, windowSeconds, apiKeyHash];
    // No row: refused by one that another call is just writing for the first time.
    return (await this.one<Allowance>('access_spend', SPEND, values)) ?? { allowed: false, debt: windowSeconds };
  }

  /** Spends from an allowance by its key. */
  async spendKey(key: string, policy: RateLimit): Promise<Allowance> {
    const values = [key, intervalOf(policy), policy.windowSeconds];
    return (await this.one<Allowance>('access_spend_key', SPEND_KEY, values)) ?? { allowed: false, debt: policy.windowSeconds };
  }

  /** Gives back what one call spent. */
  async refund(key: string, policy: RateLimit): Promise<void> {
    await this.one('access_refund', REFUND, [key, intervalOf(policy)]);
  }

  /** Spends from an allowance in the transaction of what it allows: a rollback gives it back. */
  async spendIn(db: Queryable, key: string, policy: RateLimit): Promise<Allowance> {
    const numbers = { microseconds: intervalOf(policy), seconds: policy.windowSeconds };
    const { rows } = await db.execute<Allowance & Record<string, unknown>>(
      sql`WITH spender AS (SELECT ${key}::text AS key), ${sql.raw(gcra(numbers))}`,
    );
    return rows[0] ?? { allowed: false, debt: policy.windowSeconds };
  }

  /** Removes some allowances that are whole again: no row means the same. Answers how many. */
  async sweepAllowances(limit: number): Promise<number> {
    const { rowCount } = await this.db.execute(
      sql`DELETE FROM rate_limits WHERE key IN (SELECT key FROM rate_limits WHERE whole_at < now() LIMIT ${limit} FOR UPDATE SKIP LOCKED)`,
    );
    return rowCount ?? 0;
  }

  private async one<T>(name: string, text: string, values: unknown[]): Promise<T | undefined> {
    const answer: Promise<{ rows: T[] }> = this.db.$client.query({ name, text, values });
    const { rows } = await answer;
    return rows[0];
  }
}
