import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { trustedRedirect } from '../../access/trusted-redirect.js';
import { AccountsService } from '../../accounts/accounts.service.js';
import { AuditService } from '../../audit/audit.service.js';
import { Config } from '../../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { OrganizationsService } from '../../organizations/organizations.service.js';
import { OutboxService } from '../../outbox/outbox.service.js';
import { UsersService } from '../../users/users.service.js';
import { AuthMails } from '../mails/auth-mails.service.js';
import { EmailAlreadyVerified, InvalidToken } from '../auth.errors.js';
import { readLegacyToken } from './legacy-verification-links.js';
import { confirmed, type LinkAnswer, LINK_PAGES, offered, refusedTo } from '../links/link-answers.js';
import { type LinkVisitor, LinkVisitors } from '../links/link-visitors.service.js';
import { LINK_LIFETIME_SECONDS, linkIdentifier, type LinkOwner, newLinkToken } from '../links/mail-link.js';

/** Permanent: entries of earlier versions may wait in the outbox. */
const REQUESTED = 'auth.verification_requested';
const PREFIX = 'verify-email:';

export interface VerificationRequest {
  email: string;
  callbackURL?: string;
  /** The session that asks, if one does. */
  sessionId?: string;
}

interface VerificationLink extends LinkOwner {
  email: string;
  /** Null for a link of an earlier version, which left no row. */
  identifier: string | null;
}

interface LinkRequest {
  token: string;
  callbackURL?: string;
  password?: string;
}

/** Proves that the address of an account is its owner's, by a link in a mail (docs/decisions/0024). */
@Injectable()
export class EmailVerifications implements OnModuleInit {
  constructor(
    private readonly config: Config,
    private readonly mails: AuthMails,
    private readonly outbox: OutboxService,
    private readonly users: UsersService,
    private readonly accounts: AccountsService,
    private readonly organizations: OrganizationsService,
    private readonly visitors: LinkVisitors,
    private readonly audit: AuditService,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(REQUESTED, (payload) => this.send(payload as VerificationRequest));
  }

  /** Sends a link later, if there is such a user whose address is not proved: the caller learns nothing of it. */
  async request(request: VerificationRequest, db?: Queryable): Promise<void> {
    await this.outbox.enqueue(REQUESTED, request, db);
  }

  /**
   * Follows a link. It acts in the session that asked for it; anybody else gets a page to confirm.
   *
   * @throws {InvalidToken} unless there is a page to tell of it
   * @throws {UntrustedRedirect}
   */
  async open({ token, callbackURL }: LinkRequest, visitor: LinkVisitor): Promise<LinkAnswer> {
    const continueTo = trustedRedirect(this.config, callbackURL);
    const link = await this.find(token);
    if (link === undefined) {
      if (continueTo !== undefined) return refusedTo(continueTo, 'INVALID_TOKEN');
      throw new InvalidToken();
    }
    if (await this.isProved(link)) return confirmed(LINK_PAGES.verification, continueTo);
    const hasAsked = this.visitors.hasAsked(visitor, link);
    if (!visitor.mayActOnOpening || !hasAsked)
      return offered(LINK_PAGES.verification, { token, callbackURL: continueTo, needsPassword: !hasAsked });
    await this.visitors.authorize(visitor, link, undefined);
    await this.prove(link, visitor);
    return confirmed(LINK_PAGES.verification, continueTo);
  }

  /**
   * Confirms a link, in the session that asked for it or with the password. A second time changes nothing.
   *
   * @throws {InvalidToken}
   * @throws {LinkProofRequired}
   * @throws {WrongPassword}
   */
  async confirm({ token, callbackURL, password }: LinkRequest, visitor: LinkVisitor): Promise<LinkAnswer> {
    const continueTo = trustedRedirect(this.config, callbackURL);
    const link = await this.find(token);
    if (link === undefined) throw new InvalidToken();
    await this.visitors.authorize(visitor, link, password);
    await this.prove(link, visitor);
    return confirmed(LINK_PAGES.verification, continueTo);
  }

  /**
   * Removes an account that somebody else made with the address of whoever got the mail. What it owns is handled
   * as by a deletion; an organization without any other member goes with it.
   *
   * @throws {InvalidToken}
   * @throws {EmailAlreadyVerified}
   */
  async reject({ token }: Pick<LinkRequest, 'token'>, visitor: LinkVisitor): Promise<LinkAnswer> {
    const link = await this.find(token);
    if (link === undefined) throw new InvalidToken();
    const actor = { kind: 'system' as const, id: null, ...visitor.origin };
    await this.db.transaction(async (tx) => {
      const outcome = await this.users.deleteUnproved(link.userId, link.email, actor, tx);
      if (outcome === undefined) throw new EmailAlreadyVerified();
      await this.organizations.deleteDeserted(outcome.organizationIds, actor, tx);
    });
    return confirmed(LINK_PAGES.rejection, undefined);
  }

  private async prove(link: VerificationLink, { origin }: LinkVisitor): Promise<void> {
    await this.db.transaction(async (tx) => {
      // Not spent: following it again says the same. But whatever cancels links, has cancelled this one.
      if (link.identifier !== null && !(await this.accounts.holdVerification(link.identifier, tx))) throw new InvalidToken();
      const outcome = await this.users.proveEmail(link.userId, link.email, tx);
      if (outcome === 'another email') throw new InvalidToken();
      if (outcome === 'proved before') return;
      const actor = { kind: 'user' as const, id: link.userId, ...origin };
      await this.audit.record({ actor, action: 'user.email_verified', target: { type: 'user', id: link.userId } }, tx);
    });
  }

  /** Undefined for a link that is unknown, expired or of an address that is no longer the account's. */
  private async find(token: string): Promise<VerificationLink | undefined> {
    const link = await this.read(token);
    const user = link && (await this.users.find(link.userId));
    return user?.email === link?.email && user?.clerkUserId === null ? link : undefined;
  }

  private async read(token: string): Promise<VerificationLink | undefined> {
    const identifier = linkIdentifier(PREFIX, token);
    const kept = await this.accounts.findVerification(identifier);
    if (kept !== undefined) return { ...(JSON.parse(kept) as Omit<VerificationLink, 'identifier'>), identifier };
    const legacy = token.split('.').length === 3 ? await readLegacyToken(token, this.config.authSecret) : undefined;
    return legacy && { ...legacy, sessionId: null, identifier: null };
  }

  private async isProved({ userId }: VerificationLink): Promise<boolean> {
    return (await this.users.find(userId))?.emailVerified === true;
  }

  private async send({ email, callbackURL, sessionId }: VerificationRequest): Promise<void> {
    const user = await this.users.findByEmail(email);
    // Clerk proves the addresses of its people.
    if (user === undefined || user.emailVerified || user.clerkUserId !== null) return;
    const token = newLinkToken();
    const url = new URL(`${this.config.publicUrl}${LINK_PAGES.verification.action}`);
    url.searchParams.set('token', token);
    if (callbackURL !== undefined && callbackURL !== '/') url.searchParams.set('callbackURL', callbackURL);
    const value = JSON.stringify({ userId: user.id, email, sessionId: sessionId ?? null });
    await this.db.transaction(async (tx) => {
      const kept = { identifier: linkIdentifier(PREFIX, token), userId: user.id, value, lifetimeSeconds: LINK_LIFETIME_SECONDS };
      await this.accounts.keepVerification(kept, tx);
      await this.mails.sendVerification(email, url.href, tx);
    });
  }
}
