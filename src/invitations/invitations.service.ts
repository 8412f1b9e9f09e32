import { createHash, randomBytes } from 'node:crypto';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { RoleRequired } from '../access/access.errors.js';
import type { Actor, UserPrincipal } from '../access/principal.js';
import { trustedRedirect } from '../access/trusted-redirect.js';
import { AuditService, type RecordChange } from '../audit/audit.service.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import { sweepInBatches } from '../platform/queue/sweep.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { JobsService } from '../jobs/jobs.service.js';
import { MailService } from '../mail/mail.service.js';
import { quoteUserText } from '../platform/text/user-text.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import type { Role } from '../memberships/organization-memberships.table.js';
import { OrganizationsService } from '../organizations/organizations.service.js';
import { UsersService } from '../users/users.service.js';
import {
  AlreadyMember,
  EmailNotVerified,
  InvitationGone,
  InvitationNotFound,
  InvitationNotPending,
  InvitationPending,
} from './invitations.errors.js';
import { InvitationsRepository, type InvitationWithOrganization } from './invitations.repository.js';
import type { Invitation, InvitationStatus } from './invitations.table.js';
import { Clock } from '../platform/time/clock.service.js';
import { daysAfter } from '../platform/time/durations.js';

export interface NewInvitation {
  email: string;
  role: Role;
  acceptUrl?: string;
}

export type InvitationRef = { id: string } | { token: string };

@Injectable()
export class InvitationsService implements OnModuleInit {
  private readonly record: RecordChange;

  constructor(
    private readonly repository: InvitationsRepository,
    private readonly organizations: OrganizationsService,
    private readonly memberships: MembershipsService,
    private readonly users: UsersService,
    audit: AuditService,
    private readonly mail: MailService,
    private readonly cursors: Cursors,
    private readonly jobs: JobsService,
    private readonly config: Config,
    private readonly clock: Clock,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('invitation');
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'expire_invitations',
      description: 'Marks invitations that nobody accepted in time',
      everySeconds: 300,
      run: (signal) => sweepInBatches(signal, (limit) => this.repository.expire(limit)),
    });
  }

  async list(
    organizationId: string,
    { limit, cursor, ...filters }: { status?: InvitationStatus; limit: number; cursor?: string },
  ): Promise<Page<Invitation>> {
    const list = ['invitations', organizationId, filters];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(organizationId, filters, { limit: limit + 1, after });
    const now = this.clock.now();
    const current = rows.map((row) => ({ ...row, status: statusAt(now, row) }));
    return this.page(current, limit, list);
  }

  async listOwn(userId: string, { limit, cursor }: { limit: number; cursor?: string }): Promise<Page<InvitationWithOrganization>> {
    const list = ['own-invitations', userId];
    const after = this.cursors.readTimeAndId(cursor, list);
    const { email, emailVerified } = await this.users.getCaller(userId);
    const rows = email === null || !emailVerified ? [] : await this.repository.listOpenForEmail(email, { limit: limit + 1, after });
    return this.page(rows, limit, list);
  }

  /**
   * @throws {SeatLimitReached} when members and open invitations take every seat @throws {InvitationPending} @throws {AlreadyMember}
   * @throws {RateLimited} @throws {ManagedByClerk} @throws {UntrustedRedirect} @throws {EmailNotVerified} for the caller's own address
   */
  async create(
    organizationId: string,
    { email, role, acceptUrl }: NewInvitation,
    { userId, actor }: UserPrincipal,
    db: Queryable,
  ): Promise<Invitation> {
    const page = trustedRedirect(this.config, acceptUrl);
    const organization = await this.organizations.get(organizationId);
    if (organization.clerkOrganizationId !== null) throw new ManagedByClerk();
    await this.requireVerifiedEmail(userId);
    await this.memberships.lockForJoining(userId, organizationId, db);
    if (await this.repository.isMember(organizationId, email, db)) throw new AlreadyMember();
    await this.repository.expirePendingOf(organizationId, email, db);
    const token = newToken();
    const invitation = await this.repository.insert(
      { id: newId(), organizationId, email, role, tokenHash: token.hash, invitedBy: userId, expiresAt: this.expiry() },
      db,
    );
    if (invitation === undefined) throw new InvitationPending();
    // The guard read the role before the lock.
    if (!(await this.repository.mayStillInvite(invitation.id, db))) throw new RoleRequired();
    await this.requireSeats(organizationId, db);
    await this.record('invitation.created', invitation, { actor, after: { email, role } }, db);
    await this.sendMail(invitation, { organizationName: organization.name, token: token.raw, page, userId }, db);
    return invitation;
  }

  /** Sends a new token; the old one is no longer valid. @throws {InvitationNotFound} @throws {InvitationNotPending}, and as `create` */
  async resend(
    organizationId: string,
    invitationId: string,
    acceptUrl: string | undefined,
    { userId, actor }: Pick<UserPrincipal, 'userId' | 'actor'>,
  ): Promise<Invitation> {
    const page = trustedRedirect(this.config, acceptUrl);
    return this.db.transaction(async (tx) => {
      await this.requireVerifiedEmail(userId);
      await this.memberships.lockForJoining(userId, organizationId, tx);
      const before = await this.lockPending(organizationId, invitationId, tx);
      await this.requireSeats(organizationId, tx);
      const token = newToken();
      const after = await this.repository.update(before.id, { tokenHash: token.hash, expiresAt: this.expiry() }, tx);
      await this.record(
        'invitation.resent',
        after,
        { actor, before: { expiresAt: before.expiresAt }, after: { expiresAt: after.expiresAt } },
        tx,
      );
      const { name: organizationName } = before.organization;
      await this.sendMail(after, { organizationName, token: token.raw, page, userId }, tx);
      return after;
    });
  }

  /** @throws {InvitationNotFound} @throws {InvitationNotPending} @throws {ManagedByClerk} */
  async revoke(organizationId: string, invitationId: string, actor: Actor): Promise<void> {
    await this.db.transaction(async (tx) => {
      const before = await this.lockPending(organizationId, invitationId, tx);
      await this.repository.update(before.id, { status: 'revoked' }, tx);
      await this.record('invitation.revoked', before, { actor, before: { status: 'pending' }, after: { status: 'revoked' } }, tx);
    });
  }

  /**
   * A member who accepts again gets the same result. Also throws EmailNotVerified, ManagedByClerk and SeatLimitReached.
   * @throws {InvitationNotFound} also for an invitation to another email
   * @throws {InvitationGone} when it is no longer pending, its sender may no longer invite, or the caller accepted it and left
   */
  async accept(ref: InvitationRef, { userId, actor }: UserPrincipal): Promise<InvitationWithOrganization> {
    return this.respond(ref, userId, 'accepted', async (invitation, tx) => {
      const { organizationId, role } = invitation;
      await this.memberships.add({ organizationId, userId, role }, tx);
      await this.record('invitation.accepted', invitation, { actor, after: { userId, role } }, tx);
    });
  }

  async decline(ref: InvitationRef, { userId, actor }: UserPrincipal): Promise<InvitationWithOrganization> {
    return this.respond(ref, userId, 'declined', async (invitation, tx) => {
      await this.record('invitation.declined', invitation, { actor, before: { status: 'pending' }, after: { status: 'declined' } }, tx);
    });
  }

  private async respond(
    ref: InvitationRef,
    userId: string,
    status: 'accepted' | 'declined',
    effect: (invitation: Invitation, tx: Queryable) => Promise<void>,
  ): Promise<InvitationWithOrganization> {
    const { email, emailVerified } = await this.users.getCaller(userId);
    return this.db.transaction(async (tx) => {
      const key = 'id' in ref ? ref : { tokenHash: hashToken(ref.token) };
      const found = await this.repository.find(key, tx);
      if (found === undefined || found.email !== email) throw new InvitationNotFound();
      // Locks are taken in one order: user, organization, invitation (docs/decisions/0030).
      await this.memberships.lockForJoining(userId, found.organizationId, tx);
      const invitation = await this.repository.lock(key, tx);
      if (invitation === undefined) throw new InvitationNotFound();
      // Anyone can sign up with an address: only its owner, who verifies it, may see or accept the invitation.
      if (!emailVerified) throw 'token' in ref ? new EmailNotVerified() : new InvitationNotFound();
      requireLocal(invitation);
      if (invitation.status === status && invitation.answeredBy === userId) {
        const hasLeft = status === 'accepted' && !(await this.memberships.isMember(invitation.organizationId, userId, tx));
        if (hasLeft) throw new InvitationGone();
        return invitation;
      }
      if (statusAt(this.clock.now(), invitation) !== 'pending' || !(await this.repository.mayStillInvite(invitation.id, tx)))
        throw new InvitationGone();
      await effect(invitation, tx);
      const updated = await this.repository.update(invitation.id, { status, answeredBy: userId }, tx);
      return { ...updated, organization: invitation.organization };
    });
  }

  /** The caller has locked the organization. */
  private async requireSeats(organizationId: string, db: Queryable): Promise<void> {
    await this.memberships.requireSeats(organizationId, db, await this.repository.countOpen(organizationId, db));
  }

  private async requireVerifiedEmail(userId: string): Promise<void> {
    const { emailVerified, clerkUserId } = await this.users.getCaller(userId);
    if (!emailVerified && clerkUserId === null) throw new EmailNotVerified();
  }

  private async lockPending(organizationId: string, invitationId: string, db: Queryable): Promise<InvitationWithOrganization> {
    const invitation = await this.repository.lock({ id: invitationId }, db);
    if (invitation === undefined || invitation.organizationId !== organizationId) throw new InvitationNotFound();
    requireLocal(invitation);
    if (statusAt(this.clock.now(), invitation) !== 'pending') throw new InvitationNotPending();
    return invitation;
  }

  private async sendMail(
    { email, expiresAt, organizationId }: Invitation,
    { organizationName, token, page, userId }: { organizationName: string; token: string; page?: string; userId?: string },
    db: Queryable,
  ): Promise<void> {
    const organization = quoteUserText(organizationName) ?? 'an organization';
    const link = page === undefined ? undefined : new URL(page);
    link?.searchParams.set('token', token);
    const instructions =
      link === undefined
        ? `sign in with this address and send this token to POST /v1/invitations/accept:\n\n${token}`
        : `accept here:\n\n${link.href}`;
    await this.mail.send(
      {
        kind: 'invitation',
        sender: { userId, organizationId },
        to: email,
        subject: `You are invited to ${organization}`,
        text: `Hello,\n\nyou are invited to join ${organization}. To do so, ${instructions}\n\nThe invitation works until ${expiresAt.toISOString()}. If you did not expect it, ignore this mail.\n`,
      },
      db,
    );
  }

  private page<T extends Invitation>(rows: T[], limit: number, list: unknown): Page<T> {
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  private expiry(): Date {
    return daysAfter(this.clock.now(), this.config.invitationDays);
  }
}

function requireLocal({ clerkInvitationId, organization }: InvitationWithOrganization): void {
  if (clerkInvitationId !== null || organization.clerkOrganizationId !== null) throw new ManagedByClerk();
}

function statusAt(now: Date, { status, expiresAt }: Invitation): InvitationStatus {
  return status === 'pending' && expiresAt <= now ? 'expired' : status;
}

function newToken(): { raw: string; hash: string } {
  const raw = randomBytes(24).toString('base64url');
  return { raw, hash: hashToken(raw) };
}

function hashToken(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}
