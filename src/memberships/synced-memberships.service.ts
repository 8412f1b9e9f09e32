import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventKey, keyColumns } from '../common/event-key.js';
import { newId } from '../common/ids.js';
import { PurgedIds } from '../common/purged-ids.js';
import type { Queryable } from '../database/database.js';
import type { Membership, Role } from './organization-memberships.table.js';
import { type ClerkMember, SyncedMembershipsRepository } from './synced-memberships.repository.js';

/** A membership as the provider that owns it tells it, between rows that are there. */
export interface MembershipSnapshot {
  clerkMembershipId: string;
  organizationId: string;
  userId: string;
  role: Role;
  /** As the provider calls it. */
  clerkRole: string | null;
  /** At the provider: of several of one pair only the newest can be alive. */
  createdAt: Date;
  isDeleted: boolean;
  /** Whether user or organization are gone, and the membership with them. */
  isOrphan: boolean;
}

/** Memberships that a provider owns; as `SyncedUsersService` does it for users. */
@Injectable()
export class SyncedMembershipsService {
  constructor(
    private readonly repository: SyncedMembershipsRepository,
    private readonly audit: AuditService,
    private readonly purgedIds: PurgedIds,
  ) {}

  /** Whoever calls holds the user's row, so that events of one pair go one after the other, and the organization's. */
  async apply(snapshot: MembershipSnapshot, key: EventKey, actor: Actor, db: Queryable): Promise<void> {
    const { isDeleted, isOrphan, ...place } = snapshot;
    const fields = { role: snapshot.role, clerkRole: snapshot.clerkRole, createdAt: snapshot.createdAt };
    const before = await this.repository.findByClerkId(snapshot.clerkMembershipId, db);
    if (before === undefined && (await this.purgedIds.has('clerk', 'membership', snapshot.clerkMembershipId, db))) return;
    const isOver = isDeleted || isOrphan || (await this.repository.hasLater(place, db));
    // The older ones first: one of them may be alive, and two can not be.
    await this.repository.end({ olderThan: place }, db);
    const after =
      before === undefined
        ? await this.repository.insert({ id: newId(), ...place, ...keyColumns(key), ...(isOver && { deletedAt: new Date() }) }, db)
        : ((await this.repository.updateIfNewer(before.id, fields, key, db)) ?? before);
    const ends = isOver && after.deletedAt === null;
    if (ends) await this.repository.end({ id: after.id }, db);
    await this.recordChange(before, { ...after, deletedAt: ends ? new Date() : after.deletedAt }, actor, db);
  }

  /** Those that are known of these, tombstones included. */
  async findAll(clerkMembershipIds: string[], db?: Queryable): Promise<Membership[]> {
    return this.repository.findAllByClerkId(clerkMembershipIds, db);
  }

  /** The living of an organization, a page at a time; those of the last minute are left out. */
  async listClerkIds(organizationId: string, page: { after: string; limit: number }): Promise<ClerkMember[]> {
    return this.repository.listClerkIds(organizationId, page);
  }

  /** Whoever calls holds the organization's row. */
  async endAllOfOrganization(organizationId: string, db: Queryable): Promise<void> {
    await this.repository.end({ organizationId }, db);
  }

  private async recordChange(before: Membership | undefined, after: Membership, actor: Actor, db: Queryable): Promise<void> {
    const change = { before: before && viewOf(before), after: viewOf(after) };
    if (isDeepStrictEqual(change.before, change.after)) return;
    const { id, organizationId, deletedAt } = after;
    const action = deletedAt !== null ? 'membership.removed' : before === undefined ? 'membership.created' : 'membership.role_changed';
    await this.audit.record({ actor, action, organizationId, target: { type: 'membership', id }, ...change }, db);
  }
}

function viewOf({ userId, role, clerkRole, deletedAt }: Membership): object {
  return { userId, role, clerkRole, alive: deletedAt === null };
}
