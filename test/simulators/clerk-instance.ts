import {
  clerkEvent,
  deletedData,
  type InvitationData,
  invitationData,
  type MembershipData,
  membershipData,
  type OrganizationData,
  organizationData,
  type SessionData,
  sessionData,
  type UserData,
  userData,
} from '../support/clerk/clerk-events.js';

export interface HistoryEvent {
  messageId: string;
  type: string;
  /** What the event is about. */
  objectId: string;
  body: string;
}

/** A thing and all that it ever was; the last of them is what it is now. */
interface Thing<State> {
  states: State[];
  dead: boolean;
  /** Whether an event of its own tells of it; others were there before anybody listened. */
  told: boolean;
}
export type SimulatedUser = Thing<UserData>;
export type SimulatedOrganization = Thing<OrganizationData>;
export type SimulatedMembership = Thing<Omit<MembershipData, 'organization' | 'user'>> & {
  organization: SimulatedOrganization;
  user: SimulatedUser;
};
export type SimulatedInvitation = Thing<InvitationData> & { organization: SimulatedOrganization };
export type SimulatedSession = Thing<SessionData> & { user: SimulatedUser };

export function current<State>({ states }: Thing<State>): State {
  return states.at(-1)!;
}

export const living = <One extends { dead: boolean }>(things: One[]): One[] => things.filter(({ dead }) => !dead);

/**
 * Clerk's own state, and the events that Clerk sends when it changes. Ids are never used twice; an address and
 * a slug belong to one living thing at a time. What it is asked must be possible: it checks little.
 */
export class ClerkInstance {
  readonly users: SimulatedUser[] = [];
  readonly organizations: SimulatedOrganization[] = [];
  readonly memberships: SimulatedMembership[] = [];
  readonly invitations: SimulatedInvitation[] = [];
  readonly sessions: SimulatedSession[] = [];
  readonly events: HistoryEvent[] = [];
  /** Whether only the ids of two messages tell which of two states came later. */
  tied = false;
  private readonly keys = new Set<string>();

  /** How many states older than the newest the things are that events embed. */
  staleness = 0;
  /** Milliseconds that pass with each event. */
  pace = 0;
  /** Goes into the next ids, before what counts up: they do not sort by time. */
  scramble = 0;

  constructor(
    private readonly prefix: string,
    /** In milliseconds; passes only when told to. */
    public now: number,
    private readonly inSeconds = false,
  ) {}

  createUser(given: Partial<UserData>, { told = true } = {}): SimulatedUser {
    const user: SimulatedUser = {
      states: [{ ...given, id: this.newId('user', this.users), createdAt: this.now, updatedAt: this.now }],
      dead: false,
      told,
    };
    this.users.push(user);
    if (told) this.send('user.created', userData(current(user)));
    return user;
  }

  changeUser(user: SimulatedUser, changes: Partial<UserData>): void {
    user.states.push({ ...current(user), ...changes, updatedAt: this.now });
    user.told = true;
    this.send('user.updated', userData(current(user)));
  }

  /** Clerk tells of the user only; now and then of what goes with them too. */
  deleteUser(user: SimulatedUser, { tellsOfChildren = false } = {}): void {
    const { id, externalId } = current(user);
    const memberships = living(this.memberships).filter((one) => one.user === user);
    const sessions = living(this.sessions).filter((one) => one.user === user);
    if (tellsOfChildren) {
      for (const one of memberships) this.removeMember(one);
      for (const one of sessions) this.endSession(one, 'removed');
    }
    for (const one of [user, ...memberships, ...sessions]) one.dead = true;
    this.send('user.deleted', deletedData('user', id, externalId == null ? {} : { external_id: externalId }));
  }

  createOrganization(given: Partial<OrganizationData>, { told = true } = {}): SimulatedOrganization {
    const id = this.newId('org', this.organizations);
    const organization: SimulatedOrganization = {
      states: [{ ...given, id, createdAt: this.now, updatedAt: this.now }],
      dead: false,
      told,
    };
    this.organizations.push(organization);
    if (told) this.send('organization.created', organizationData(current(organization)));
    return organization;
  }

  changeOrganization(organization: SimulatedOrganization, changes: Partial<OrganizationData>): void {
    organization.states.push({ ...current(organization), ...changes, updatedAt: this.now });
    organization.told = true;
    this.send('organization.updated', organizationData(current(organization)));
  }

  deleteOrganization(organization: SimulatedOrganization, { tellsOfChildren = false } = {}): void {
    const memberships = living(this.memberships).filter((one) => one.organization === organization);
    const invitations = living(this.invitations).filter((one) => one.organization === organization);
    if (tellsOfChildren) {
      for (const one of memberships) this.removeMember(one);
      for (const one of invitations) this.revokeInvitation(one);
    }
    for (const one of [organization, ...memberships, ...invitations]) one.dead = true;
    const { id, slug } = current(organization);
    this.send('organization.deleted', deletedData('organization', id, slug == null ? {} : { slug }));
  }

  addMember(organization: SimulatedOrganization, user: SimulatedUser, role: string): void {
    const again = this.memberships.some(
      (one) => one.organization === organization && one.user === user && one.states[0]!.createdAt === this.now,
    );
    // Which of two memberships is the later one, only their ids tell.
    this.tied ||= again;
    const id = this.newId('orgmem', this.memberships);
    const states = [{ id, role, createdAt: this.now, updatedAt: this.now }];
    const membership = { organization, user, states, dead: false, told: true };
    this.memberships.push(membership);
    this.send('organizationMembership.created', this.membershipData(membership));
  }

  changeRole(membership: SimulatedMembership, role: string): void {
    membership.states.push({ ...current(membership), role, updatedAt: this.now });
    this.send('organizationMembership.updated', this.membershipData(membership));
  }

  removeMember(membership: SimulatedMembership): void {
    membership.dead = true;
    this.send('organizationMembership.deleted', this.membershipData(membership));
  }

  invite(organization: SimulatedOrganization, email: string, role: string): void {
    const rivals = this.invitations.filter((one) => one.organization === organization && current(one).email === email);
    this.tied ||= rivals.some((one) => current(one).createdAt === this.now);
    const id = this.newId('orginv', this.invitations);
    const organizationId = current(organization).id;
    const states = [{ id, organizationId, email, role, createdAt: this.now, updatedAt: this.now }];
    const invitation = { organization, states, dead: false, told: true };
    this.invitations.push(invitation);
    this.send('organizationInvitation.created', invitationData(current(invitation)));
  }

  revokeInvitation(invitation: SimulatedInvitation): void {
    this.closeInvitation(invitation, { status: 'revoked' });
  }

  acceptInvitation(invitation: SimulatedInvitation, user: SimulatedUser): void {
    this.closeInvitation(invitation, { status: 'accepted', userId: current(user).id });
    const isMember = living(this.memberships).some((one) => one.organization === invitation.organization && one.user === user);
    if (!isMember) this.addMember(invitation.organization, user, current(invitation).role!);
  }

  openSession(user: SimulatedUser, status: 'active' | 'pending'): void {
    const id = this.newId('sess', this.sessions);
    const states = [{ id, userId: current(user).id, status, createdAt: this.now, updatedAt: this.now }];
    const session = { user, states, dead: false, told: true };
    this.sessions.push(session);
    this.sendSession(session, status === 'pending' ? 'pending' : 'created');
  }

  endSession(session: SimulatedSession, how: 'ended' | 'removed' | 'revoked'): void {
    session.dead = true;
    session.states.push({ ...current(session), status: how, updatedAt: this.now });
    this.sendSession(session, how);
  }

  private closeInvitation(invitation: SimulatedInvitation, changes: Partial<InvitationData>): void {
    invitation.dead = true;
    invitation.states.push({ ...current(invitation), ...changes, updatedAt: this.now });
    this.send(`organizationInvitation.${changes.status}`, invitationData(current(invitation)));
  }

  private sendSession(session: SimulatedSession, what: string): void {
    this.send(`session.${what}`, sessionData({ ...current(session), user: this.asEmbedded(session.user) }));
  }

  private membershipData(membership: SimulatedMembership): Record<string, unknown> {
    const { organization, user } = membership;
    return membershipData({ ...current(membership), organization: this.asEmbedded(organization), user: this.asEmbedded(user) });
  }

  /** What is embedded may be older than the newest. */
  private asEmbedded<State>({ states }: Thing<State>): State {
    return states[Math.max(0, states.length - 1 - this.staleness)]!;
  }

  private newId(kind: string, things: unknown[]): string {
    return `${kind}_${this.prefix}_${this.scramble}${things.length}`;
  }

  private send(type: string, data: Record<string, unknown>): void {
    const timestamp = this.inSeconds ? Math.floor(this.now / 1000) : this.now;
    const objectId = data['id'] as string;
    const key = [objectId, type.split('.')[1], timestamp, data['updated_at']].join(' ');
    this.tied ||= this.keys.has(key);
    this.keys.add(key);
    const messageId = `msg_${this.prefix}_${this.scramble}${this.events.length}`;
    this.events.push({ messageId, type, objectId, body: JSON.stringify(clerkEvent(type, data, { timestamp })) });
    this.now += this.pace;
  }
}
