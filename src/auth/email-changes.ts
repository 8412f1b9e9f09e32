import { createHash, randomBytes } from 'node:crypto';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Request } from 'express';
import type { Actor, Principal } from '../access/principal.js';
import { trustedRedirect } from '../access/trusted-redirect.js';
import { AccountsService } from '../accounts/accounts.service.js';
import { AuditService } from '../audit/audit.service.js';
import { ManagedByClerk } from '../common/common.errors.js';
import { Config } from '../config/config.js';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { SessionsService } from '../sessions/sessions.service.js';
import { UsersService } from '../users/users.service.js';
import { AuthMails } from './auth-mails.js';
import type { ChangeEmailRequest } from './auth.dto.js';
import { InvalidToken, WrongPassword } from './auth.errors.js';
import { AUTH_BASE_PATH, LINK_LIFETIME_SECONDS } from './better-auth.js';
import { PasswordAttempts } from './password-attempts.js';
import { Passwords } from './passwords.js';

const KIND = 'auth.email_change_requested';

interface EmailChange {
  userId: string;
  /** It stays signed in. */
  sessionId: string;
  newEmail: string;
  callbackURL?: string;
}

/** Giving a user another email address: asked for here, proved by a link to the new one. */
@Injectable()
export class EmailChanges implements OnModuleInit {
  constructor(
    private readonly config: Config,
    private readonly passwords: Passwords,
    private readonly attempts: PasswordAttempts,
    private readonly mails: AuthMails,
    private readonly outbox: OutboxService,
    private readonly users: UsersService,
    private readonly accounts: AccountsService,
    private readonly sessions: SessionsService,
    private readonly audit: AuditService,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(KIND, (payload) => this.send(payload as EmailChange));
  }

  /**
   * Sends a link to the new address; only following it changes anything. Whether the address is free is
   * found out afterwards, so that the answer tells nobody who has an account.
   *
   * @throws {WrongPassword} for a user with a password who did not give it
   * @throws {RateLimited} for too many wrong passwords
   * @throws {ManagedByClerk}
   */
  async request(caller: Principal, { newEmail, currentPassword, ...given }: ChangeEmailRequest, request: Request): Promise<void> {
    const callbackURL = trustedRedirect(this.config, given.callbackURL);
    const user = await this.users.get(caller.userId);
    if (user.clerkUserId !== null) throw new ManagedByClerk();
    const hash = (await this.accounts.list(user.id)).find(({ provider }) => provider === 'credential')?.passwordHash;
    if (hash != null)
      await this.attempts.run({ sessionId: caller.sessionId }, request, async () => {
        if (!(await this.passwords.verify(hash, currentPassword ?? ''))) throw new WrongPassword();
      });
    const change: EmailChange = { userId: user.id, sessionId: caller.sessionId, newEmail, callbackURL };
    await this.db.transaction(async (tx) => {
      await this.outbox.enqueue(KIND, change, tx);
      await this.record('user.email_change_requested', user.id, caller.actor, { after: { email: newEmail } }, tx);
    });
  }

  /**
   * Spends the link that went to the new address: the address is theirs now, and all other sessions end.
   * The link dies with the session that asked for it, so that whatever throws an intruder out (a reset, a
   * new password, the end of their session) takes the links along that they ordered.
   *
   * @returns where to send the browser, if the request said so
   * @throws {InvalidToken}
   * @throws {EmailTaken} when somebody else has proved the address meanwhile
   */
  async confirm(token: string, origin: Pick<Actor, 'requestId' | 'ipAddress'>): Promise<string | undefined> {
    return this.db.transaction(async (tx) => {
      const kept = await this.accounts.spendVerification(identifierOf(token), tx);
      if (kept === undefined) throw new InvalidToken();
      const { userId, sessionId, newEmail, callbackURL } = JSON.parse(kept) as EmailChange;
      // Resets first, then the session: a reset that is under way takes its locks in this order.
      await this.accounts.cancelVerifications(userId, tx);
      if (!(await this.sessions.holdLive(userId, sessionId, tx))) throw new InvalidToken();
      const before = await this.users.get(userId);
      const actor: Actor = { kind: 'user', id: userId, ...origin };
      await this.users.changeEmail(userId, newEmail, actor, tx);
      const change = { before: { email: before.email }, after: { email: newEmail } };
      await this.record('user.email_changed', userId, actor, change, tx);
      await this.sessions.endAll([userId], { except: sessionId }, tx);
      if (before.email !== null && before.email !== newEmail)
        await this.mails.sendEmailChanged({ name: before.name, email: before.email, emailVerified: before.emailVerified }, tx);
      return callbackURL;
    });
  }

  private async send(change: EmailChange): Promise<void> {
    const holder = await this.users.findByEmail(change.newEmail);
    if (holder?.emailVerified === true && holder.id !== change.userId) return;
    if ((await this.users.find(change.userId)) === undefined) return;
    const token = randomBytes(24).toString('base64url');
    const url = `${this.config.publicUrl}${AUTH_BASE_PATH}/change-email/confirm?token=${token}`;
    await this.db.transaction(async (tx) => {
      await this.accounts.keepVerification(identifierOf(token), JSON.stringify(change), LINK_LIFETIME_SECONDS, tx);
      await this.mails.sendEmailChange(change.newEmail, url, change.userId, tx);
    });
  }

  private async record(
    action: string,
    id: string,
    actor: Actor,
    change: { before?: object; after?: object },
    db: Queryable,
  ): Promise<void> {
    await this.audit.record({ actor, action, target: { type: 'user', id }, ...change }, db);
  }
}

function identifierOf(token: string): string {
  return `change-email:${createHash('sha256').update(token).digest('base64url')}`;
}
