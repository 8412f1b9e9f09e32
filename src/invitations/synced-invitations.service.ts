import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, versionColumns } from '../sync/event-version.js';
import { newId } from '../platform/crypto/ids.js';
import { lockNames } from '../platform/database/locks.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import type { Queryable } from '../platform/database/database.js';
import type { Role } from '../memberships/organization-memberships.table.js';
import type { InvitationStatus } from './invitations.table.js';
import { SyncedInvitationsRepository } from './synced-invitations.repository.js';

export interface InvitationSnapshot {
  clerkInvitationId: string;
  organizationId: string;
  email: string;
  role: Role;
  clerkRole: string | null;
  status: InvitationStatus;
  invitedBy?: string;
  answeredBy?: string;
  expiresAt: Date;
  /** The time at Clerk. Of several invitations of an email, only the newest can be pending. */
  createdAt: Date;
  isOrganizationDeleted: boolean;
}

/** Invitations that Clerk manages. The rows follow the newest event, like those of `SyncedUsersService`. */
@Injectable()
export class SyncedInvitationsService {
  constructor(
    private readonly repository: SyncedInvitationsRepository,
    private readonly audit: AuditService,
    private readonly purgedIds: PurgedIds,
  ) {}

  async apply(
    { isOrganizationDeleted, ...snapshot }: InvitationSnapshot,
    version: EventVersion,
    actor: Actor,
    db: Queryable,
  ): Promise<void> {
    const { clerkInvitationId, organizationId, email } = snapshot;
    // Applies the events of one email one at a time.
    await lockNames('invitation', [`${organizationId}:${email}`], db);
    const before = await this.repository.findByClerkId(clerkInvitationId, db);
    if (before === undefined && (await this.purgedIds.has('clerk', 'invitation', clerkInvitationId, db))) return;
    const isSuperseded =
      snapshot.status === 'pending' && (isOrganizationDeleted || (await this.repository.hasNewerInvitation(snapshot, db)));
    const status = isSuperseded ? 'revoked' : snapshot.status;
    // Older ones first, because only one may be pending.
    await this.repository.revokePending({ olderThan: snapshot }, db);
    const after =
      before === undefined
        ? await this.repository.insert({ id: newId(), ...snapshot, status, ...versionColumns(version) }, db)
        : await this.repository.updateIfNewer(before.id, { ...snapshot, status }, version, db);
    if (before !== undefined) await this.repository.fillInPeople(before.id, snapshot, db);
    if (after === undefined || after.status === before?.status) return;
    const action = after.status === 'pending' ? 'invitation.created' : `invitation.${after.status}`;
    const change = { before: before && { status: before.status }, after: { status: after.status, email, role: after.role } };
    await this.audit.record({ actor, action, organizationId, target: { type: 'invitation', id: after.id }, ...change }, db);
  }

  async revokeAllOfOrganization(organizationId: string, db: Queryable): Promise<void> {
    await this.repository.revokePending({ organizationId }, db);
  }
}
