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
  /** The id of the object that the event reports. */
  objectId: string;
  body: string;
}

/** An object with all its states, oldest first. */
interface SimulatedObject<State> {
  states: State[];
  isDeleted: boolean;
  /** Whether an event about the object was sent. */
  isReported: boolean;
}
export type SimulatedUser = SimulatedObject<UserData>;
export type SimulatedOrganization = SimulatedObject<OrganizationData>;
export type SimulatedMembership = SimulatedObject<Omit<MembershipData, 'organization' | 'user'>> & {
  organization: SimulatedOrganization;
  user: SimulatedUser;
};
export type SimulatedInvitation = SimulatedObject<InvitationData> & { organization: SimulatedOrganization };
export type SimulatedSession = SimulatedObject<SessionData> & { user: SimulatedUser };

export function current<State>({ states }: SimulatedObject<State>): State {
  return states.at(-1)!;
}

export const live = <One extends { isDeleted: boolean }>(objects: One[]): One[] => objects.filter(({ isDeleted }) => !isDeleted);

/**
 * Clerk's state, and the events that it sends about changes. Ids are never reused, and an address or a slug belongs to one live object.
 * Changes are hardly validated: the caller asks only for possible ones.
 */
export class ClerkInstance {
  readonly users: SimulatedUser[] = [];
  readonly organizations: SimulatedOrganization[] = [];
  readonly memberships: SimulatedMembership[] = [];
  readonly invitations: SimulatedInvitation[] = [];
  readonly sessions: SimulatedSession[] = [];
  readonly events: HistoryEvent[] = [];
  /** Whether only the order of message ids decides which of two states is later. */
  tied = false;
  private readonly keys = new Set<string>();

  /** How many states embedded data lags behind. */
  staleness = 0;
  /** Milliseconds that pass with each event. */
  pace = 0;
  /** Placed before the counter in new ids, so that ids do not sort by time. */
  scramble = 0;

  constructor(
    private readonly prefix: string,
    /** In milliseconds; changes only when the test sets it. */
    public now: number,
    private readonly inSeconds = false,
  ) {}

  createUser(given: Partial<UserData>, { isReported = true } = {}): SimulatedUser {
    const user: SimulatedUser = {
      states: [{ ...given, id: this.newId('user', this.users), createdAt: this.now, updatedAt: this.now }],
      isDeleted: false,
      isReported,
    };
    this.users.push(user);
    if (isReported) this.send('user.created', userData(current(user)));
    return user;
  }

  changeUser(user: SimulatedUser, changes: Partial<UserData>): void {
    user.states.push({ ...current(user), ...changes, updatedAt: this.now });
    user.isReported = true;
    this.send('user.updated', userData(current(user)));
  }

  /** Clerk sends an event about the user, and only sometimes about memberships and sessions. */
  deleteUser(user: SimulatedUser, { sendsChildEvents = false } = {}): void {
    const { id, externalId } = current(user);
    const memberships = live(this.memberships).filter((one) => one.user === user);
    const sessions = live(this.sessions).filter((one) => one.user === user);
    if (sendsChildEvents) {
      for (const one of memberships) this.removeMember(one);
      for (const one of sessions) this.endSession(one, 'removed');
    }
    for (const one of [user, ...memberships, ...sessions]) one.isDeleted = true;
    this.send('user.deleted', deletedData('user', id, externalId == null ? {} : { external_id: externalId }));
  }

  createOrganization(given: Partial<OrganizationData>, { isReported = true } = {}): SimulatedOrganization {
    const id = this.newId('org', this.organizations);
    const organization: SimulatedOrganization = {
      states: [{ ...given, id, createdAt: this.now, updatedAt: this.now }],
      isDeleted: false,
      isReported,
    };
    this.organizations.push(organization);
    if (isReported) this.send('organization.created', organizationData(current(organization)));
    return organization;
  }

  changeOrganization(organization: SimulatedOrganization, changes: Partial<OrganizationData>): void {
    organization.states.push({ ...current(organization), ...changes, updatedAt: this.now });
    organization.isReported = true;
    this.send('organization.updated', organizationData(current(organization)));
  }

  deleteOrganization(organization: SimulatedOrganization, { sendsChildEvents = false } = {}): void {
    const memberships = live(this.memberships).filter((one) => one.organization === organization);
    const invitations = live(this.invitations).filter((one) => one.organization === organization);
    if (sendsChildEvents) {
      for (const one of memberships) this.removeMember(one);
      for (const one of invitations) this.revokeInvitation(one);
    }
    for (const one of [organization, ...memberships, ...invitations]) one.isDeleted = true;
    const { id, slug } = current(organization);
    this.send('organization.deleted', deletedData('organization', id, slug == null ? {} : { slug }));
  }

  addMember(organization: SimulatedOrganization, user: SimulatedUser, role: string): void {
    const again = this.memberships.some(
      (one) => one.organization === organization && one.user === user && one.states[0]!.createdAt === this.now,
    );
    // Only their ids decide which of two memberships is later.
    this.tied ||= again;
    const id = this.newId('orgmem', this.memberships);
    const states = [{ id, role, createdAt: this.now, updatedAt: this.now }];
    const membership = { organization, user, states, isDeleted: false, isReported: true };
    this.memberships.push(membership);
    this.send('organizationMembership.created', this.membershipData(membership));
  }

  changeRole(membership: SimulatedMembership, role: string): void {
    membership.states.push({ ...current(membership), role, updatedAt: this.now });
    this.send('organizationMembership.updated', this.membershipData(membership));
  }

  removeMember(membership: SimulatedMembership): void {
    membership.isDeleted = true;
    this.send('organizationMembership.deleted', this.membershipData(membership));
  }

  invite(organization: SimulatedOrganization, email: string, role: string): void {
    const rivals = this.invitations.filter((one) => one.organization === organization && current(one).email === email);
    this.tied ||= rivals.some((one) => current(one).createdAt === this.now);
    const id = this.newId('orginv', this.invitations);
    const organizationId = current(organization).id;
    const states = [{ id, organizationId, email, role, createdAt: this.now, updatedAt: this.now }];
    const invitation = { organization, states, isDeleted: false, isReported: true };
    this.invitations.push(invitation);
    this.send('organizationInvitation.created', invitationData(current(invitation)));
  }

  revokeInvitation(invitation: SimulatedInvitation): void {
    this.closeInvitation(invitation, { status: 'revoked' });
  }

  acceptInvitation(invitation: SimulatedInvitation, user: SimulatedUser): void {
    this.closeInvitation(invitation, { status: 'accepted', userId: current(user).id });
    const isMember = live(this.memberships).some((one) => one.organization === invitation.organization && one.user === user);
    if (!isMember) this.addMember(invitation.organization, user, current(invitation).role!);
  }

  openSession(user: SimulatedUser, status: 'active' | 'pending'): void {
    const id = this.newId('sess', this.sessions);
    const states = [{ id, userId: current(user).id, status, createdAt: this.now, updatedAt: this.now }];
    const session = { user, states, isDeleted: false, isReported: true };
    this.sessions.push(session);
    this.sendSession(session, status === 'pending' ? 'pending' : 'created');
  }

  endSession(session: SimulatedSession, how: 'ended' | 'removed' | 'revoked'): void {
    session.isDeleted = true;
    session.states.push({ ...current(session), status: how, updatedAt: this.now });
    this.sendSession(session, how);
  }

  private closeInvitation(invitation: SimulatedInvitation, changes: Partial<InvitationData>): void {
    invitation.isDeleted = true;
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

  /** Embedded data may be stale. */
  private asEmbedded<State>({ states }: SimulatedObject<State>): State {
    return states[Math.max(0, states.length - 1 - this.staleness)]!;
  }

  private newId(kind: string, objects: unknown[]): string {
    return `${kind}_${this.prefix}_${this.scramble}${objects.length}`;
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
