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
import { parseObject } from '../fields.schema.js';
import {
  deletedObject,
  invitationObject,
  membershipObject,
  fullNameOf,
  organizationObject,
  primaryEmailOf,
  roleOf,
  sessionObject,
  userObject,
} from './clerk.schema.js';
import { DAY_MS } from '../../platform/time/durations.js';

/** A Clerk object with its version, from an event or the API. */
export interface ClerkChange {
  data: unknown;
  /** The time of the event, ISO 8601. */
  at: string;
  rank: EventRank;
  messageId: string;
  actor: Actor;
  /** Instead of a key of its own: that of the row that it repairs. */
  expectedVersion?: EventVersion;
}

const NEVER = '-infinity';
/** Clerk's default: https://clerk.com/docs/reference/backend-api/tag/Organization-Invitations */
const INVITATION_MS = 30 * DAY_MS;

const SESSION_ENDS = new Set(['ended', 'removed', 'revoked', 'expired', 'abandoned', 'replaced']);

/**
 * Parses Clerk's objects and passes snapshots to the services that own the rows. Every method throws `MalformedPayload`
 * if a required field is missing.
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

  async applyUser(change: ClerkChange, db: Queryable): Promise<void> {
    const user = parseObject(userObject, change.data);
    await this.users.apply(toUserSnapshot(user), versionOf(change, user), change.actor, db);
  }

  async applyUserDeletion({ data, actor }: ClerkChange, db: Queryable): Promise<void> {
    await this.users.applyDeletion(parseObject(deletedObject, data).id, actor, db);
  }

  async applyOrganization(change: ClerkChange, db: Queryable): Promise<void> {
    const organization = parseObject(organizationObject, change.data);
    await this.organizations.apply(toOrganizationSnapshot(organization), versionOf(change, organization), change.actor, db);
  }

  async applyOrganizationDeletion({ data, actor }: ClerkChange, db: Queryable): Promise<void> {
    const organizationId = await this.organizations.applyDeletion(parseObject(deletedObject, data).id, actor, db);
    if (organizationId !== undefined) await this.invitations.revokeAllOfOrganization(organizationId, db);
  }

  /** The event of a deleted membership contains the whole membership; only its name shows the deletion. */
  async applyMembership(change: ClerkChange, db: Queryable): Promise<void> {
    const membership = parseObject(membershipObject, change.data);
    const { organization, public_user_data: person, role } = membership;
    const [ofUser, ofOrganization] = [membership, organization].map(({ updated_at: at }) => embedded(isoOf(at), change.messageId));
    // The order of locks: user, organization, membership (docs/decisions/0011).
    const user = await this.users.findOrCreateStub(
      { clerkUserId: person.user_id, name: fullNameOf(person), imageUrl: person.image_url },
      ofUser!,
      db,
    );
    const organizationRow = await this.organizations.findOrCreateStub(toOrganizationSnapshot(organization), ofOrganization!, db);
    if (user === undefined || organizationRow === undefined) return;
    const snapshot = {
      clerkMembershipId: membership.id,
      userId: user.id,
      organizationId: organizationRow.id,
      role: roleOf(role),
      clerkRole: role,
      createdAt: membership.created_at ?? membership.updated_at ?? toDate(change.at),
      isDeleted: change.rank === EventRank.delete,
      isOrphan: user.deletedAt !== null || organizationRow.deletedAt !== null,
    };
    await this.memberships.apply(snapshot, versionOf(change, membership), change.actor, db);
  }

  /** @param defaultStatus the status by the event's name, for an invitation without one */
  async applyInvitation(change: ClerkChange, defaultStatus: 'pending' | 'accepted' | 'revoked', db: Queryable): Promise<void> {
    const invitation = parseObject(invitationObject, change.data);
    const { user_id: invited, inviter_id: inviter, organization_id: clerkOrganizationId, role } = invitation;
    const answeredBy = invited === null ? undefined : await this.users.findOrCreateStubId(invited, db);
    const invitedBy = inviter === null ? undefined : await this.users.findOrCreateStubId(inviter, db);
    const organizationRow = await this.organizations.findOrCreateStub(
      { clerkOrganizationId, name: '', slug: null, imageUrl: null, createdAt: null },
      embedded(NEVER, ''),
      db,
    );
    if (organizationRow === undefined) return;
    const createdAt = invitation.created_at ?? invitation.updated_at ?? toDate(change.at);
    const snapshot = {
      clerkInvitationId: invitation.id,
      organizationId: organizationRow.id,
      email: invitation.email_address,
      role: roleOf(role),
      clerkRole: role,
      status: invitation.status ?? defaultStatus,
      answeredBy,
      invitedBy,
      expiresAt: invitation.expires_at ?? new Date(createdAt.getTime() + INVITATION_MS),
      createdAt,
      isOrganizationDeleted: organizationRow.deletedAt !== null,
    };
    await this.invitations.apply(snapshot, versionOf(change, invitation), change.actor, db);
  }

  async applySession(
    { data }: ClerkChange,
    hasEnded: boolean,
    device: { ipAddress?: string; userAgent?: string },
    db: Queryable,
  ): Promise<void> {
    const session = parseObject(sessionObject, data);
    const status = session.status ?? '';
    const isEnded = hasEnded || SESSION_ENDS.has(status);
    // A pending session has unfinished tasks at Clerk and signs nobody in yet.
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

export function toUserSnapshot(user: z.infer<typeof userObject>): UserSnapshot {
  return {
    clerkUserId: user.id,
    name: fullNameOf(user),
    username: user.username,
    imageUrl: user.image_url,
    ...primaryEmailOf(user),
    banned: user.banned,
    createdAt: user.created_at,
  };
}

export function toOrganizationSnapshot({
  id,
  name,
  slug,
  image_url,
  created_at,
}: z.infer<typeof organizationObject>): OrganizationSnapshot {
  return { clerkOrganizationId: id, name: name ?? '', slug, imageUrl: image_url, createdAt: created_at };
}

function versionOf(
  { at, rank, messageId, expectedVersion }: ClerkChange,
  { updated_at: modifiedAt }: { updated_at: Date | null },
): EventVersion {
  return expectedVersion === undefined ? { at, modifiedAt: isoOf(modifiedAt), rank, messageId } : { ...expectedVersion, isRepair: true };
}

function isoOf(at: Date | null): string {
  return at?.toISOString() ?? NEVER;
}

function toDate(at: string): Date {
  return at === NEVER ? new Date(0) : new Date(at);
}
