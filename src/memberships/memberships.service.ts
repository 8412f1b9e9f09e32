import { Inject, Injectable, Logger } from '@nestjs/common';
import { InvalidCredentials, OrganizationNotFound, RoleRequired } from '../access/access.errors.js';
import { type Actor, type UserPrincipal, SYSTEM } from '../access/principal.js';
import { AuditService, type RecordChange } from '../audit/audit.service.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import { PurgedIds } from '../sync/purged-ids.service.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { InvitationEnds } from '../invitations/invitation-ends.service.js';
import { EntitlementsService } from '../subscriptions/entitlements/entitlements.service.js';
import { LastAdmin, MembershipNotFound, SeatLimitReached } from './memberships.errors.js';
import { type Member, type MemberFilters, type MemberSort, MembershipsRepository } from './memberships.repository.js';
import type { Membership, Role } from './organization-memberships.table.js';

/**
 * Who belongs to which organization. Whatever could take an organization's last admin holds the lock of
 * the organization's row while it looks and writes, so that a hundred who race cannot all be told yes.
 */
@Injectable()
export class MembershipsService {
  private readonly record: RecordChange;

  private readonly logger = new Logger(MembershipsService.name);

  constructor(
    private readonly repository: MembershipsRepository,
    private readonly entitlements: EntitlementsService,
    private readonly invitationEnds: InvitationEnds,
    audit: AuditService,
    private readonly purgedIds: PurgedIds,
    private readonly cursors: Cursors,
    @Inject(DATABASE) private readonly db: Database,
  ) {
    this.record = audit.recorder('membership');
  }

  async list(
    organizationId: string,
    { limit, cursor, sort, ...filters }: MemberFilters & { sort: MemberSort; limit: number; cursor?: string },
  ): Promise<Page<Member>> {
    const list = ['memberships', organizationId, sort, filters];
    const position = this.cursors.read(cursor, list);
    const after = position && ([String(position[0]), String(position[1])] as [string, string]);
    const rows = await this.repository.list(organizationId, filters, { sort, limit: limit + 1, after });
    return this.cursors.page(rows, {
      limit,
      list,
      position: ({ id, createdAt, userName }) => [sort === 'name' ? userName : createdAt.toISOString(), id],
    });
  }

  /**
   * Adds somebody; undefined for one who is a member already, whose role stays.
   *
   * @throws {InvalidCredentials} when their deletion overtook this: it ends only the memberships it can see
   * @throws {SeatLimitReached} also when a hundred come for the last seat at once
   */
  async add(
    { organizationId, userId, role }: { organizationId: string; userId: string; role: Role },
    db: Queryable,
  ): Promise<Membership | undefined> {
    await this.lockForJoining(userId, organizationId, db);
    const membership = await this.repository.insert({ id: newId(), organizationId, userId, role }, db);
    if (membership !== undefined) await this.requireSeats(organizationId, db);
    return membership;
  }

  /**
   * Takes the locks of joining in their order, the user first. Until the transaction ends, nobody can delete the
   * user or take away an admin of the organization.
   *
   * @throws {InvalidCredentials} for a user who was deleted meanwhile
   */
  async lockForJoining(userId: string, organizationId: string, db: Queryable): Promise<void> {
    if (!(await this.repository.lockUser(userId, db))) throw new InvalidCredentials();
    await this.repository.lockOrganization(organizationId, db);
  }

  async isMember(organizationId: string, userId: string, db: Queryable): Promise<boolean> {
    return this.repository.isMember(organizationId, userId, db);
  }

  /**
   * @throws {MembershipNotFound}
   * @throws {LastAdmin}
   * @throws {ManagedByClerk}
   */
  async changeRole(organizationId: string, membershipId: string, role: Role, actor: Actor): Promise<Member> {
    return this.db.transaction(async (tx) => {
      const member = await this.lockLocal(organizationId, membershipId, tx);
      if (member.role === role) return member;
      if (member.role === 'admin') await this.requireOtherAdmin(member, tx);
      const after = await this.repository.updateRole(membershipId, role, tx);
      await this.record('membership.role_changed', member, { actor, before: { role: member.role }, after: { role } }, tx);
      if (role !== 'admin') await this.invitationEnds.endSentBy(member.userId, [organizationId], actor, tx);
      return { ...after, user: member.user };
    });
  }

  /**
   * Removes a member; any member may remove themselves, which is to leave.
   *
   * @throws {MembershipNotFound}
   * @throws {RoleRequired} for a member who would remove somebody else
   * @throws {LastAdmin}
   * @throws {ManagedByClerk}
   */
  async remove(organizationId: string, membershipId: string, { userId, role, actor }: UserPrincipal): Promise<void> {
    await this.db.transaction(async (tx) => {
      const member = await this.lockLocal(organizationId, membershipId, tx);
      if (role !== 'admin' && member.userId !== userId) throw new RoleRequired();
      if (member.role === 'admin') await this.requireOtherAdmin(member, tx);
      await this.repository.end([membershipId], tx);
      const action = member.userId === userId ? 'membership.left' : 'membership.removed';
      await this.record(action, member, { actor, before: { userId: member.userId, role: member.role } }, tx);
      await this.invitationEnds.endSentBy(member.userId, [organizationId], actor, tx);
    });
  }

  /**
   * Ends every membership of somebody who deletes themselves. Whoever calls holds the lock of the user's row,
   * so that none is added meanwhile.
   *
   * @throws {LastAdmin} when an organization of ours would be left without an admin
   */
  async endAllOfUser(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const locked = await this.repository.lockOrganizationsOfUser(userId, db);
    const own = await this.repository.listOfUser(userId, db);
    for (const membership of own) {
      const organization = locked.find(({ id }) => id === membership.organizationId);
      if (isLocal(organization) && membership.role === 'admin') await this.requireOtherAdmin(membership, db);
    }
    await this.endAll(userId, own, actor, db);
  }

  /**
   * Ends every membership of somebody whom a provider deleted, which is not asked but told. Where it takes
   * the last admin of an organization of ours, the oldest member becomes admin, and an operator hears of it.
   * Whoever calls holds the lock of the user's row. Returns the organizations they belonged to.
   */
  async endAllOfDeletedUser(userId: string, actor: Actor, db: Queryable): Promise<string[]> {
    const locked = await this.repository.lockOrganizationsOfUser(userId, db);
    const own = await this.repository.listOfUser(userId, db);
    await this.endAll(userId, own, actor, db);
    for (const { organizationId, role } of own) {
      const organization = locked.find(({ id }) => id === organizationId);
      if (isLocal(organization) && role === 'admin') await this.ensureAdmin(organizationId, db);
    }
    return own.map(({ organizationId }) => organizationId);
  }

  /**
   * Gives memberships of ours to somebody else, who is the same person; answers which. Where that one is a member
   * already, one of the two goes on: the stronger, then the older, whichever came first. Those named by their ids
   * go over even if they have ended. Whoever calls holds the locks of both users' rows.
   */
  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    const moving = await this.repository.listLocal(which, db);
    await this.repository.lockOrganizations(
      moving.map(({ organizationId }) => organizationId),
      db,
    );
    const own = await this.repository.listOfUser(toUserId, db);
    for (const one of moving) {
      const twin = own.find(({ organizationId }) => organizationId === one.organizationId);
      if (twin !== undefined && one.deletedAt === null) await this.repository.end([weaker(one, twin).id], db);
      await this.repository.updateUser(one.id, toUserId, db);
    }
    return moving.map(({ id }) => id);
  }

  async hasMembers(organizationId: string, db: Queryable): Promise<boolean> {
    return (await this.repository.findOldest(organizationId, db)) !== undefined;
  }

  /** Makes the oldest member admin where there is none. Whoever calls holds the lock of the organization's row. */
  async ensureAdmin(organizationId: string, db: Queryable): Promise<void> {
    if (!(await this.repository.hasAdmin(organizationId, {}, db))) await this.promoteOldest(organizationId, db);
  }

  /** Keeps the provider ids of memberships that a purge is about to take along. */
  async rememberPurged(by: { userIds: string[] } | { organizationIds: string[] }, db: Queryable): Promise<void> {
    await this.purgedIds.add('clerk', 'membership', await this.repository.listProviderIds(by, db), db);
  }

  /**
   * Ends the open invitations of somebody who is shut out, as a suspended user is. The caller holds the lock of
   * the user's row.
   */
  async endInvitationsOf(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const locked = await this.repository.lockOrganizationsOfUser(userId, db);
    await this.invitationEnds.endSentBy(
      userId,
      locked.map(({ id }) => id),
      actor,
      db,
    );
  }

  /** Two who lock several do not wait for each other. */
  async lockOrganizations(organizationIds: string[], db: Queryable): Promise<void> {
    await this.repository.lockOrganizations(organizationIds, db);
  }

  /** The caller holds the locks of the organizations' rows. Returns how many ended. */
  async endInvitationsSentBy(people: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
    let ended = 0;
    for (const { organizationId, userId } of people) ended += await this.invitationEnds.endSentBy(userId, [organizationId], actor, db);
    return ended;
  }

  /**
   * Ends memberships that an account gave whose address it never proved. The caller holds the locks of the
   * organizations' rows. Returns how many ended.
   */
  async endUnproved(people: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
    let ended = 0;
    for (const { organizationId, userId } of people) {
      const membership = await this.repository.findOfPair(organizationId, userId, db);
      if (membership === undefined || membership.clerkMembershipId !== null) continue;
      await this.repository.end([membership.id], db);
      const change = { before: { userId, role: membership.role }, after: { reason: 'unproved_account' } };
      await this.record('membership.removed', membership, { actor, ...change }, db);
      await this.ensureAdmin(organizationId, db);
      ended += 1;
    }
    return ended;
  }

  /**
   * The caller holds the lock of the organization's row.
   *
   * @param invited how many open invitations count besides the members
   * @throws {SeatLimitReached}
   */
  async requireSeats(id: string, db: Queryable, invited = 0): Promise<void> {
    const { plan, seats } = await this.entitlements.getEffective({ kind: 'organization', id }, db);
    // An organization needs one member who can buy more.
    if (seats.cap === null || seats.used + invited <= Math.max(1, seats.cap)) return;
    const larger = this.entitlements.plansWithMoreSeats(seats.cap);
    const help = larger.length === 0 ? '' : ` More seats come with ${larger.join(' or ')}.`;
    const [taken, free] =
      invited === 0
        ? ['are taken', 'A member who leaves makes room.']
        : ['are taken by members and open invitations', 'A member who leaves or an invitation that is revoked makes room.'];
    throw new SeatLimitReached({ detail: `All ${seats.cap} seats of the plan ${plan.name} ${taken}. ${free}${help}` });
  }

  private async endAll(userId: string, own: Membership[], actor: Actor, db: Queryable): Promise<void> {
    await this.repository.end(
      own.map(({ id }) => id),
      db,
    );
    const organizationIds = own.map(({ organizationId }) => organizationId);
    await this.invitationEnds.endSentBy(userId, organizationIds, actor, db);
  }

  private async promoteOldest(organizationId: string, db: Queryable): Promise<void> {
    const oldest = await this.repository.findOldest(organizationId, db);
    if (oldest === undefined) return;
    await this.repository.updateRole(oldest.id, 'admin', db);
    await this.record('membership.promoted', oldest, { actor: SYSTEM, before: { role: oldest.role }, after: { role: 'admin' } }, db);
    this.logger.warn(
      { organizationId, membershipId: oldest.id },
      'The last admin of an organization was deleted; its oldest member is admin now',
    );
  }

  /** Locks the organization and reads the membership under that lock. */
  private async lockLocal(organizationId: string, membershipId: string, db: Queryable): Promise<Member> {
    const organization = await this.repository.lockOrganization(organizationId, db);
    if (organization === undefined) throw new OrganizationNotFound();
    const member = await this.repository.find(organizationId, membershipId, db);
    if (member === undefined) throw new MembershipNotFound();
    if (organization.clerkOrganizationId !== null || member.clerkMembershipId !== null) throw new ManagedByClerk();
    return member;
  }

  private async requireOtherAdmin({ organizationId, id }: Membership, db: Queryable): Promise<void> {
    if (!(await this.repository.hasAdmin(organizationId, { except: id }, db))) throw new LastAdmin();
  }
}

/** Whether an organization lives and is ours to keep in order. */
function isLocal(organization: { clerkOrganizationId: string | null; deletedAt: Date | null } | undefined): boolean {
  return organization !== undefined && organization.clerkOrganizationId === null && organization.deletedAt === null;
}

function weaker(one: Membership, other: Membership): Membership {
  if (one.role !== other.role) return one.role === 'admin' ? other : one;
  const isOlder = one.createdAt < other.createdAt || (one.createdAt.getTime() === other.createdAt.getTime() && one.id < other.id);
  return isOlder ? other : one;
}
