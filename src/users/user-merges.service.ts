import { Injectable, Logger } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AccountsService } from '../accounts/accounts.service.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, versionColumns } from '../sync/event-version.js';
import type { Queryable } from '../platform/database/database.js';
import { MembershipEnds } from '../memberships/membership-ends.service.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { type LaterMerge, SyncedUsersRepository } from './synced-users.repository.js';
import { Takeovers } from './takeovers.service.js';
import type { User } from './users.table.js';
import { Clock } from '../platform/time/clock.service.js';

export interface AddressProof {
  email: string;
  user: User;
  version: EventVersion;
  actor: Actor;
}

/**
 * Merges a local user and a Clerk user who proved the same address. Sign-in methods, sessions and memberships move to
 * the Clerk user, and the local user becomes a tombstone. Of two Clerk users, the first to prove the address counts,
 * however late its event arrives.
 */
@Injectable()
export class UserMerges {
  private readonly logger = new Logger(UserMerges.name);

  constructor(
    private readonly repository: SyncedUsersRepository,
    private readonly accounts: AccountsService,
    private readonly sessions: SessionsService,
    private readonly memberships: MembershipsService,
    private readonly membershipEnds: MembershipEnds,
    private readonly takeovers: Takeovers,
    private readonly clock: Clock,
    private readonly audit: AuditService,
  ) {}

  /** A Clerk user proved an address: a verified local user is merged, an unverified one loses it. Returns whether that happened. */
  async releaseAddress(proof: AddressProof & { local?: User; later?: LaterMerge }, db: Queryable): Promise<boolean> {
    const { local, later, user, email, version } = proof;
    if (local === undefined) {
      if (later !== undefined) await this.redirectMerge(later, proof, db);
      return false;
    }
    const { emailVerified: isVerified, emailVerifiedAt, createdAt } = local;
    // A provider must not make or remove an operator.
    if (local.operator || (user.operator && isVerified)) {
      this.logger.warn(
        { userId: user.id, localUserId: local.id },
        'A Clerk user and an operator proved the same address, so they are not merged',
      );
      return false;
    }
    const isCurrent = user.deletedAt === null && user.clerkEmail === email;
    // An outdated event does not affect a user who was created or verified after it.
    const isOlderThanEvent = ((isVerified ? emailVerifiedAt : undefined) ?? createdAt) <= new Date(version.at);
    if (!isCurrent && !isOlderThanEvent) return false;
    await (isVerified ? this.merge(local, proof, db) : this.takeAddress(local, proof, db));
    return true;
  }

  /** In the lock order of password resets and changes. Clerk has ended its own sessions already. */
  async endSignIns(userId: string, db: Queryable): Promise<void> {
    await this.accounts.cancelVerifications(userId, db);
    await this.sessions.endAll([userId], { endedAtClerk: true }, db);
    await this.accounts.removeAll([userId], db);
  }

  private async merge(local: User, proof: AddressProof, db: Queryable): Promise<void> {
    const { user, email, version } = proof;
    await this.accounts.cancelVerifications(local.id, db);
    const sessionIds = await this.sessions.move({ ofUser: local.id }, user.id, db);
    const accountIds = await this.accounts.move({ ofUser: local.id }, user.id, db);
    await this.repository.update(local.id, { deletedAt: this.clock.now(), email: null, emailVerified: false, emailVerifiedAt: null }, db);
    const membershipIds = await this.memberships.move({ ofUser: local.id }, user.id, db);
    await this.repository.insertMerge(
      { id: local.id, intoUserId: user.id, email, ...versionColumns(version), accountIds, sessionIds, membershipIds },
      db,
    );
    await this.finishMerge(local, proof, db);
  }

  private async redirectMerge({ merge, suspendedAt }: LaterMerge, proof: AddressProof, db: Queryable): Promise<void> {
    const { user, version } = proof;
    if (user.operator) return;
    await this.repository.updateMerge(merge.id, user.id, version, db);
    if (merge.intoUserId === user.id) return;
    await this.sessions.move({ ids: merge.sessionIds }, user.id, db);
    await this.accounts.move({ ids: merge.accountIds }, user.id, db);
    await this.memberships.move({ ids: merge.membershipIds }, user.id, db);
    await this.finishMerge({ id: merge.id, suspendedAt }, proof, db);
  }

  private async finishMerge(local: Pick<User, 'id' | 'suspendedAt'>, { user, email, actor }: AddressProof, db: Queryable): Promise<void> {
    if (local.suspendedAt !== null && user.suspendedAt === null) {
      await this.repository.update(user.id, { suspendedAt: local.suspendedAt }, db);
      await this.membershipEnds.endInvitationsSentByUser(user.id, actor, db);
    }
    if (user.deletedAt !== null) await this.endAllOfDeletedUser(user.id, actor, db);
    await this.audit.record(
      { actor, action: 'user.merged', target: { type: 'user', id: user.id }, after: { mergedUserId: local.id, email } },
      db,
    );
  }

  private async takeAddress(local: User, { email, actor }: AddressProof, db: Queryable): Promise<void> {
    await this.endSignIns(local.id, db);
    await this.repository.update(local.id, { email: null }, db);
    await this.takeovers.endGrantsAndNotify(local.id, email, actor, db);
  }

  private async endAllOfDeletedUser(userId: string, actor: Actor, db: Queryable): Promise<void> {
    await this.endSignIns(userId, db);
    await this.membershipEnds.endAllOfDeletedUser(userId, actor, db);
  }
}
