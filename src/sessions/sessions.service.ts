import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
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
import { type Ended, SessionsRepository } from './sessions.repository.js';
import type { Session } from './sessions.table.js';
import { SystemClock } from '../platform/time/clock.service.js';

/** Kind of the outbox entries that end a session at Clerk; their payload is a `ClerkSessionEnd`. */
export const CLERK_SESSION_REVOKE = 'clerk.session.revoke';

export interface ClerkSessionEnd {
  clerkSessionId: string;
}

/** A session as the provider that opened it tells it. */
export interface ClerkSessionSnapshot {
  clerkSessionId: string;
  userId: string;
  createdAt?: Date;
  expiresAt: Date | null;
  isEnded: boolean;
  ipAddress?: string;
  userAgent?: string;
}

/** Where a person is signed in. A session that ends is refused at the next request on every process: nothing caches it. */
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

  /** Whether the cookie of this session may have the name that versions before 0.2 set. */
  async hasLegacyCookie(tokenHash: string): Promise<boolean> {
    return this.repository.hasLegacyCookie(tokenHash);
  }

  async list(userId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<Session>> {
    const list = ['sessions', userId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.listLive(userId, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /** @throws {SessionNotFound} */
  async get(userId: string, sessionId: string): Promise<Session> {
    const session = await this.repository.findLive(userId, sessionId);
    if (session === undefined) throw new SessionNotFound();
    return session;
  }

  /** @throws {SessionNotFound} for one that is not this user's, or has ended */
  async revoke(userId: string, sessionId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const ended = await this.repository.end(userId, sessionId, tx);
      if (ended.count === 0) throw new SessionNotFound();
      await this.tellClerk(ended, tx);
      await this.audit.record({ actor, action: 'session.revoked', target: { type: 'session', id: sessionId } }, tx);
    });
  }

  async isLive(userId: string, sessionId: string): Promise<boolean> {
    return (await this.repository.findLive(userId, sessionId)) !== undefined;
  }

  /** The live session of a hashed token. */
  async findByToken(tokenHash: string): Promise<Pick<Session, 'id' | 'userId'> | undefined> {
    return this.repository.findLiveByToken(tokenHash);
  }

  /** Whether a session is live; if so it stays until the transaction is over. */
  async lockLiveSession(userId: string, sessionId: string, db: Queryable): Promise<boolean> {
    return (await this.repository.lockLive(userId, sessionId, db)) !== undefined;
  }

  /** Ends all sessions of a user, but for one where that is asked; answers how many. */
  async revokeAll(userId: string, { except }: { except?: string }, actor: Actor): Promise<number> {
    return this.db.transaction(async (tx) => {
      const revoked = await this.endAll([userId], { except }, tx);
      await this.audit.record({ actor, action: 'user.sessions_revoked', target: { type: 'user', id: userId }, after: { revoked } }, tx);
      return revoked;
    });
  }

  /**
   * As `revokeAll`, in the transaction of what makes it necessary.
   *
   * @param options.clerkKnows whether Clerk itself told that its users are gone
   */
  async endAll(userIds: string[], options: { except?: string; clerkKnows?: boolean }, db: Queryable): Promise<number> {
    if (userIds.length === 0) return 0;
    const ended = await this.repository.endOfUsers(userIds, options, db);
    if (options.clerkKnows !== true) await this.tellClerk(ended, db);
    return ended.count;
  }

  /** Gives our own sessions to somebody else, who is the same person; answers which. */
  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    return this.repository.move(which, toUserId, db);
  }

  /**
   * Writes down what the provider says of a session of its own. One that has ended stays so, and its row refuses
   * its tokens; also when its end is the first we hear of it.
   */
  async apply({ isEnded, expiresAt, ...session }: ClerkSessionSnapshot, db: Queryable): Promise<void> {
    const row = { id: newId(), ...session, expiresAt: expiresAt ?? this.idleEnd() };
    await (isEnded ? this.repository.endClerkSession(row, db) : this.repository.insertClerkSession(row, db));
  }

  /** Writes down a Clerk session when its token is first seen. */
  async mirrorClerkSession(
    userId: string,
    clerkSessionId: string,
    device: { ipAddress?: string; userAgent?: string },
    db: Queryable,
  ): Promise<void> {
    await this.repository.insertClerkSession({ id: newId(), userId, clerkSessionId, expiresAt: this.idleEnd(), ...device }, db);
  }

  /** Here they have ended already; over there they would go on making tokens. */
  private async tellClerk({ clerkSessionIds }: Ended, db: Queryable): Promise<void> {
    if (this.config.clerkApi === undefined) return;
    for (const clerkSessionId of clerkSessionIds)
      await this.outbox.enqueue(CLERK_SESSION_REVOKE, { clerkSessionId } satisfies ClerkSessionEnd, db);
  }

  private idleEnd(): Date {
    return new Date(this.clock.now().getTime() + this.config.sessionIdleSeconds * 1000);
  }
}
