import { ClerkInstance } from '../../simulators/clerk-instance.js';
import { type History, localId, type LocalUser } from './clerk-histories.js';

interface Values {
  email(index: number, verified?: boolean): { email: string; verified: boolean };
  slug(index: number): string;
}

interface Scenario {
  /** The local users that exist before; each has the address with its index. */
  locals?: Pick<LocalUser, 'proved' | 'role'>[];
  /** Creates five events, which the proof delivers in many orders. */
  createEvents(clerk: ClerkInstance, names: Values): void;
}

/** For objects without a creation event. */
const known = { isReported: false };

export const SCENARIOS: Record<string, Scenario> = {
  'a user who changes and is deleted': {
    createEvents(clerk, { email }) {
      const user = clerk.createUser({ firstName: 'Ann', email: email(0) });
      clerk.changeUser(user, { lastName: 'Smith' });
      clerk.changeUser(user, { email: email(1, false) });
      clerk.changeUser(user, { email: email(1), banned: true });
      clerk.deleteUser(user);
    },
  },
  'an address that moves from one user to the next': {
    createEvents(clerk, { email }) {
      const first = clerk.createUser({ email: email(0) });
      clerk.changeUser(first, { email: undefined });
      const second = clerk.createUser({ email: email(0, false) });
      clerk.deleteUser(second);
      clerk.createUser({ email: email(0) });
    },
  },
  'a local user who becomes two Clerk users, one after the other': {
    locals: [{ proved: true, role: 'admin' }],
    createEvents(clerk, { email }) {
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
    createEvents(clerk, { email }) {
      const user = clerk.createUser({ email: email(0) });
      clerk.changeUser(user, { email: email(1) });
      clerk.changeUser(user, { email: email(1, false) });
      clerk.changeUser(user, { email: email(0) });
      clerk.changeUser(user, { firstName: 'Ann' });
    },
  },
  'a squatter who loses an address to its owner': {
    locals: [{ proved: false, role: 'admin' }],
    createEvents(clerk, { email }) {
      const first = clerk.createUser({ email: email(0, false) });
      clerk.changeUser(first, { email: email(0) });
      clerk.changeUser(first, { email: email(1) });
      const second = clerk.createUser({ email: email(0, false) });
      clerk.openSession(second, 'active');
    },
  },
  'a member who leaves and joins again': {
    createEvents(clerk) {
      const organization = clerk.createOrganization({ name: 'Acme' });
      const user = clerk.createUser({ firstName: 'Ann' }, known);
      clerk.addMember(organization, user, 'org:admin');
      clerk.removeMember(clerk.memberships[0]!);
      clerk.addMember(organization, user, 'org:billing');
      clerk.changeRole(clerk.memberships[1]!, 'org:admin');
    },
  },
  'a slug that moves from one organization to the next': {
    createEvents(clerk, { slug }) {
      const first = clerk.createOrganization({ name: 'First', slug: slug(0) });
      clerk.changeOrganization(first, { slug: slug(1) });
      const second = clerk.createOrganization({ name: 'Second', slug: slug(0) });
      clerk.deleteOrganization(second);
      clerk.createOrganization({ name: 'Third', slug: slug(0) });
    },
  },
  'an invitation that is revoked, sent again and accepted': {
    createEvents(clerk, { email }) {
      const organization = clerk.createOrganization({ name: 'Acme' }, known);
      const user = clerk.createUser({}, known);
      clerk.invite(organization, email(0).email, 'org:member');
      clerk.revokeInvitation(clerk.invitations[0]!);
      clerk.invite(organization, email(0).email, 'org:admin');
      clerk.acceptInvitation(clerk.invitations[1]!, user);
    },
  },
  'an organization that is deleted with everything in it': {
    createEvents(clerk, { email, slug }) {
      const organization = clerk.createOrganization({ name: 'Acme', slug: slug(0) });
      clerk.invite(organization, email(0).email, 'org:member');
      clerk.addMember(organization, clerk.createUser({ firstName: 'Ann' }, known), 'org:admin');
      clerk.changeRole(clerk.memberships[0]!, 'org:member');
      clerk.deleteOrganization(organization);
    },
  },
  'a user who is deleted with all memberships and sessions': {
    createEvents(clerk, { email }) {
      const user = clerk.createUser({ email: email(0) });
      clerk.addMember(clerk.createOrganization({ name: 'Acme' }, known), user, 'org:admin');
      clerk.openSession(user, 'active');
      clerk.endSession(clerk.sessions[0]!, 'ended');
      clerk.deleteUser(user);
    },
  },
  'a user who is deleted and never signed out': {
    createEvents(clerk, { email }) {
      const user = clerk.createUser({ email: email(0) });
      clerk.addMember(clerk.createOrganization({ name: 'Acme' }, known), user, 'org:admin');
      clerk.openSession(user, 'active');
      clerk.changeUser(user, { lastName: 'Smith' });
      clerk.deleteUser(user);
    },
  },
};

export function historyOf({ locals = [], createEvents }: Scenario, prefix: string): History {
  const clerk = new ClerkInstance(prefix, Date.UTC(2026, 0, 1));
  clerk.pace = 1;
  const address = (index: number) => `${prefix}-e${index}@example.com`;
  createEvents(clerk, {
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
    signedIn: [],
  };
}

/** Every eleventh of the 120 orders of five events; all orders when FC_RUNS asks for a longer run. */
export function ordersOfFive(): number[][] {
  return process.env['FC_RUNS'] === undefined ? someOrdersOfFive(11) : permutations(5);
}

export function someOrdersOfFive(every: number): number[][] {
  return permutations(5).filter((_, index) => index % every === 0);
}

/** Every order of `count` things. */
function permutations(count: number): number[][] {
  if (count === 0) return [[]];
  return permutations(count - 1).flatMap((rest) =>
    Array.from({ length: count }, (_, place) => [...rest.slice(0, place), count - 1, ...rest.slice(place)]),
  );
}
