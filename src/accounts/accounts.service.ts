import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { newId } from '../platform/crypto/ids.js';
import { renewInBatches, sweepInBatches } from '../platform/queue/sweep.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import { AccountNotFound, LastAccount } from './accounts.errors.js';
import { AccountsRepository } from './accounts.repository.js';
import type { Account } from './accounts.table.js';
import { ProviderTokens } from './provider-tokens.service.js';
import { SecurityMails } from './security-mails.service.js';
import { SystemClock } from '../platform/time/clock.service.js';

export interface StoredVerification {
  identifier: string;
  userId: string;
  value: string;
  lifetimeSeconds: number;
}

/** The ways to sign in, and the verifications of links in mails. Better Auth creates the accounts. */
@Injectable()
export class AccountsService implements OnModuleInit {
  constructor(
    private readonly repository: AccountsRepository,
    private readonly providerTokens: ProviderTokens,
    private readonly audit: AuditService,
    private readonly securityMails: SecurityMails,
    private readonly jobs: JobsService,
    private readonly clock: SystemClock,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'expire_verifications',
      description: 'Removes one-time tokens that have expired',
      everySeconds: 300,
      run: (signal) => sweepInBatches(signal, (limit) => this.repository.deleteExpiredVerifications(limit)),
    });
  }

  async list(userId: string): Promise<Account[]> {
    return this.repository.listOfUser(userId);
  }

  /** @throws {AccountNotFound} @throws {LastAccount} when no way to sign in would be left */
  async unlink(userId: string, accountId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const all = await this.repository.lockOfUser(userId, tx);
      const account = all.find(({ id }) => id === accountId);
      if (account === undefined) throw new AccountNotFound();
      if (all.length === 1) throw new LastAccount();
      await this.repository.delete(userId, accountId, tx);
      const before = { provider: account.provider, providerAccountId: account.providerAccountId };
      await this.audit.record({ actor, action: 'account.unlinked', target: { type: 'account', id: accountId }, before }, tx);
      await this.securityMails.sendMethodRemoved(userId, account.provider, tx);
    });
  }

  async addPassword(userId: string, passwordHash: string, db: Queryable): Promise<void> {
    await this.repository.insert({ id: newId(), userId, provider: 'credential', providerAccountId: userId, passwordHash }, db);
  }

  async removeAll(userIds: string[], db: Queryable): Promise<void> {
    if (userIds.length === 0) return;
    // A locked one is about to be used: that waits for this transaction, and then finds no account.
    await this.repository.deleteVerificationsOfUsers(userIds, db, { skipLocked: true });
    await this.repository.deleteOfUsers(userIds, db);
  }

  /** Moves accounts to the user that the old one is merged into. Returns their ids. */
  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    const owners = 'ids' in which ? await this.repository.ownersOf(which.ids, db) : [which.ofUser];
    const moved = await this.repository.move(which, toUserId, db);
    await this.repository.markOldestPasswords([...owners, toUserId], db);
    return moved;
  }

  /** Invalidates every link that was mailed to a user. Call it before sessions, accounts and the user are locked. */
  async cancelVerifications(userId: string, db: Queryable): Promise<Set<string>> {
    return new Set(await this.repository.deleteVerificationsOfUsers([userId], db));
  }

  async cancelVerificationsOfKind(userId: string, prefix: string, db: Queryable): Promise<void> {
    await this.repository.deleteVerificationsOfKind(userId, prefix, db);
  }

  async storeVerification({ lifetimeSeconds, ...verification }: StoredVerification, db: Queryable): Promise<void> {
    const expiresAt = new Date(this.clock.now().getTime() + lifetimeSeconds * 1000);
    await this.repository.insertVerification({ id: newId(), ...verification, expiresAt }, db);
  }

  async findVerification(identifier: string): Promise<string | undefined> {
    return this.repository.findVerification(identifier);
  }

  async lockVerification(identifier: string, db: Queryable): Promise<boolean> {
    return this.repository.lockVerification(identifier, db);
  }

  /** Encrypts all provider tokens under the newest key, so that older keys can be removed. Returns the number of accounts. */
  async renewEncryption(): Promise<number> {
    return renewInBatches(
      this.db,
      (limit, tx) => this.repository.lockUnderOlderKeys(this.providerTokens.keyId, limit, tx),
      (account, tx) => this.repository.updateTokens(this.providerTokens.reencrypt(account), tx),
    );
  }
}
