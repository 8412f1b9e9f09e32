import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { AccountsService } from '../accounts/accounts.service.js';
import { Cursors, type Page } from '../common/cursors.js';
import { newId } from '../common/ids.js';
import { sweepInBatches } from '../common/sweep.js';
import { Config } from '../config/config.js';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { isUniqueViolation } from '../database/database-errors.js';
import { JobsService } from '../jobs/jobs.service.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { CannotSuspendSelf, EmailTaken, ManagedByClerk, UserNotFound } from './users.errors.js';
import { type UserFilters, UsersRepository } from './users.repository.js';
import type { User } from './users.table.js';

export interface ProfileChanges {
  name?: string;
  username?: string | null;
  imageUrl?: string | null;
}

@Injectable()
export class UsersService implements OnModuleInit {
  constructor(
    private readonly repository: UsersRepository,
    private readonly accounts: AccountsService,
    private readonly sessions: SessionsService,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly config: Config,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'purge_users',
      description: 'Removes users whose deletion is older than the retention time',
      everySeconds: 3600,
      run: (signal) => this.purge(signal),
    });
  }

  /** @throws {UserNotFound} */
  async get(userId: string): Promise<User> {
    const user = await this.repository.findById(userId);
    if (user === undefined) throw new UserNotFound();
    return user;
  }

  /**
   * A user as somebody else may see them: oneself and operators.
   *
   * @throws {UserNotFound} also for a user that the caller may not see
   */
  async getVisible(userId: string, caller: { userId: string; operator: boolean }): Promise<User> {
    if (caller.userId !== userId && !caller.operator) throw new UserNotFound();
    return this.get(userId);
  }

  async findByEmail(email: string): Promise<User | undefined> {
    return this.repository.findByEmail(email.trim().toLowerCase());
  }

  async list({ limit, cursor, ...filters }: UserFilters & { limit: number; cursor?: string }): Promise<Page<User>> {
    const list = ['users', filters];
    const position = this.cursors.read(cursor, list);
    const after = position && { createdAt: String(position[0]), id: String(position[1]) };
    const rows = await this.repository.list(filters, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /** @throws {ManagedByClerk} */
  async changeProfile(userId: string, changes: ProfileChanges): Promise<User> {
    const user = await this.getLocal(userId);
    const isChanged = Object.values(changes).some((value) => value !== undefined);
    return isChanged ? found(await this.repository.update(userId, changes)) : user;
  }

  /**
   * Gives a user an address that was just proved to be theirs.
   *
   * @throws {EmailTaken} when another user has proved it
   */
  async changeEmail(userId: string, email: string, db: Queryable): Promise<User> {
    await this.takeUnprovedEmail(email, userId, db);
    try {
      return found(await this.repository.update(userId, { email, emailVerified: true, emailVerifiedAt: new Date() }, db));
    } catch (error) {
      if (isUniqueViolation(error, 'users_email_key')) throw new EmailTaken();
      throw error;
    }
  }

  /** Idempotent. @throws {UserNotFound} @throws {CannotSuspendSelf} */
  async suspend(userId: string, caller: { userId: string }): Promise<User> {
    if (userId === caller.userId) throw new CannotSuspendSelf();
    const user = await this.get(userId);
    return user.suspendedAt === null ? found(await this.repository.update(userId, { suspendedAt: new Date() })) : user;
  }

  /** Idempotent. @throws {UserNotFound} */
  async unsuspend(userId: string): Promise<User> {
    return found(await this.repository.update(userId, { suspendedAt: null }));
  }

  /** @throws {EmailTaken} */
  async createVerified(person: { email: string; name: string }, db: Queryable): Promise<User> {
    try {
      return await this.repository.insert({ id: newId(), ...person, emailVerified: true, emailVerifiedAt: new Date() }, db);
    } catch (error) {
      if (isUniqueViolation(error, 'users_email_key')) throw new EmailTaken();
      throw error;
    }
  }

  async setOperator(userId: string, operator: boolean): Promise<User> {
    return found(await this.repository.update(userId, { operator }));
  }

  /**
   * Deletes softly: every way in fails at once and the email is free again; the purge removes the row later.
   *
   * @throws {ManagedByClerk}
   */
  async delete(userId: string): Promise<void> {
    await this.getLocal(userId);
    await this.db.transaction(async (tx) => {
      found(await this.repository.markDeleted(userId, tx));
      await this.accounts.removeAll([userId], tx);
      await this.sessions.endAll([userId], {}, tx);
    });
  }

  /** Makes the row of a Clerk user met by its token; undefined for one that is dead. */
  async meetClerkUser(clerkUserId: string, db: Queryable): Promise<User | undefined> {
    if (await this.repository.wasPurged(clerkUserId, db)) return undefined;
    await this.repository.insertClerkUser({ id: newId(), clerkUserId }, db);
    const user = await this.repository.findByClerkId(clerkUserId, db);
    return user === undefined || user.deletedAt !== null ? undefined : user;
  }

  /** Nobody sits on another's address: who proves it takes it from whoever never did, and ends their ways in. */
  private async takeUnprovedEmail(email: string, forUserId: string, db: Queryable): Promise<void> {
    const squatters = await this.repository.releaseUnprovedEmail(email, forUserId, db);
    await this.accounts.removeAll(squatters, db);
    await this.sessions.endAll(squatters, {}, db);
  }

  private async getLocal(userId: string): Promise<User> {
    const user = await this.get(userId);
    if (user.clerkUserId !== null) throw new ManagedByClerk();
    return user;
  }

  private async purge(signal: AbortSignal): Promise<number> {
    const before = new Date(Date.now() - this.config.purgeAfterDays * 86_400_000);
    return sweepInBatches(signal, (limit) => this.db.transaction((tx) => this.repository.purge(before, limit, tx)), 100);
  }
}

function found(user: User | undefined): User {
  if (user === undefined) throw new UserNotFound();
  return user;
}
