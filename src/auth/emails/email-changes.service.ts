import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Actor, UserPrincipal } from '../../access/principal.js';
import { trustedRedirect } from '../../access/trusted-redirect.js';
import { AccountsService } from '../../accounts/accounts.service.js';
import { SecurityMails } from '../../accounts/security-mails.service.js';
import { AuditService, type RecordChange } from '../../audit/audit.service.js';
import { ManagedByClerk } from '../../platform/problems/problems.errors.js';
import { lockNames } from '../../platform/database/locks.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import { SessionsService } from '../../sessions/sessions.service.js';
import { UsersService } from '../../users/users.service.js';
import { AuthMails } from '../mails/auth-mails.service.js';
import { InvalidToken, WrongPassword } from '../auth.errors.js';
import type { AuthRequest } from '../better-auth/auth-request.js';
import { confirmed, type LinkAnswer, LINK_PAGES, offered } from '../links/link-answers.js';
import { type LinkVisitor, LinkVisitors } from '../links/link-visitors.service.js';
import { LINK_LIFETIME_SECONDS, linkIdentifier, newLinkToken } from '../links/mail-link.js';
import { PasswordAttempts } from '../passwords/password-attempts.service.js';
import { Passwords } from '../passwords/passwords.service.js';
import type { ChangeEmailRequest } from './emails.dto.js';

const KIND = 'auth.email_change_requested';
const PREFIX = 'change-email:';

interface EmailChange {
  userId: string;
  sessionId: string;
  newEmail: string;
  callbackURL?: string;
}

interface MailedChange extends EmailChange {
  /** Absent in entries of version 0.1. */
  token?: string;
}

/** Changes a user's email after a link in a mail to the new address proves that it is theirs. */
@Injectable()
export class EmailChanges implements OnModuleInit {
  private readonly record: RecordChange;

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
    audit: AuditService,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('user');
  }

  onModuleInit(): void {
    this.outbox.handle(KIND, (payload) => this.send(payload as MailedChange));
  }

  /**
   * Mails a link to the new address. The outbox checks later whether the address is free, so that the response does not
   * reveal who has an account.
   */
  async request(caller: UserPrincipal, { newEmail, currentPassword, ...body }: ChangeEmailRequest, request: AuthRequest): Promise<void> {
    const callbackURL = trustedRedirect(this.config, body.callbackURL);
    const user = await this.users.getCaller(caller.userId);
    if (user.clerkUserId !== null) throw new ManagedByClerk();
    const hash = (await this.accounts.list(user.id)).find(({ provider }) => provider === 'credential')?.passwordHash;
    if (hash != null)
      await this.attempts.run({ sessionId: caller.sessionId }, request, async () => {
        if (!(await this.passwords.verify(hash, currentPassword ?? ''))) throw new WrongPassword();
      });
    const token = newLinkToken();
    const change: EmailChange = { userId: user.id, sessionId: caller.sessionId, newEmail, callbackURL };
    await this.db.transaction(async (tx) => {
      // Only the newest link works, so that a link to a mistyped address ends.
      await lockNames('email change', [user.id], tx);
      await this.mails.reserveEmailChange(newEmail, user.id, tx);
      await this.accounts.cancelVerificationsOfKind(user.id, PREFIX, tx);
      await this.storeLink(token, change, tx);
      await this.outbox.enqueue(KIND, { ...change, token } satisfies MailedChange, tx);
      await this.record('user.email_change_requested', user, { actor: caller.actor, after: { email: newEmail } }, tx);
    });
  }

  /** Opens a link. It acts in the session that requested it. Other visitors get a page to confirm. */
  async open(token: string, visitor: LinkVisitor): Promise<LinkAnswer> {
    const change = await this.find(token);
    const isRequester = this.visitors.isRequester(visitor, change);
    if (!visitor.mayActOnOpening || !isRequester) return offered(LINK_PAGES.emailChange, { token, needsPassword: !isRequester });
    return this.confirm({ token }, visitor);
  }

  /**
   * Uses a link: changes the email and ends all other sessions. The link works only as long as the session that
   * requested it, so that a reset or a new password also cancels the links of an intruder.
   * @throws {EmailTaken} when another user has proved the address meanwhile
   */
  async confirm({ token, password }: { token: string; password?: string }, visitor: LinkVisitor): Promise<LinkAnswer> {
    const change = await this.find(token);
    await this.visitors.authorize(visitor, change, password);
    await this.db.transaction((tx) => this.apply(change, linkIdentifier(PREFIX, token), visitor.request.origin, tx));
    return confirmed(LINK_PAGES.emailChange, change.callbackURL);
  }

  /** @throws {InvalidToken} also when the requesting session has ended */
  private async find(token: string): Promise<EmailChange> {
    const stored = await this.accounts.findVerification(linkIdentifier(PREFIX, token));
    if (stored === undefined) throw new InvalidToken();
    const change = JSON.parse(stored) as EmailChange;
    if (!(await this.sessions.isLive(change.userId, change.sessionId))) throw new InvalidToken();
    return change;
  }

  private async apply(
    { userId, sessionId, newEmail }: EmailChange,
    identifier: string,
    origin: Pick<Actor, 'requestId' | 'ipAddress'>,
    tx: Queryable,
  ): Promise<void> {
    // Cancels all links of the user, this one included, so that only one of many parallel requests succeeds.
    const cancelled = await this.accounts.cancelVerifications(userId, tx);
    if (!cancelled.has(identifier) || !(await this.sessions.lockLiveSession(userId, sessionId, tx))) throw new InvalidToken();
    const before = await this.users.get(userId);
    const actor: Actor = { kind: 'user', id: userId, ...origin };
    await this.users.changeEmail(userId, newEmail, actor, tx);
    const change = { before: { email: before.email }, after: { email: newEmail } };
    await this.record('user.email_changed', { id: userId }, { actor, ...change }, tx);
    await this.sessions.endAll([userId], { except: sessionId }, tx);
    if (before.email !== null && before.email !== newEmail) await this.securityMails.sendEmailChanged(before.email, tx);
  }

  private async send({ token: sentToken, ...change }: MailedChange): Promise<void> {
    const holder = await this.users.findByEmail(change.newEmail);
    if (holder?.emailVerified === true && holder.id !== change.userId) return;
    const isCancelled = sentToken !== undefined && (await this.accounts.findVerification(linkIdentifier(PREFIX, sentToken))) === undefined;
    if (isCancelled || (await this.users.find(change.userId)) === undefined) return;
    const token = sentToken ?? newLinkToken();
    const url = `${this.config.publicUrl}${LINK_PAGES.emailChange.action}?token=${token}`;
    await this.db.transaction(async (tx) => {
      if (sentToken === undefined) await this.storeLink(token, change, tx);
      await this.mails.sendEmailChange(change.newEmail, url, tx);
    });
  }

  private async storeLink(token: string, change: EmailChange, db: Queryable): Promise<void> {
    const link = { identifier: linkIdentifier(PREFIX, token), userId: change.userId, value: JSON.stringify(change) };
    await this.accounts.storeVerification({ ...link, lifetimeSeconds: LINK_LIFETIME_SECONDS }, db);
  }
}
