import { Inject, Injectable, Logger } from '@nestjs/common';
import { InvalidCredentials, OrganizationNotFound, RoleRequired } from '../access/access.errors.js';
import { type Actor, type UserPrincipal, SYSTEM } from '../access/principal.js';
import { AuditService, type RecordChange } from '../audit/audit.service.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { InvitationEnds } from '../invitations/invitation-ends.service.js';
import { EntitlementsService } from '../subscriptions/entitlements/entitlements.service.js';
import { LastAdmin, MembershipNotFound, SeatLimitReached } from './memberships.errors.js';
import { type Member, type MemberFilters, type MemberSort, MembershipsRepository } from './memberships.repository.js';
import type { Membership, Role } from './organization-memberships.table.js';

/** Changes that can remove an admin first lock the organization's row, so that two at once cannot remove the last two admins. */
@Injectable()
export class MembershipsService {
  private readonly record: RecordChange;

  private readonly logger = new Logger(MembershipsService.name);

  constructor(
    private readonly repository: MembershipsRepository,
    private readonly entitlements: EntitlementsService,
    private readonly invitationEnds: InvitationEnds,
    audit: AuditService,
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

  /** Returns undefined for a user who is already a member; the role stays. @throws {InvalidCredentials} @throws {SeatLimitReached} */
  async add(
    { organizationId, userId, role }: { organizationId: string; userId: string; role: Role },
    db: Queryable,
  ): Promise<Membership | undefined> {
    await this.lockForJoining(userId, organizationId, db);
    const membership = await this.repository.insert({ id: newId(), organizationId, userId, role }, db);
    if (membership !== undefined) await this.requireSeats(organizationId, db);
    return membership;
  }

  /** Locks the user, then the organization: a deletion ends only the memberships it can see. @throws {InvalidCredentials} for a deleted user */
  async lockForJoining(userId: string, organizationId: string, db: Queryable): Promise<void> {
    if (!(await this.repository.lockUser(userId, db))) throw new InvalidCredentials();
    await this.repository.lockOrganization(organizationId, db);
  }

  async isMember(organizationId: string, userId: string, db: Queryable): Promise<boolean> {
    return this.repository.isMember(organizationId, userId, db);
  }

  /** @throws {MembershipNotFound} @throws {LastAdmin} @throws {ManagedByClerk} */
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

  /** @throws {RoleRequired} for a member who removes somebody else @throws {MembershipNotFound} @throws {LastAdmin} @throws {ManagedByClerk} */
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

  /** For a user who deletes themselves. The caller has locked the user, so none is added meanwhile. @throws {LastAdmin} */
  async endAllOfUser(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const locked = await this.repository.lockOrganizationsOfUser(userId, db);
    const userMemberships = await this.repository.listOfUser(userId, db);
    for (const membership of userMemberships) {
      const organization = locked.find(({ id }) => id === membership.organizationId);
      if (isLocal(organization) && membership.role === 'admin') await this.requireOtherAdmin(membership, db);
    }
    await this.endAll(userId, userMemberships, actor, db);
  }

  /**
   * For a deletion that cannot be refused: the oldest member replaces a last admin. The caller has locked the user.
   * @returns the ids of the organizations of the user
   */
  async endAllOfDeletedUser(userId: string, actor: Actor, db: Queryable): Promise<string[]> {
    const locked = await this.repository.lockOrganizationsOfUser(userId, db);
    const userMemberships = await this.repository.listOfUser(userId, db);
    await this.endAll(userId, userMemberships, actor, db);
    for (const { organizationId, role } of userMemberships) {
      const organization = locked.find(({ id }) => id === organizationId);
      if (isLocal(organization) && role === 'admin') await this.ensureAdmin(organizationId, db);
    }
    return userMemberships.map(({ organizationId }) => organizationId);
  }

  /**
   * Moves memberships to the user that the old one is merged into, and returns their ids. Of two in the same organization,
   * the one with the stronger role stays, then the older one, whatever the order of merges. The caller has locked both users.
   */
  async move(which: { ofUser: string } | { ids: string[] }, toUserId: string, db: Queryable): Promise<string[]> {
    const moving = await this.repository.listLocal(which, db);
    await this.repository.lockOrganizations(
      moving.map(({ organizationId }) => organizationId),
      db,
    );
    const userMemberships = await this.repository.listOfUser(toUserId, db);
    for (const membership of moving) {
      const duplicate = userMemberships.find(({ organizationId }) => organizationId === membership.organizationId);
      if (duplicate !== undefined && membership.deletedAt === null) await this.repository.end([weakerOf(membership, duplicate).id], db);
      await this.repository.updateUser(membership.id, toUserId, db);
    }
    return moving.map(({ id }) => id);
  }

  async hasMembers(organizationId: string, db: Queryable): Promise<boolean> {
    return (await this.repository.findOldest(organizationId, db)) !== undefined;
  }

  /** Makes the oldest member admin of an organization without one. The caller has locked the organization. */
  async ensureAdmin(organizationId: string, db: Queryable): Promise<void> {
    if (!(await this.repository.hasAdmin(organizationId, {}, db))) await this.promoteOldest(organizationId, db);
  }

  /** Removes at most `limit` memberships of users or organizations that a purge is about to remove. Returns how many. */
  async purge(by: { userIds: string[] } | { organizationIds: string[] }, limit: number, db: Queryable): Promise<number> {
    return this.repository.purge(by, limit, db);
  }

  /** For a suspended or banned user. The caller has locked the user. */
  async endInvitationsSentByUser(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const locked = await this.repository.lockOrganizationsOfUser(userId, db);
    await this.invitationEnds.endSentBy(
      userId,
      locked.map(({ id }) => id),
      actor,
      db,
    );
  }

  async lockOrganizations(organizationIds: string[], db: Queryable): Promise<void> {
    await this.repository.lockOrganizations(organizationIds, db);
  }

  /** Returns the number of ended invitations. The caller has locked the organizations. */
  async endInvitationsSentBy(people: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
    let ended = 0;
    for (const { organizationId, userId } of people) ended += await this.invitationEnds.endSentBy(userId, [organizationId], actor, db);
    return ended;
  }

  /** Ends memberships that an unverified account gave by invitation. The caller has locked the organizations. Returns their number. */
  async removeInvitedMembers(people: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
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

  /** The caller has locked the organization. @param invited the number of open invitations, which take seats too @throws {SeatLimitReached} */
  async requireSeats(id: string, db: Queryable, invited = 0): Promise<void> {
    const { plan, seats } = await this.entitlements.getEffective({ kind: 'organization', id }, db);
    // Even a plan without seats keeps one member, who can buy more.
    if (seats.cap === null || seats.used + invited <= Math.max(1, seats.cap)) return;
    const larger = this.entitlements.plansWithMoreSeats(seats.cap);
    const help = larger.length === 0 ? '' : ` More seats come with ${larger.join(' or ')}.`;
    const [taken, free] =
      invited === 0
        ? ['are taken', 'A member who leaves makes room.']
        : ['are taken by members and open invitations', 'A member who leaves or an invitation that is revoked makes room.'];
    throw new SeatLimitReached({ detail: `All ${seats.cap} seats of the plan ${plan.name} ${taken}. ${free}${help}` });
  }

  private async endAll(userId: string, userMemberships: Membership[], actor: Actor, db: Queryable): Promise<void> {
    await this.repository.end(
      userMemberships.map(({ id }) => id),
      db,
    );
    const organizationIds = userMemberships.map(({ organizationId }) => organizationId);
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

function isLocal(organization: { clerkOrganizationId: string | null; deletedAt: Date | null } | undefined): boolean {
  return organization !== undefined && organization.clerkOrganizationId === null && organization.deletedAt === null;
}

function weakerOf(membership: Membership, other: Membership): Membership {
  if (membership.role !== other.role) return membership.role === 'admin' ? other : membership;
  const isOlder =
    membership.createdAt < other.createdAt || (membership.createdAt.getTime() === other.createdAt.getTime() && membership.id < other.id);
  return isOlder ? other : membership;
}
