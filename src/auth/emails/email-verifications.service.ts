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
import { confirmed, type LinkAnswer, LINK_PAGES, offered, redirectWithError } from '../links/link-answers.js';
import { type LinkVisitor, LinkVisitors } from '../links/link-visitors.service.js';
import { LINK_LIFETIME_SECONDS, linkIdentifier, type LinkOwner, newLinkToken } from '../links/mail-link.js';

/** Permanent: entries of earlier versions may wait in the outbox. */
const REQUESTED = 'auth.verification_requested';
const PREFIX = 'verify-email:';

export interface VerificationRequest {
  email: string;
  callbackURL?: string;
  sessionId?: string;
}

interface VerificationLink extends LinkOwner {
  email: string;
  /** Null for a link of a version before 0.2, which stored no row. */
  identifier: string | null;
}

interface LinkRequest {
  token: string;
  callbackURL?: string;
  password?: string;
}

/** Verifies the email of an account by a link in a mail (docs/decisions/0024). */
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

  /** Mails a link if there is an unverified user. The outbox checks that later, so that the caller learns nothing. */
  async request(request: VerificationRequest, db?: Queryable): Promise<void> {
    await this.outbox.enqueue(REQUESTED, request, db);
  }

  /** Opens a link. It acts in the session that requested it. Other visitors get a page to confirm. */
  async open({ token, callbackURL }: LinkRequest, visitor: LinkVisitor): Promise<LinkAnswer> {
    const continueTo = trustedRedirect(this.config, callbackURL);
    const link = await this.find(token);
    if (link === undefined) {
      if (continueTo !== undefined) return redirectWithError(continueTo, 'INVALID_TOKEN');
      throw new InvalidToken();
    }
    if (await this.isVerified(link)) return confirmed(LINK_PAGES.verification, continueTo);
    const isRequester = this.visitors.isRequester(visitor, link);
    if (!visitor.mayActOnOpening || !isRequester)
      return offered(LINK_PAGES.verification, { token, callbackURL: continueTo, needsPassword: !isRequester });
    await this.visitors.authorize(visitor, link, undefined);
    await this.verify(link, visitor);
    return confirmed(LINK_PAGES.verification, continueTo);
  }

  /** Confirms a link, in the session that requested it or with the password. Confirming again changes nothing. */
  async confirm({ token, callbackURL, password }: LinkRequest, visitor: LinkVisitor): Promise<LinkAnswer> {
    const continueTo = trustedRedirect(this.config, callbackURL);
    const link = await this.find(token);
    if (link === undefined) throw new InvalidToken();
    await this.visitors.authorize(visitor, link, password);
    await this.verify(link, visitor);
    return confirmed(LINK_PAGES.verification, continueTo);
  }

  /** Deletes an account that somebody else created with the recipient's address, and its organizations without other members. */
  async reject({ token }: Pick<LinkRequest, 'token'>, visitor: LinkVisitor): Promise<LinkAnswer> {
    const link = await this.find(token);
    if (link === undefined) throw new InvalidToken();
    const actor = { kind: 'system' as const, id: null, ...visitor.request.origin };
    await this.db.transaction(async (tx) => {
      const outcome = await this.users.deleteUnverified(link.userId, link.email, actor, tx);
      if (outcome === undefined) throw new EmailAlreadyVerified();
      await this.organizations.deleteWithoutMembers(outcome.organizationIds, actor, tx);
    });
    return confirmed(LINK_PAGES.rejection, undefined);
  }

  private async verify(link: VerificationLink, { request }: LinkVisitor): Promise<void> {
    await this.db.transaction(async (tx) => {
      // The link is not used up, but it may have been cancelled.
      if (link.identifier !== null && !(await this.accounts.lockVerification(link.identifier, tx))) throw new InvalidToken();
      const outcome = await this.users.verifyEmail(link.userId, link.email, tx);
      if (outcome === 'other_email') throw new InvalidToken();
      if (outcome === 'already_verified') return;
      const actor = { kind: 'user' as const, id: link.userId, ...request.origin };
      await this.audit.record({ actor, action: 'user.email_verified', target: { type: 'user', id: link.userId } }, tx);
    });
  }

  /** Returns undefined for a link that is unknown, expired, or for an address that the account no longer has. */
  private async find(token: string): Promise<VerificationLink | undefined> {
    const link = await this.read(token);
    const user = link && (await this.users.find(link.userId));
    return user?.email === link?.email && user?.clerkUserId === null ? link : undefined;
  }

  private async read(token: string): Promise<VerificationLink | undefined> {
    const identifier = linkIdentifier(PREFIX, token);
    const stored = await this.accounts.findVerification(identifier);
    if (stored !== undefined) return { ...(JSON.parse(stored) as Omit<VerificationLink, 'identifier'>), identifier };
    const legacy = token.split('.').length === 3 ? await readLegacyToken(token, this.config.authSecret) : undefined;
    return legacy && { ...legacy, sessionId: null, identifier: null };
  }

  private async isVerified({ userId }: VerificationLink): Promise<boolean> {
    return (await this.users.find(userId))?.emailVerified === true;
  }

  private async send({ email, callbackURL, sessionId }: VerificationRequest): Promise<void> {
    const user = await this.users.findByEmail(email);
    // Clerk verifies the addresses of its users.
    if (user === undefined || user.emailVerified || user.clerkUserId !== null) return;
    const token = newLinkToken();
    const url = new URL(`${this.config.publicUrl}${LINK_PAGES.verification.action}`);
    url.searchParams.set('token', token);
    if (callbackURL !== undefined && callbackURL !== '/') url.searchParams.set('callbackURL', callbackURL);
    const value = JSON.stringify({ userId: user.id, email, sessionId: sessionId ?? null });
    await this.db.transaction(async (tx) => {
      const link = { identifier: linkIdentifier(PREFIX, token), userId: user.id, value, lifetimeSeconds: LINK_LIFETIME_SECONDS };
      await this.accounts.storeVerification(link, tx);
      await this.mails.sendVerification(email, url.href, tx);
    });
  }
}
