import { isDeepStrictEqual } from 'node:util';
import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, versionColumns } from '../sync/event-version.js';
import { newId } from '../platform/crypto/ids.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import type { Queryable } from '../platform/database/database.js';
import type { Membership, Role } from './organization-memberships.table.js';
import { type ClerkMember, SyncedMembershipsRepository } from './synced-memberships.repository.js';
import { Clock } from '../platform/time/clock.service.js';

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
    private readonly clock: Clock,
    private readonly purgedIds: PurgedIds,
  ) {}

  /** Whoever calls holds the user's row, so that events of one pair go one after the other, and the organization's. */
  async apply(snapshot: MembershipSnapshot, key: EventVersion, actor: Actor, db: Queryable): Promise<void> {
    const { isDeleted, isOrphan, ...fields } = snapshot;
    const { clerkMembershipId, role, clerkRole, createdAt } = snapshot;
    const [ofPair, isPurged] = await Promise.all([
      this.repository.listOfPair(snapshot, db),
      this.purgedIds.has('clerk', 'membership', clerkMembershipId, db),
    ]);
    const before = ofPair.find((one) => one.clerkMembershipId === clerkMembershipId);
    const others = ofPair.filter((one) => one !== before);
    if (before === undefined && isPurged) return;
    const isOver = isDeleted || isOrphan || others.some((one) => isLater(one, snapshot));
    // The older ones first: one of them may be alive, and two can not be.
    const older = others.filter((one) => one.deletedAt === null && !isLater(one, snapshot));
    const ended = isOver && before?.deletedAt === null ? [...older, before] : older;
    await this.repository.end(
      ended.map(({ id }) => id),
      db,
    );
    const after =
      before === undefined
        ? await this.repository.insert({ id: newId(), ...fields, ...versionColumns(key), deletedAt: isOver ? this.clock.now() : null }, db)
        : ((await this.repository.updateIfNewer(before.id, { role, clerkRole, createdAt }, key, db)) ?? before);
    const deletedAt = after.deletedAt ?? (isOver ? this.clock.now() : null);
    await this.recordChange(before, { ...after, deletedAt }, actor, db);
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
    await this.repository.endOfOrganization(organizationId, db);
  }

  private async recordChange(before: Membership | undefined, after: Membership, actor: Actor, db: Queryable): Promise<void> {
    // What a dead one would be is nobody's business.
    if (before !== undefined && before.deletedAt !== null) return;
    const change = { before: before && viewOf(before), after: viewOf(after) };
    if (isDeepStrictEqual(change.before, change.after)) return;
    const { id, organizationId, deletedAt } = after;
    const action = deletedAt !== null ? 'membership.removed' : before === undefined ? 'membership.created' : 'membership.role_changed';
    await this.audit.record({ actor, action, organizationId, target: { type: 'membership', id }, ...change }, db);
  }
}

/** Whether somebody has joined again since. */
function isLater(one: Membership, { createdAt, clerkMembershipId }: MembershipSnapshot): boolean {
  const difference = one.createdAt.getTime() - createdAt.getTime();
  return difference > 0 || (difference === 0 && (one.clerkMembershipId ?? '') > clerkMembershipId);
}

function viewOf({ userId, role, clerkRole, deletedAt }: Membership): object {
  return { userId, role, clerkRole, alive: deletedAt === null };
}
