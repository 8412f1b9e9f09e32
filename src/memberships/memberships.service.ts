import { Inject, Injectable, Logger } from '@nestjs/common';
import { InvalidCredentials, OrganizationNotFound, RoleRequired } from '../access/access.errors.js';
import { type Actor, type UserPrincipal, SYSTEM } from '../access/principal.js';
import { AuditService, type RecordChange, type RecordChanges } from '../audit/audit.service.js';
import { ManagedByClerk } from '../platform/problems/problems.errors.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { searchPage } from '../platform/pagination/searches.js';
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
  private readonly recordAll: RecordChanges;

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
    this.recordAll = audit.recorderOfMany('membership');
  }

  async list(
    organizationId: string,
    { limit, cursor, sort, search, ...filters }: MemberFilters & { search?: string; sort: MemberSort; limit: number; cursor?: string },
  ): Promise<Page<Member>> {
    const list = ['memberships', organizationId, sort, { search, ...filters }];
    const position = this.cursors.read(cursor, list);
    const after = position && ([String(position[0]), String(position[1])] as [string, string]);
    const page = { sort, limit: limit + 1, after };
    const { rows, end } = await searchPage(search, limit, {
      list: (ids) => this.repository.list(organizationId, filters, { ...page, ids }),
      scanNext: (words) => this.repository.scanNext(organizationId, words, { filters, page }),
      findMatching: (words) => this.repository.findMatching(organizationId, words),
    });
    return this.cursors.page(rows, {
      limit,
      list,
      end,
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
      if (role !== 'admin') await this.invitationEnds.endSentBy([member], actor, tx);
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
      await this.invitationEnds.endSentBy([member], actor, tx);
    });
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
    const byOrganization = new Map(userMemberships.map((membership) => [membership.organizationId, membership]));
    const weaker = moving.flatMap((membership) => {
      const duplicate = byOrganization.get(membership.organizationId);
      return duplicate === undefined || membership.deletedAt !== null ? [] : [weakerOf(membership, duplicate).id];
    });
    const ids = moving.map(({ id }) => id);
    await this.repository.end(weaker, db);
    await this.repository.updateUser(ids, toUserId, db);
    return ids;
  }

  async hasMembers(organizationId: string, db: Queryable): Promise<boolean> {
    return this.repository.hasMembers(organizationId, db);
  }

  /** Makes the oldest member admin of each local organization that has members but no admin. The caller has locked them. */
  async ensureAdmins(organizationIds: string[], db: Queryable): Promise<void> {
    const promoted = await this.repository.promoteOldest(organizationIds, db);
    const change = { actor: SYSTEM, before: { role: 'member' }, after: { role: 'admin' } };
    await this.recordAll('membership.promoted', promoted, () => change, db);
    for (const { id: membershipId, organizationId } of promoted)
      this.logger.warn({ organizationId, membershipId }, 'The last admin of an organization was deleted; its oldest member is admin now');
  }

  /** Removes at most `limit` memberships of users or organizations that a purge is about to remove. Returns how many. */
  async purge(by: { userIds: string[] } | { organizationIds: string[] }, limit: number, db: Queryable): Promise<number> {
    return this.repository.purge(by, limit, db);
  }

  async lockOrganizations(organizationIds: string[], db: Queryable): Promise<void> {
    await this.repository.lockOrganizations(organizationIds, db);
  }

  /** Ends memberships that an unverified account gave by invitation. The caller has locked the organizations. Returns their number. */
  async removeInvitedMembers(people: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
    const ended = await this.repository.endLocal(people, db);
    const after = { reason: 'unproved_account' };
    await this.recordAll('membership.removed', ended, ({ userId, role }) => ({ actor, before: { userId, role }, after }), db);
    await this.ensureAdmins([...new Set(ended.map(({ organizationId }) => organizationId))], db);
    return ended.length;
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

function weakerOf(membership: Membership, other: Membership): Membership {
  if (membership.role !== other.role) return membership.role === 'admin' ? other : membership;
  const isOlder =
    membership.createdAt < other.createdAt || (membership.createdAt.getTime() === other.createdAt.getTime() && membership.id < other.id);
  return isOlder ? other : membership;
}
