import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Request } from 'express';
import type { Actor, Principal } from '../../access/principal.js';
import { trustedRedirect } from '../../access/trusted-redirect.js';
import { AccountsService } from '../../accounts/accounts.service.js';
import { SecurityMails } from '../../accounts/security-mails.service.js';
import { AuditService } from '../../audit/audit.service.js';
import { ManagedByClerk } from '../../platform/problems/problems.errors.js';
import { lockNames } from '../../platform/database/locks.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import { SessionsService } from '../../sessions/sessions.service.js';
import { UsersService } from '../../users/users.service.js';
import { AuthMails } from '../mails/auth-mails.service.js';
import type { ChangeEmailRequest } from '../auth.dto.js';
import { InvalidToken, WrongPassword } from '../auth.errors.js';
import { confirmed, type LinkAnswer, LINK_PAGES, offered } from '../links/link-answers.js';
import { type LinkVisitor, LinkVisitors } from '../links/link-visitors.service.js';
import { LINK_LIFETIME_SECONDS, linkIdentifier, newLinkToken } from '../links/mail-link.js';
import { PasswordAttempts } from '../passwords/password-attempts.service.js';
import { Passwords } from '../passwords/passwords.service.js';

const KIND = 'auth.email_change_requested';
const PREFIX = 'change-email:';

interface EmailChange {
  userId: string;
  /** It stays signed in. */
  sessionId: string;
  newEmail: string;
  callbackURL?: string;
}

interface MailedChange extends EmailChange {
  /** Absent in entries of version 0.1. */
  token?: string;
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
    private readonly visitors: LinkVisitors,
    private readonly securityMails: SecurityMails,
    private readonly audit: AuditService,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(KIND, (payload) => this.send(payload as MailedChange));
  }

  /**
   * Sends a link to the new address; only following it changes anything. Whether the address is free is
   * found out afterwards, so that the answer tells nobody who has an account.
   *
   * @throws {WrongPassword} for a user with a password who did not give it
   * @throws {RateLimited} for too many wrong passwords, or too many mails
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
    const token = newLinkToken();
    const change: EmailChange = { userId: user.id, sessionId: caller.sessionId, newEmail, callbackURL };
    await this.db.transaction(async (tx) => {
      // The newest request alone counts: a link to a mistyped address ends here.
      await lockNames('email change', [user.id], tx);
      await this.mails.reserveEmailChange(newEmail, user.id, tx);
      await this.accounts.cancelVerificationsOfKind(user.id, PREFIX, tx);
      await this.keep(token, change, tx);
      await this.outbox.enqueue(KIND, { ...change, token } satisfies MailedChange, tx);
      await this.record('user.email_change_requested', user.id, caller.actor, { after: { email: newEmail } }, tx);
    });
  }

  /**
   * Follows a link. It acts in the session that asked for it; anybody else gets a page to confirm.
   *
   * @throws {InvalidToken}
   * @throws {EmailTaken} when somebody else has proved the address meanwhile
   */
  async open(token: string, visitor: LinkVisitor): Promise<LinkAnswer> {
    const change = await this.find(token);
    const hasAsked = this.visitors.hasAsked(visitor, change);
    if (!visitor.mayActOnOpening || !hasAsked) return offered(LINK_PAGES.emailChange, { token, needsPassword: !hasAsked });
    return this.confirm({ token }, visitor);
  }

  /**
   * Spends the link that went to the new address: the address is theirs now, and all other sessions end.
   * The link dies with the session that asked for it, so that whatever throws an intruder out (a reset, a
   * new password, the end of their session) takes the links along that they ordered.
   *
   * @throws {InvalidToken}
   * @throws {LinkProofRequired}
   * @throws {WrongPassword}
   * @throws {EmailTaken} when somebody else has proved the address meanwhile
   */
  async confirm({ token, password }: { token: string; password?: string }, visitor: LinkVisitor): Promise<LinkAnswer> {
    const change = await this.find(token);
    await this.visitors.authorize(visitor, change, password);
    await this.db.transaction((tx) => this.apply(change, linkIdentifier(PREFIX, token), visitor.origin, tx));
    return confirmed(LINK_PAGES.emailChange, change.callbackURL);
  }

  /** @throws {InvalidToken} also when the session that asked has ended */
  private async find(token: string): Promise<EmailChange> {
    const kept = await this.accounts.findVerification(linkIdentifier(PREFIX, token));
    if (kept === undefined) throw new InvalidToken();
    const change = JSON.parse(kept) as EmailChange;
    if (!(await this.sessions.isLive(change.userId, change.sessionId))) throw new InvalidToken();
    return change;
  }

  private async apply(
    { userId, sessionId, newEmail }: EmailChange,
    identifier: string,
    origin: Pick<Actor, 'requestId' | 'ipAddress'>,
    tx: Queryable,
  ): Promise<void> {
    // All links of the user end, this one too: of many who confirm at once one finds it.
    const cancelled = await this.accounts.cancelVerifications(userId, tx);
    if (!cancelled.has(identifier) || !(await this.sessions.lockLiveSession(userId, sessionId, tx))) throw new InvalidToken();
    const before = await this.users.get(userId);
    const actor: Actor = { kind: 'user', id: userId, ...origin };
    await this.users.changeEmail(userId, newEmail, actor, tx);
    const change = { before: { email: before.email }, after: { email: newEmail } };
    await this.record('user.email_changed', userId, actor, change, tx);
    await this.sessions.endAll([userId], { except: sessionId }, tx);
    if (before.email !== null && before.email !== newEmail) await this.securityMails.sendEmailChanged(before.email, tx);
  }

  private async send({ token: kept, ...change }: MailedChange): Promise<void> {
    const holder = await this.users.findByEmail(change.newEmail);
    if (holder?.emailVerified === true && holder.id !== change.userId) return;
    const isCancelled = kept !== undefined && (await this.accounts.findVerification(linkIdentifier(PREFIX, kept))) === undefined;
    if (isCancelled || (await this.users.find(change.userId)) === undefined) return;
    const token = kept ?? newLinkToken();
    const url = `${this.config.publicUrl}${LINK_PAGES.emailChange.action}?token=${token}`;
    await this.db.transaction(async (tx) => {
      if (kept === undefined) await this.keep(token, change, tx);
      await this.mails.sendEmailChange(change.newEmail, url, tx);
    });
  }

  private async keep(token: string, change: EmailChange, db: Queryable): Promise<void> {
    const kept = { identifier: linkIdentifier(PREFIX, token), userId: change.userId, value: JSON.stringify(change) };
    await this.accounts.keepVerification({ ...kept, lifetimeSeconds: LINK_LIFETIME_SECONDS }, db);
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
