import { Injectable } from '@nestjs/common';
import type { z } from 'zod';
import type { Actor } from '../../access/principal.js';
import { type EventVersion, EventRank, embedded } from '../../sync/event-version.js';
import type { Queryable } from '../../platform/database/database.js';
import { SyncedInvitationsService } from '../../invitations/synced-invitations.service.js';
import { SyncedMembershipsService } from '../../memberships/synced-memberships.service.js';
import { type OrganizationSnapshot, SyncedOrganizationsService } from '../../organizations/synced-organizations.service.js';
import { SessionsService } from '../../sessions/sessions.service.js';
import { SyncedUsersService, type UserSnapshot } from '../../users/synced-users.service.js';
import { read } from '../fields.schema.js';
import {
  deletedObject,
  invitationObject,
  membershipObject,
  nameOf,
  organizationObject,
  primaryEmailOf,
  roleOf,
  sessionObject,
  userObject,
} from './clerk.schema.js';

/** Something that Clerk said of one of its objects. */
export interface Statement {
  /** The object as Clerk's APIs show it. */
  data: unknown;
  /** When it was so, ISO 8601. */
  at: string;
  rank: EventRank;
  messageId: string;
  actor: Actor;
  /** Instead of a key of its own: that of the row that it repairs. */
  repairs?: EventVersion;
}

const NEVER = '-infinity';
/** What Clerk gives an invitation that does not say: https://clerk.com/docs/reference/backend-api/tag/Organization-Invitations */
const INVITATION_MS = 30 * 86_400_000;

const SESSION_ENDS = new Set(['ended', 'removed', 'revoked', 'expired', 'abandoned', 'replaced']);

/**
 * What Clerk's objects mean for our rows: reads them, and hands what they say to the services that own the rows.
 * Every method throws `Unreadable` for an object without what is needed.
 */
@Injectable()
export class ClerkSync {
  constructor(
    private readonly users: SyncedUsersService,
    private readonly organizations: SyncedOrganizationsService,
    private readonly memberships: SyncedMembershipsService,
    private readonly invitations: SyncedInvitationsService,
    private readonly sessions: SessionsService,
  ) {}

  async user(statement: Statement, db: Queryable): Promise<void> {
    const user = read(userObject, statement.data);
    await this.users.apply(userOf(user), keyOf(statement, user), statement.actor, db);
  }

  async userDeleted({ data, actor }: Statement, db: Queryable): Promise<void> {
    await this.users.applyDeletion(read(deletedObject, data).id, actor, db);
  }

  async organization(statement: Statement, db: Queryable): Promise<void> {
    const organization = read(organizationObject, statement.data);
    await this.organizations.apply(organizationOf(organization), keyOf(statement, organization), statement.actor, db);
  }

  async organizationDeleted({ data, actor }: Statement, db: Queryable): Promise<void> {
    const organizationId = await this.organizations.applyDeletion(read(deletedObject, data).id, actor, db);
    if (organizationId !== undefined) await this.invitations.revokeAllOfOrganization(organizationId, db);
  }

  /** A deleted membership is a whole one, too: only the event's name says that it is gone. */
  async membership(statement: Statement, db: Queryable): Promise<void> {
    const membership = read(membershipObject, statement.data);
    const { organization, public_user_data: person, role } = membership;
    const [ofUser, ofOrganization] = [membership, organization].map(({ updated_at: at }) => embedded(isoOf(at), statement.messageId));
    // Locks are taken in one order: user, organization, membership (docs/decisions/0011).
    const user = await this.users.findOrCreateStub(
      { clerkUserId: person.user_id, name: nameOf(person), imageUrl: person.image_url },
      ofUser!,
      db,
    );
    const home = await this.organizations.findOrCreateStub(organizationOf(organization), ofOrganization!, db);
    if (user === undefined || home === undefined) return;
    const snapshot = {
      clerkMembershipId: membership.id,
      userId: user.id,
      organizationId: home.id,
      role: roleOf(role),
      clerkRole: role,
      createdAt: membership.created_at ?? membership.updated_at ?? dateOf(statement.at),
      isDeleted: statement.rank === EventRank.delete,
      isOrphan: user.deletedAt !== null || home.deletedAt !== null,
    };
    await this.memberships.apply(snapshot, keyOf(statement, membership), statement.actor, db);
  }

  /** @param told the status that the event's name tells, for an invitation that does not say */
  async invitation(statement: Statement, told: 'pending' | 'accepted' | 'revoked', db: Queryable): Promise<void> {
    const invitation = read(invitationObject, statement.data);
    const { user_id: invited, inviter_id: inviter, organization_id: clerkOrganizationId, role } = invitation;
    const answeredBy = invited === null ? undefined : await this.users.findOrCreateStubId(invited, db);
    const invitedBy = inviter === null ? undefined : await this.users.findOrCreateStubId(inviter, db);
    const home = await this.organizations.findOrCreateStub(
      { clerkOrganizationId, name: '', slug: null, imageUrl: null, createdAt: null },
      embedded(NEVER, ''),
      db,
    );
    if (home === undefined) return;
    const createdAt = invitation.created_at ?? invitation.updated_at ?? dateOf(statement.at);
    const snapshot = {
      clerkInvitationId: invitation.id,
      organizationId: home.id,
      email: invitation.email_address,
      role: roleOf(role),
      clerkRole: role,
      status: invitation.status ?? told,
      answeredBy,
      invitedBy,
      expiresAt: invitation.expires_at ?? new Date(createdAt.getTime() + INVITATION_MS),
      createdAt,
      isOrphan: home.deletedAt !== null,
    };
    await this.invitations.apply(snapshot, keyOf(statement, invitation), statement.actor, db);
  }

  /** @param hasEnded whether the event's name says so */
  async session({ data }: Statement, hasEnded: boolean, device: { ipAddress?: string; userAgent?: string }, db: Queryable): Promise<void> {
    const session = read(sessionObject, data);
    const status = session.status ?? '';
    const isEnded = hasEnded || SESSION_ENDS.has(status);
    // It still owes Clerk a task, and is nobody's until that is done.
    if (status === 'pending' && !isEnded) return;
    const user = await this.users.lockOrCreate(session.user_id, db);
    if (user === undefined) return;
    const snapshot = {
      clerkSessionId: session.id,
      userId: user.id,
      createdAt: session.created_at ?? undefined,
      expiresAt: session.expire_at,
      isEnded: isEnded || user.deletedAt !== null,
      ipAddress: device.ipAddress ?? session.latest_activity?.ip_address ?? undefined,
      userAgent: device.userAgent,
    };
    await this.sessions.apply(snapshot, db);
  }
}

export function userOf(user: z.infer<typeof userObject>): UserSnapshot {
  return {
    clerkUserId: user.id,
    name: nameOf(user),
    username: user.username,
    imageUrl: user.image_url,
    ...primaryEmailOf(user),
    banned: user.banned,
    createdAt: user.created_at,
  };
}

export function organizationOf({ id, name, slug, image_url, created_at }: z.infer<typeof organizationObject>): OrganizationSnapshot {
  return { clerkOrganizationId: id, name: name ?? '', slug, imageUrl: image_url, createdAt: created_at };
}

function keyOf({ at, rank, messageId, repairs }: Statement, { updated_at: modifiedAt }: { updated_at: Date | null }): EventVersion {
  return repairs === undefined ? { at, modifiedAt: isoOf(modifiedAt), rank, messageId } : { ...repairs, isRepair: true };
}

function isoOf(at: Date | null): string {
  return at?.toISOString() ?? NEVER;
}

function dateOf(at: string): Date {
  return at === NEVER ? new Date(0) : new Date(at);
}
