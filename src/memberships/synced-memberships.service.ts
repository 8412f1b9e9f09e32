import { isDeepStrictEqual } from 'node:util';
import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import { type EventVersion, versionColumns } from '../sync/event-version.js';
import { newId } from '../platform/crypto/ids.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { BATCH, sweepInBatches } from '../platform/queue/sweep.js';
import { MembershipsRepository } from './memberships.repository.js';
import type { Membership, Role } from './organization-memberships.table.js';
import { type ClerkMember, SyncedMembershipsRepository } from './synced-memberships.repository.js';
import { Clock } from '../platform/time/clock.service.js';

export interface MembershipSnapshot {
  clerkMembershipId: string;
  organizationId: string;
  userId: string;
  role: Role;
  clerkRole: string | null;
  /** At Clerk: of several memberships of a user in an organization, only the newest can be live. */
  createdAt: Date;
  isDeleted: boolean;
  /** Whether the user or the organization is deleted. */
  isOrphan: boolean;
}

type MembershipView = Pick<Membership, 'id' | 'organizationId' | 'userId' | 'role' | 'clerkRole' | 'deletedAt'>;

const REST = 'membership.end_rest_of_organization';

interface Rest {
  organizationId: string;
}

/** Memberships that Clerk manages. The rows follow the newest event, like those of `SyncedUsersService`. */
@Injectable()
export class SyncedMembershipsService implements OnModuleInit {
  constructor(
    private readonly repository: SyncedMembershipsRepository,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly purgedIds: PurgedIds,
    private readonly outbox: OutboxService,
    private readonly locks: MembershipsRepository,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(REST, (rest) => this.endRest(rest as Rest));
  }

  /** The caller has locked the user and the organization, so that events of one membership are applied one at a time. */
  async apply(snapshot: MembershipSnapshot, version: EventVersion, actor: Actor, db: Queryable): Promise<void> {
    const { isDeleted, isOrphan, ...fields } = snapshot;
    const { clerkMembershipId, role, clerkRole, createdAt } = snapshot;
    const [ofPair, isPurged] = await Promise.all([
      this.repository.listOfPair(snapshot, version, db),
      this.purgedIds.has('clerk', 'membership', clerkMembershipId, db),
    ]);
    const found = ofPair.find(({ row }) => row.clerkMembershipId === clerkMembershipId);
    const before = found?.row;
    const others = ofPair.flatMap(({ row }) => (row === before ? [] : [row]));
    if (before === undefined && isPurged) return;
    const isEnded = isDeleted || isOrphan || others.some((one) => isLater(one, snapshot));
    // Older ones end first: the unique index allows one live membership.
    const older = others.filter((one) => one.deletedAt === null && !isLater(one, snapshot));
    const ended = isEnded && before?.deletedAt === null ? [...older, before] : older;
    await this.repository.end(
      ended.map(({ id }) => id),
      db,
    );
    const deletedAt = before?.deletedAt ?? (isEnded ? this.clock.now() : null);
    const changes = { role, clerkRole, createdAt };
    const after = { id: newId(), ...fields, ...before, ...(found?.isNewer === false ? {} : changes), deletedAt };
    if (before === undefined) await this.repository.insert({ ...after, ...versionColumns(version) }, db);
    else await this.repository.updateIfNewer(before.id, changes, version, db);
    await this.recordChange(before, after, actor, db);
  }

  async findAll(clerkMembershipIds: string[], db?: Queryable): Promise<Membership[]> {
    return this.repository.findAllByClerkId(clerkMembershipIds, db);
  }

  /** Lists live memberships by page, without those of the last minute. */
  async listClerkIds(organizationId: string, page: { after: string; limit: number }): Promise<ClerkMember[]> {
    return this.repository.listClerkIds(organizationId, page);
  }

  /** Of a deleted organization, which the caller has locked. The rest of many follows after the commit, in steps. */
  async endAllOfOrganization(organizationId: string, db: Queryable): Promise<void> {
    const ended = await this.repository.endOfOrganization(organizationId, BATCH, db);
    if (ended === BATCH) await this.outbox.enqueue(REST, { organizationId } satisfies Rest, db);
  }

  private async endRest({ organizationId }: Rest): Promise<void> {
    const end = async (limit: number) =>
      this.db.transaction(async (tx) => {
        await this.locks.lockOrganizations([organizationId], tx);
        return this.repository.endOfOrganization(organizationId, limit, tx);
      });
    await sweepInBatches(new AbortController().signal, end);
  }

  private async recordChange(before: Membership | undefined, after: MembershipView, actor: Actor, db: Queryable): Promise<void> {
    // Changes of an ended membership are not audited.
    if (before !== undefined && before.deletedAt !== null) return;
    const change = { before: before && viewOf(before), after: viewOf(after) };
    if (isDeepStrictEqual(change.before, change.after)) return;
    const { id, organizationId, deletedAt } = after;
    const action = deletedAt !== null ? 'membership.removed' : before === undefined ? 'membership.created' : 'membership.role_changed';
    await this.audit.record({ actor, action, organizationId, target: { type: 'membership', id }, ...change }, db);
  }
}

function isLater(one: Membership, { createdAt, clerkMembershipId }: MembershipSnapshot): boolean {
  const difference = one.createdAt.getTime() - createdAt.getTime();
  return difference > 0 || (difference === 0 && (one.clerkMembershipId ?? '') > clerkMembershipId);
}

function viewOf({ userId, role, clerkRole, deletedAt }: MembershipView): object {
  return { userId, role, clerkRole, alive: deletedAt === null };
}
