import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { InvalidCredentials } from '../access/access.errors.js';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import { sweepInBatches } from '../platform/queue/sweep.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { SessionNotFound } from './sessions.errors.js';
import { type EndedSessions, SessionsRepository } from './sessions.repository.js';
import type { Session } from './sessions.table.js';
import { SystemClock } from '../platform/time/clock.service.js';

/** The outbox kind for ending a session at Clerk, with a `ClerkSessionEnd` as payload. */
export const CLERK_SESSION_REVOKE = 'clerk.session.revoke';

export interface ClerkSessionEnd {
  clerkSessionId: string;
}

export interface ClerkSessionSnapshot {
  clerkSessionId: string;
  userId: string;
  createdAt?: Date;
  expiresAt: Date | null;
  isEnded: boolean;
  ipAddress?: string;
  userAgent?: string;
}

/** Sessions are never cached, so an ended one is refused at its next request on every replica. */
@Injectable()
export class SessionsService implements OnModuleInit {
  constructor(
    private readonly repository: SessionsRepository,
    private readonly audit: AuditService,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly outbox: OutboxService,
    private readonly config: Config,
    private readonly clock: SystemClock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'expire_sessions',
      description: 'Removes sessions that have expired',
      everySeconds: 60,
      run: (signal) => sweepInBatches(signal, (limit) => this.repository.deleteExpired(limit)),
    });
  }

  async hasLegacyCookie(tokenHash: string): Promise<boolean> {
    return this.repository.hasLegacyCookie(tokenHash);
  }

  async list(userId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<Session>> {
    const list = ['sessions', userId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.listLive(userId, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /** @throws {InvalidCredentials} for a session that ended while the request was on its way */
  async getCurrent({ userId, sessionId }: { userId: string; sessionId: string }): Promise<Session> {
    const session = await this.repository.findLive(userId, sessionId);
    if (session === undefined) throw new InvalidCredentials();
    return session;
  }

  /** @throws {SessionNotFound} also for a session that has ended or belongs to another user */
  async revoke(userId: string, sessionId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const ended = await this.repository.end(userId, sessionId, tx);
      if (ended.count === 0) throw new SessionNotFound();
      await this.enqueueClerkEnds(ended, tx);
      await this.audit.record({ actor, action: 'session.revoked', target: { type: 'session', id: sessionId } }, tx);
    });
  }

  async isLive(userId: string, sessionId: string): Promise<boolean> {
    return (await this.repository.findLive(userId, sessionId)) !== undefined;
  }

  async findByToken(tokenHash: string): Promise<Pick<Session, 'id' | 'userId'> | undefined> {
    return this.repository.findLiveByToken(tokenHash);
  }

  /** Returns whether a session is live, and blocks its end until the transaction ends. */
  async lockLiveSession(userId: string, sessionId: string, db: Queryable): Promise<boolean> {
    return (await this.repository.lockLive(userId, sessionId, db)) !== undefined;
  }

  async revokeAll(userId: string, { except }: { except?: string }, actor: Actor): Promise<number> {
    return this.db.transaction(async (tx) => {
      const revoked = await this.endAll([userId], { except }, tx);
      await this.audit.record({ actor, action: 'user.sessions_revoked', target: { type: 'user', id: userId }, after: { revoked } }, tx);
      return revoked;
    });
  }

  /** Without an audit entry. @param options.endedAtClerk true when Clerk has already ended its own sessions */
  async endAll(userIds: string[], options: { except?: string; endedAtClerk?: boolean }, db: Queryable): Promise<number> {
    if (userIds.length === 0) return 0;
    const ended = await this.repository.endOfUsers(userIds, options, db);
    if (options.endedAtClerk !== true) await this.enqueueClerkEnds(ended, db);
    return ended.count;
  }

  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    return this.repository.move(which, toUserId, db);
  }

  async apply({ isEnded, expiresAt, ...session }: ClerkSessionSnapshot, db: Queryable): Promise<void> {
    const row = { id: newId(), ...session, expiresAt: expiresAt ?? this.idleExpiry() };
    await (isEnded ? this.repository.endClerkSession(row, db) : this.repository.insertClerkSession(row, db));
  }

  async mirrorClerkSession(
    userId: string,
    clerkSessionId: string,
    device: { ipAddress?: string; userAgent?: string },
    db: Queryable,
  ): Promise<void> {
    await this.repository.insertClerkSession({ id: newId(), userId, clerkSessionId, expiresAt: this.idleExpiry(), ...device }, db);
  }

  /** Without this, a session that ended here could still get tokens at Clerk. */
  private async enqueueClerkEnds({ clerkSessionIds }: EndedSessions, db: Queryable): Promise<void> {
    if (this.config.clerkApi === undefined) return;
    const ends = clerkSessionIds.map((clerkSessionId) => ({ clerkSessionId }) satisfies ClerkSessionEnd);
    await this.outbox.enqueueAll(CLERK_SESSION_REVOKE, ends, db);
  }

  private idleExpiry(): Date {
    return new Date(this.clock.now().getTime() + this.config.sessionIdleSeconds * 1000);
  }
}
