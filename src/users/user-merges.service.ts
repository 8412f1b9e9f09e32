import { Injectable, Logger } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AccountsService } from '../accounts/accounts.service.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, keyColumns } from '../sync/event-version.js';
import type { Queryable } from '../platform/database/database.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { SyncedUsersRepository } from './synced-users.repository.js';
import { Takeovers } from './takeovers.service.js';
import type { UserMerge } from './user-merges.table.js';
import type { User } from './users.table.js';
import { Clock } from '../platform/time/clock.service.js';

/** That a Clerk user has, or had, proved an address. */
export interface Proof {
  email: string;
  user: User;
  key: EventVersion;
  actor: Actor;
}

/**
 * One person, two rows: a local user and a Clerk user who have proved the same address. What is the local
 * user's (ways to sign in, sessions, memberships) goes over to the Clerk user, whose row goes on; the other is
 * a tombstone. Of two Clerk users who ever proved it, whoever did so first has it, however late we hear.
 */
@Injectable()
export class UserMerges {
  private readonly logger = new Logger(UserMerges.name);

  constructor(
    private readonly repository: SyncedUsersRepository,
    private readonly accounts: AccountsService,
    private readonly sessions: SessionsService,
    private readonly memberships: MembershipsService,
    private readonly takeovers: Takeovers,
    private readonly clock: Clock,
    private readonly audit: AuditService,
  ) {}

  /**
   * The local user who has an address that a Clerk user has proved gives way: the same person's row merges, a
   * squatter's loses it. Answers whether the address is free of them now.
   */
  async releaseAddress(proof: Proof & { local: User | undefined }, db: Queryable): Promise<boolean> {
    const { local, user, email, key } = proof;
    if (local === undefined) {
      const later = await this.repository.lockLaterMerge(email, key, db);
      if (later !== undefined) await this.moveOn(later, proof, db);
      return false;
    }
    const { emailVerified: isProved, emailVerifiedAt, createdAt } = local;
    // Nobody becomes an operator, or stops being one, by what a provider says.
    if (local.operator || (user.operator && isProved)) {
      this.logger.warn(
        { userId: user.id, localUserId: local.id },
        'A Clerk user and an operator have proved the same address; they stay two',
      );
      return false;
    }
    const isCurrent = user.deletedAt === null && user.clerkEmail === email;
    // Old news says nothing of somebody who came, or proved the address, only later.
    const wasThereThen = ((isProved ? emailVerifiedAt : undefined) ?? createdAt) <= new Date(key.at);
    if (!isCurrent && !wasThereThen) return false;
    await (isProved ? this.merge(local, proof, db) : this.evict(local, proof, db));
    return true;
  }

  /** In the order in which resets and changes of password take their locks. It is Clerk who says that they are gone. */
  async endWaysIn(userId: string, db: Queryable): Promise<void> {
    await this.accounts.cancelVerifications(userId, db);
    await this.sessions.endAll([userId], { clerkKnows: true }, db);
    await this.accounts.removeAll([userId], db);
  }

  private async merge(local: User, proof: Proof, db: Queryable): Promise<void> {
    const { user, email, key } = proof;
    await this.accounts.cancelVerifications(local.id, db);
    const sessionIds = await this.sessions.move({ ofUser: local.id }, user.id, db);
    const accountIds = await this.accounts.move({ ofUser: local.id }, user.id, db);
    await this.repository.update(local.id, { deletedAt: this.clock.now(), email: null, emailVerified: false, emailVerifiedAt: null }, db);
    const membershipIds = await this.memberships.move({ ofUser: local.id }, user.id, db);
    await this.repository.insertMerge(
      { id: local.id, intoUserId: user.id, email, ...keyColumns(key), accountIds, sessionIds, membershipIds },
      db,
    );
    await this.receive(local, proof, db);
  }

  /** The same merge, but into whoever had the address before. */
  private async moveOn({ merge, suspendedAt }: { merge: UserMerge; suspendedAt: Date | null }, proof: Proof, db: Queryable): Promise<void> {
    const { user, key } = proof;
    if (user.operator) return;
    await this.repository.updateMerge(merge.id, user.id, key, db);
    if (merge.intoUserId === user.id) return;
    await this.sessions.move({ ids: merge.sessionIds }, user.id, db);
    await this.accounts.move({ ids: merge.accountIds }, user.id, db);
    await this.memberships.move({ ids: merge.membershipIds }, user.id, db);
    await this.receive({ id: merge.id, suspendedAt }, proof, db);
  }

  /** What follows for whoever has got what was a local user's. */
  private async receive(local: Pick<User, 'id' | 'suspendedAt'>, { user, email, actor }: Proof, db: Queryable): Promise<void> {
    // Whom an operator has shut out stays out.
    if (local.suspendedAt !== null && user.suspendedAt === null) {
      await this.repository.update(user.id, { suspendedAt: local.suspendedAt }, db);
      await this.memberships.endInvitationsOf(user.id, actor, db);
    }
    if (user.deletedAt !== null) await this.bury(user.id, actor, db);
    await this.audit.record(
      { actor, action: 'user.merged', target: { type: 'user', id: user.id }, after: { mergedUserId: local.id, email } },
      db,
    );
  }

  /** Never proved, never theirs. */
  private async evict(local: User, { email, actor }: Proof, db: Queryable): Promise<void> {
    await this.endWaysIn(local.id, db);
    await this.repository.update(local.id, { email: null }, db);
    await this.takeovers.endMadeBy(local.id, email, actor, db);
  }

  private async bury(userId: string, actor: Actor, db: Queryable): Promise<void> {
    await this.endWaysIn(userId, db);
    await this.memberships.endAllOfDeletedUser(userId, actor, db);
  }
}
