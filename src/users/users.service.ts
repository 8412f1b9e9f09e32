import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { InvalidCredentials } from '../access/access.errors.js';
import { type Actor, type UserPrincipal, SYSTEM } from '../access/principal.js';
import { AccountsService } from '../accounts/accounts.service.js';
import { AuditService, type RecordChange } from '../audit/audit.service.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { searchPage } from '../platform/pagination/searches.js';
import { normaliseEmail } from '../platform/text/emails.js';
import { newId } from '../platform/crypto/ids.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import { BATCH, removeAllKinds, sweepInSteps } from '../platform/queue/sweep.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isUniqueViolation } from '../platform/database/database-errors.js';
import { JobsService } from '../jobs/jobs.service.js';
import { MembershipEnds } from '../memberships/membership-ends.service.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { SubscriptionOwners } from '../subscriptions/customers/subscription-owners.service.js';
import { Takeovers } from './takeovers.service.js';
import { CannotSuspendSelf, EmailTaken, UserNotFound } from './users.errors.js';
import { type UserFilters, UsersRepository } from './users.repository.js';
import type { User } from './users.table.js';
import { Clock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';

const PURGED_AT_ONCE = 100;

export interface ProfileChanges {
  name?: string;
  username?: string | null;
  imageUrl?: string | null;
}

@Injectable()
export class UsersService implements OnModuleInit {
  private readonly record: RecordChange;

  constructor(
    private readonly repository: UsersRepository,
    private readonly accounts: AccountsService,
    private readonly sessions: SessionsService,
    private readonly memberships: MembershipsService,
    private readonly membershipEnds: MembershipEnds,
    private readonly takeovers: Takeovers,
    private readonly subscriptions: SubscriptionOwners,
    private readonly audit: AuditService,
    private readonly purgedIds: PurgedIds,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly config: Config,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('user');
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'purge_users',
      description: 'Removes deleted users after the retention time',
      everySeconds: 3600,
      run: (signal) => this.purge(signal),
    });
  }

  async get(userId: string): Promise<User> {
    return requireUser(await this.find(userId));
  }

  /** @throws {InvalidCredentials} for a caller who was deleted while the request was on its way */
  async getCaller(userId: string): Promise<User> {
    return requireCaller(await this.find(userId));
  }

  async find(userId: string): Promise<User | undefined> {
    return this.repository.findById(userId);
  }

  /** Users see themselves and members of their organizations; operators see everyone. @throws {UserNotFound} for others */
  async getVisible(userId: string, caller: Pick<UserPrincipal, 'userId' | 'operator'>): Promise<User> {
    const maySee = caller.userId === userId || caller.operator || (await this.repository.shareOrganization(caller.userId, userId));
    if (!maySee) throw new UserNotFound();
    return this.get(userId);
  }

  async findByEmail(email: string): Promise<User | undefined> {
    return this.repository.findByEmail(normaliseEmail(email));
  }

  async list({
    limit,
    cursor,
    search,
    ...filters
  }: UserFilters & { search?: string; limit: number; cursor?: string }): Promise<Page<User>> {
    const list = ['users', { search, ...filters }];
    const page = { limit: limit + 1, after: this.cursors.readTimeAndId(cursor, list) };
    const { rows, end } = await searchPage(search, limit, {
      list: (ids) => this.repository.list(filters, { ...page, ids }),
      scanNext: (words) => this.repository.scanNext(words, filters, page),
      findMatching: (words) => this.repository.findMatching(words),
    });
    return this.cursors.page(rows, { limit, list, end, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  async changeProfile(userId: string, changes: ProfileChanges, actor: Actor): Promise<User> {
    return this.db.transaction(async (tx) => {
      const before = requireCaller(await this.repository.lock(userId, tx));
      if (before.clerkUserId !== null) throw new ManagedByClerk();
      if (Object.values(changes).every((value) => value === undefined)) return before;
      const after = requireUser(await this.repository.update(userId, changes, tx));
      await this.record('user.updated', { id: userId }, { actor, before: profileOf(before), after: profileOf(after) }, tx);
      return after;
    });
  }

  /** Sets an address that the user has just verified. @throws {EmailTaken} when another user has verified it */
  async changeEmail(userId: string, email: string, actor: Actor, db: Queryable): Promise<User> {
    await this.lock(userId, db);
    await this.takeUnverifiedEmail(email, userId, actor, db);
    try {
      return requireUser(await this.repository.update(userId, { email, emailVerified: true, emailVerifiedAt: this.clock.now() }, db));
    } catch (error) {
      if (isUniqueViolation(error, 'users_email_key')) throw new EmailTaken();
      throw error;
    }
  }

  async verifyEmail(userId: string, email: string, db: Queryable): Promise<'verified' | 'already_verified' | 'other_email'> {
    const user = await this.repository.lock(userId, db);
    if (user?.email !== email) return 'other_email';
    if (user.emailVerified) return 'already_verified';
    await this.repository.update(userId, { emailVerified: true, emailVerifiedAt: this.clock.now() }, db);
    return 'verified';
  }

  async suspend(userId: string, actor: Actor): Promise<User> {
    if (userId === actor.id) throw new CannotSuspendSelf();
    return this.setSuspended(userId, true, actor);
  }

  async unsuspend(userId: string, actor: Actor): Promise<User> {
    return this.setSuspended(userId, false, actor);
  }

  async createVerified(person: { email: string; name: string }, db: Queryable): Promise<User> {
    try {
      return await this.repository.insert({ id: newId(), ...person, emailVerified: true, emailVerifiedAt: this.clock.now() }, db);
    } catch (error) {
      if (isUniqueViolation(error, 'users_email_key')) throw new EmailTaken();
      throw error;
    }
  }

  async setOperator(userId: string, operator: boolean): Promise<User> {
    return this.db.transaction(async (tx) => {
      const before = await this.lock(userId, tx);
      const after = requireUser(await this.repository.update(userId, { operator }, tx));
      await this.record(
        'user.operator_changed',
        { id: userId },
        { actor: SYSTEM, before: { operator: before.operator }, after: { operator } },
        tx,
      );
      return after;
    });
  }

  /** Deletes softly: all access ends at once, and the email is free again. @throws {LastAdmin} @throws {SubscriptionActive} */
  async delete(userId: string, { cancelSubscription }: { cancelSubscription: boolean }, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      // The same lock order as password resets and changes: the user last.
      await this.accounts.cancelVerifications(userId, tx);
      await this.sessions.endAll([userId], {}, tx);
      await this.accounts.removeAll([userId], tx);
      // Joining an organization takes the same lock, so no membership is missed.
      const before = await this.repository.lock(userId, tx);
      if (before === undefined) return;
      if (before.clerkUserId !== null) throw new ManagedByClerk();
      await this.subscriptions.cancelFor({ id: userId, clerkId: null }, { cancel: cancelSubscription }, tx);
      await this.membershipEnds.endAllOfUser(userId, actor, tx);
      await this.repository.markDeleted(userId, this.clock.now(), tx);
      await this.record('user.deleted', { id: userId }, { actor }, tx);
    });
  }

  /**
   * Deletes a user who never verified the address, at the request of its owner.
   * @returns the user's organizations, or undefined for a user who verified the address or has another one
   */
  async deleteUnverified(userId: string, email: string, actor: Actor, db: Queryable): Promise<{ organizationIds: string[] } | undefined> {
    await this.accounts.cancelVerifications(userId, db);
    await this.sessions.endAll([userId], {}, db);
    await this.accounts.removeAll([userId], db);
    const before = await this.repository.lock(userId, db);
    if (before === undefined || before.emailVerified || before.email !== email || before.clerkUserId !== null) return undefined;
    await this.subscriptions.cancelFor({ id: userId, clerkId: null }, { cancel: true }, db);
    await this.takeovers.endGrants(userId, actor, db);
    const organizationIds = await this.membershipEnds.endAllOfDeletedUser(userId, actor, db);
    await this.repository.markDeleted(userId, this.clock.now(), db);
    await this.record('user.sign_up_rejected', { id: userId }, { actor }, db);
    return { organizationIds };
  }

  /** Returns undefined for a deleted user. */
  async findOrCreateClerkStub(clerkUserId: string, db: Queryable): Promise<User | undefined> {
    const isNew = await this.repository.insertClerkUser({ id: newId(), clerkUserId }, db);
    const user = await this.repository.findByClerkId(clerkUserId, db);
    if (user === undefined || user.deletedAt !== null) return undefined;
    // Checked after the insert, which waits for a running purge.
    if (await this.purgedIds.has('clerk', 'user', clerkUserId, db)) {
      await this.repository.remove([user.id], db);
      return undefined;
    }
    if (isNew) await this.subscriptions.claimFor({ kind: 'user', id: user.id, clerkId: clerkUserId }, db);
    return user;
  }

  private async takeUnverifiedEmail(email: string, forUserId: string, actor: Actor, db: Queryable): Promise<void> {
    // In the lock order of deletions, the user last. A sign-up may take the address meanwhile.
    const found = await this.repository.listUnverifiedHolders(email, forUserId, db);
    await this.removeSignIn(found, db);
    const holders = await this.repository.releaseUnverifiedEmail(email, forUserId, db);
    const others = holders.filter((id) => !found.includes(id));
    await this.removeSignIn(others, db);
    for (const holder of holders) await this.takeovers.endGrantsAndNotify(holder, email, actor, db);
  }

  private async removeSignIn(userIds: string[], db: Queryable): Promise<void> {
    if (userIds.length === 0) return;
    await this.sessions.endAll(userIds, {}, db);
    await this.accounts.removeAll(userIds, db);
  }

  private async setSuspended(userId: string, suspended: boolean, actor: Actor): Promise<User> {
    return this.db.transaction(async (tx) => {
      const before = await this.lock(userId, tx);
      if ((before.suspendedAt !== null) === suspended) return before;
      const after = requireUser(await this.repository.update(userId, { suspendedAt: suspended ? this.clock.now() : null }, tx));
      const change = { before: { suspendedAt: before.suspendedAt }, after: { suspendedAt: after.suspendedAt } };
      await this.record(suspended ? 'user.suspended' : 'user.unsuspended', { id: userId }, { actor, ...change }, tx);
      if (suspended) await this.membershipEnds.endInvitationsSentByUser(userId, actor, tx);
      return after;
    });
  }

  private async lock(userId: string, db: Queryable): Promise<User> {
    return requireUser(await this.repository.lock(userId, db));
  }

  private async purge(signal: AbortSignal): Promise<number> {
    const before = daysBefore(this.clock.now(), this.config.purgeAfterDays);
    return sweepInSteps(signal, () => this.db.transaction((tx) => this.purgeSome(before, tx)));
  }

  /** Removes the rows of the users first, over as many transactions as they need. */
  private async purgeSome(before: Date, tx: Queryable): Promise<{ count: number; isLast: boolean }> {
    const purgeable = await this.repository.lockPurgeable(before, PURGED_AT_ONCE, tx);
    if (purgeable.length === 0) return { count: 0, isLast: true };
    const userIds = purgeable.map(({ id }) => id);
    const areEmpty = await removeAllKinds(BATCH, [
      (limit) => this.memberships.purge({ userIds }, limit, tx),
      (limit) => this.repository.removeSignIns(userIds, limit, tx),
      (limit) => this.audit.erase(userIds, limit, tx),
    ]);
    if (!areEmpty) return { count: 0, isLast: false };
    const clerkIds = purgeable.map(({ clerkUserId }) => clerkUserId);
    await this.purgedIds.add('clerk', 'user', clerkIds, tx);
    await this.subscriptions.pinOwners(userIds, tx);
    await this.repository.remove(userIds, tx);
    return { count: purgeable.length, isLast: purgeable.length < PURGED_AT_ONCE };
  }
}

function profileOf({ name, username, imageUrl }: User): object {
  return { name, username, imageUrl };
}

function requireCaller(user: User | undefined): User {
  if (user === undefined) throw new InvalidCredentials();
  return user;
}

function requireUser(user: User | undefined): User {
  if (user === undefined) throw new UserNotFound();
  return user;
}
