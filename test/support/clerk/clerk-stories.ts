import { ClerkInstance } from '../../simulators/clerk-instance.js';
import { type History, localId, type LocalUser } from './clerk-histories.js';

interface Names {
  email(index: number, verified?: boolean): { email: string; verified: boolean };
  slug(index: number): string;
}

interface Story {
  /** Who was there before; each has the address of its place in the list. */
  locals?: Pick<LocalUser, 'proved' | 'role'>[];
  /** Five events, whose order is tried out in every way. */
  tell(clerk: ClerkInstance, names: Names): void;
}

/** Has nobody told us of its making. */
const known = { told: false };

export const STORIES: Record<string, Story> = {
  'a user who changes and goes': {
    tell(clerk, { email }) {
      const user = clerk.createUser({ firstName: 'Ann', email: email(0) });
      clerk.changeUser(user, { lastName: 'Smith' });
      clerk.changeUser(user, { email: email(1, false) });
      clerk.changeUser(user, { email: email(1), banned: true });
      clerk.deleteUser(user);
    },
  },
  'an address that goes from one to the next': {
    tell(clerk, { email }) {
      const first = clerk.createUser({ email: email(0) });
      clerk.changeUser(first, { email: undefined });
      const second = clerk.createUser({ email: email(0, false) });
      clerk.deleteUser(second);
      clerk.createUser({ email: email(0) });
    },
  },
  'somebody we know, who comes as two Clerk users, one after the other': {
    locals: [{ proved: true, role: 'admin' }],
    tell(clerk, { email }) {
      const first = clerk.createUser({ email: email(0) });
      clerk.deleteUser(first);
      const second = clerk.createUser({ email: email(0, false) });
      clerk.changeUser(second, { email: email(0) });
      clerk.openSession(second, 'active');
    },
  },
  'two local users who are one Clerk user': {
    locals: [
      { proved: true, role: 'member' },
      { proved: true, role: 'admin' },
    ],
    tell(clerk, { email }) {
      const user = clerk.createUser({ email: email(0) });
      clerk.changeUser(user, { email: email(1) });
      clerk.changeUser(user, { email: email(1, false) });
      clerk.changeUser(user, { email: email(0) });
      clerk.changeUser(user, { firstName: 'Ann' });
    },
  },
  'a squatter who loses an address to its owner': {
    locals: [{ proved: false, role: 'admin' }],
    tell(clerk, { email }) {
      const first = clerk.createUser({ email: email(0, false) });
      clerk.changeUser(first, { email: email(0) });
      clerk.changeUser(first, { email: email(1) });
      const second = clerk.createUser({ email: email(0, false) });
      clerk.openSession(second, 'active');
    },
  },
  'a member who goes and comes back': {
    tell(clerk) {
      const organization = clerk.createOrganization({ name: 'Acme' });
      const user = clerk.createUser({ firstName: 'Ann' }, known);
      clerk.addMember(organization, user, 'org:admin');
      clerk.removeMember(clerk.memberships[0]!);
      clerk.addMember(organization, user, 'org:billing');
      clerk.changeRole(clerk.memberships[1]!, 'org:admin');
    },
  },
  'a slug that goes from one to the next': {
    tell(clerk, { slug }) {
      const first = clerk.createOrganization({ name: 'First', slug: slug(0) });
      clerk.changeOrganization(first, { slug: slug(1) });
      const second = clerk.createOrganization({ name: 'Second', slug: slug(0) });
      clerk.deleteOrganization(second);
      clerk.createOrganization({ name: 'Third', slug: slug(0) });
    },
  },
  'an invitation that is taken back, sent again and accepted': {
    tell(clerk, { email }) {
      const organization = clerk.createOrganization({ name: 'Acme' }, known);
      const user = clerk.createUser({}, known);
      clerk.invite(organization, email(0).email, 'org:member');
      clerk.revokeInvitation(clerk.invitations[0]!);
      clerk.invite(organization, email(0).email, 'org:admin');
      clerk.acceptInvitation(clerk.invitations[1]!, user);
    },
  },
  'an organization that goes with all that belongs to it': {
    tell(clerk, { email, slug }) {
      const organization = clerk.createOrganization({ name: 'Acme', slug: slug(0) });
      clerk.invite(organization, email(0).email, 'org:member');
      clerk.addMember(organization, clerk.createUser({ firstName: 'Ann' }, known), 'org:admin');
      clerk.changeRole(clerk.memberships[0]!, 'org:member');
      clerk.deleteOrganization(organization);
    },
  },
  'a user who goes with all that is theirs': {
    tell(clerk, { email }) {
      const user = clerk.createUser({ email: email(0) });
      clerk.addMember(clerk.createOrganization({ name: 'Acme' }, known), user, 'org:admin');
      clerk.openSession(user, 'active');
      clerk.endSession(clerk.sessions[0]!, 'ended');
      clerk.deleteUser(user);
    },
  },
  'a user who goes and never signed out': {
    tell(clerk, { email }) {
      const user = clerk.createUser({ email: email(0) });
      clerk.addMember(clerk.createOrganization({ name: 'Acme' }, known), user, 'org:admin');
      clerk.openSession(user, 'active');
      clerk.changeUser(user, { lastName: 'Smith' });
      clerk.deleteUser(user);
    },
  },
};

export function tellStory({ locals = [], tell }: Story, prefix: string): History {
  const clerk = new ClerkInstance(prefix, Date.UTC(2026, 0, 1));
  clerk.pace = 1;
  const address = (index: number) => `${prefix}-e${index}@example.com`;
  tell(clerk, {
    email: (index, verified = true) => ({ email: address(index), verified }),
    slug: (index) => `${prefix}-s${index}`,
  });
  return {
    prefix,
    clerk,
    events: clerk.events,
    locals: locals.map((local, index) => {
      const label = `local-${index}`;
      return { ...local, label, id: localId(prefix, label), email: address(index), operator: false, hasPassword: true };
    }),
    localSlug: undefined,
    met: [],
  };
}

/** Of the 120 orders of five events every eleventh; all of them where a run is asked for more than CI has time for. */
export function ordersOfFive(): number[][] {
  return process.env['FC_RUNS'] === undefined ? someOrdersOfFive(11) : permutations(5);
}

export function someOrdersOfFive(every: number): number[][] {
  return permutations(5).filter((_, index) => index % every === 0);
}

/** Every order of so many things. */
function permutations(count: number): number[][] {
  if (count === 0) return [[]];
  return permutations(count - 1).flatMap((rest) =>
    Array.from({ length: count }, (_, place) => [...rest.slice(0, place), count - 1, ...rest.slice(place)]),
  );
}
