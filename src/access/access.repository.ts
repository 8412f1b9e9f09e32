import { Inject, Injectable } from '@nestjs/common';
import { auditLog } from '../audit/audit-log.table.js';
import { newId } from '../platform/crypto/ids.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import type { Role } from '../memberships/organization-memberships.table.js';
import type { ClerkIdentity } from './credentials/clerk-tokens.service.js';
import { extendedEnd } from './uses/uses.repository.js';

export interface SessionAccess {
  sessionId: string;
  userId: string;
  operator: boolean;
  suspended: boolean;
  /** Whether the cookie of this session may have the legacy name. Absent for a Clerk session, which has no cookie. */
  legacyCookie?: boolean;
  /** Null unless the use must be recorded. */
  endsSoon: boolean | null;
  extendedTo: Date | null;
  /** The role in the requested organization: null without a membership, absent when no organization was requested. */
  role?: Role | null;
  organizationExists?: boolean;
}

export interface ApiKeyAccess {
  apiKeyId: string;
  organizationId: string;
  scopes: string[];
  isUseDue: boolean;
}

/** The user of a Clerk token, and its session once there is a row for it. */
export interface ClerkAccess extends Omit<SessionAccess, 'sessionId'> {
  sessionId: string | null;
  /** The user is deleted, or the session has ended or belongs to another user. */
  refused: boolean;
}

/**
 * Null until the recorded use is older than `sessionTouchSeconds`; then whether the session ends before a batch of uses
 * may be written. `extendedTo` is the end that the use gives the session, for its cookie.
 */
const use = (config: Config) => {
  const isDue = `s.last_used_at < now() - interval '${config.sessionTouchSeconds} seconds'`;
  return `
         CASE WHEN ${isDue} THEN s.expires_at < now() + interval '5 seconds' END AS "endsSoon",
         CASE WHEN ${isDue} AND s.sliding THEN ${extendedEnd('s', config)} END AS "extendedTo"`;
};

/** Reads the role at every request, so that a change takes effect at once. */
const inOrganization = (parameter: string) => ({
  columns: `, m.role, o.id IS NOT NULL AS "organizationExists"`,
  joins: `
    LEFT JOIN organizations o ON o.id = ${parameter} AND o.deleted_at IS NULL
    LEFT JOIN organization_memberships m ON m.organization_id = o.id AND m.user_id = u.id AND m.deleted_at IS NULL`,
});

const WITHOUT_ORGANIZATION = { columns: '', joins: '' };

const session = (config: Config, { columns, joins } = WITHOUT_ORGANIZATION) => `
  SELECT s.id AS "sessionId", u.id AS "userId", u.operator, u.suspended_at IS NOT NULL OR u.banned AS suspended,
         s.legacy_cookie AS "legacyCookie",${use(config)}${columns}
    FROM sessions s JOIN users u ON u.id = s.user_id ${joins}
   WHERE s.token = $1 AND s.expires_at > now() AND s.ended_at IS NULL AND u.deleted_at IS NULL`;

const clerkSession = (config: Config, { columns, joins } = WITHOUT_ORGANIZATION) => `
  SELECT s.id AS "sessionId", u.id AS "userId", u.operator, u.suspended_at IS NOT NULL OR u.banned AS suspended,
         u.deleted_at IS NOT NULL OR s.ended_at IS NOT NULL OR s.user_id <> u.id AS refused,${use(config)}${columns}
    FROM users u LEFT JOIN sessions s ON s.clerk_session_id = $1 ${joins}
   WHERE u.clerk_user_id = $2`;

const API_KEY = `
  SELECT k.id AS "apiKeyId", k.organization_id AS "organizationId", k.scopes,
         coalesce(k.last_used_at < now() - interval '1 minute', true) AS "isUseDue"
    FROM api_keys k JOIN organizations o ON o.id = k.organization_id
   WHERE k.hash = $1 AND (k.revoked_at IS NULL OR k.revoked_at > now()) AND (k.expires_at IS NULL OR k.expires_at > now()) AND o.deleted_at IS NULL`;

/** The statements that every request waits for: prepared, pipelined, one round trip. */
@Injectable()
export class AccessRepository {
  private readonly session: string;
  private readonly sessionInOrganization: string;
  private readonly clerkSession: string;
  private readonly clerkSessionInOrganization: string;

  constructor(
    @Inject(DATABASE) private readonly db: Database,
    config: Config,
  ) {
    // The configured seconds are part of the text: they never change, and parameters are sent with every request.
    this.session = session(config);
    this.sessionInOrganization = session(config, inOrganization('$2'));
    this.clerkSession = clerkSession(config);
    this.clerkSessionInOrganization = clerkSession(config, inOrganization('$3'));
  }

  async findSession(tokenHash: string, organizationId?: string): Promise<SessionAccess | undefined> {
    return organizationId === undefined
      ? this.one('access_session', this.session, [tokenHash])
      : this.one('access_session_in_organization', this.sessionInOrganization, [tokenHash, organizationId]);
  }

  async findClerkSession({ clerkUserId, clerkSessionId }: ClerkIdentity, organizationId?: string): Promise<ClerkAccess | undefined> {
    const values = [clerkSessionId, clerkUserId];
    return organizationId === undefined
      ? this.one('access_clerk', this.clerkSession, values)
      : this.one('access_clerk_in_organization', this.clerkSessionInOrganization, [...values, organizationId]);
  }

  async findApiKey(hash: string): Promise<ApiKeyAccess | undefined> {
    return this.one('access_api_key', API_KEY, [hash]);
  }

  /** Operators may read every tenant, and each read is audited. */
  async recordOperatorRead(
    operatorId: string,
    organizationId: string,
    { requestId, ipAddress, path }: { requestId: string | null; ipAddress: string | null; path: string },
  ): Promise<void> {
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

  private async one<T>(name: string, text: string, values: unknown[]): Promise<T | undefined> {
    const result: Promise<{ rows: T[] }> = this.db.$client.query({ name, text, values });
    return (await result).rows[0];
  }
}
