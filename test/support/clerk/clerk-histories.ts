import { createHash } from 'node:crypto';
import fc from 'fast-check';
import {
  ClerkInstance,
  current,
  type HistoryEvent,
  live,
  type SimulatedOrganization,
  type SimulatedUser,
} from '../../simulators/clerk-instance.js';

/** The start of a history; the objects from before are much older. */
const START = Date.UTC(2026, 0, 1);
const KNOWN_SINCE = START - 30 * 86_400_000;

export const ROLE_KEYS = ['org:member', 'org:admin', 'org:billing', 'admin', 'basic_member'];

const KINDS = ['user', 'email', 'deleteUser', 'organization', 'slug', 'deleteOrganization', 'member', 'invitation', 'session'] as const;
type Kind = (typeof KINDS)[number];

/** What a history is mostly about: few kinds of steps make collisions likely. */
const THEMES: Kind[][] = [
  [...KINDS],
  ['email', 'email', 'email', 'user', 'deleteUser', 'session'],
  ['slug', 'slug', 'slug', 'organization', 'deleteOrganization', 'member'],
  ['member', 'member', 'member', 'member', 'deleteUser', 'deleteOrganization', 'email'],
  ['invitation', 'invitation', 'invitation', 'invitation', 'deleteOrganization', 'deleteUser', 'email'],
  ['session', 'session', 'session', 'email', 'deleteUser'],
];

/** One change at Clerk. The numbers choose among the possible changes. */
export interface Step {
  /** False makes a history shorter when fast-check shrinks it. */
  happens: boolean;
  kind: Kind;
  user: number;
  organization: number;
  choice: number;
  flag: boolean;
  /** Milliseconds since the previous step. */
  gap: number;
  staleness: number;
  scramble: number;
}

interface LocalUserChoice {
  email: number;
  proved: boolean;
  operator: boolean;
  hasPassword: boolean;
  role: 'admin' | 'member' | null;
}

/** The values that fast-check generates and shrinks. */
export interface Choices {
  inSeconds: boolean;
  /** Clerk users and organizations without a creation event. */
  before: { users: number; organizations: number };
  /** Whether the first of these users signed in before the first event, and is an operator. */
  signedIn: 'no' | 'member' | 'operator';
  locals: LocalUserChoice[];
  /** Whether a local organization has one of the slugs. */
  hasLocalSlug: boolean;
  steps: Step[];
  /** The sort key of each delivery; `twice` lists the events that are delivered again. */
  order: number[];
  twice: number[];
}

export interface LocalUser {
  label: string;
  id: string;
  email: string;
  proved: boolean;
  operator: boolean;
  hasPassword: boolean;
  role: 'admin' | 'member' | null;
}

export interface History {
  prefix: string;
  events: HistoryEvent[];
  /** Clerk's final state. */
  clerk: ClerkInstance;
  locals: LocalUser[];
  localSlug: string | undefined;
  /** Clerk users who signed in before the first event. */
  signedIn: { clerkUserId: string; operator: boolean }[];
}

export interface HistoryOptions {
  maxSteps?: number;
  maxLocals?: number;
}

const MAX_DELIVERIES = 60;

export function choicesArbitrary({ maxSteps = 8, maxLocals = 2 }: HistoryOptions = {}): fc.Arbitrary<Choices> {
  const often = <T>(usual: T, rare: T) =>
    fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constant(rare) });
  const stepOf = (kinds: Kind[]): fc.Arbitrary<Step> =>
    fc.record({
      happens: fc.constantFrom(false, ...Array<boolean>(19).fill(true)),
      kind: fc.constantFrom(...kinds),
      user: fc.constantFrom(0, 0, 0, 1, 1, 2, 3),
      organization: fc.constantFrom(0, 0, 0, 0, 1, 2),
      choice: fc.nat(11),
      flag: fc.boolean(),
      gap: fc.constantFrom(0, 0, 1, 40, 900, 70_000),
      staleness: fc.constantFrom(0, 0, 1, 2),
      scramble: fc.nat(9),
    });
  const local: fc.Arbitrary<LocalUserChoice> = fc.record({
    email: fc.constantFrom(0, 0, 1, 1, 2),
    proved: fc.boolean(),
    operator: often(false, true),
    hasPassword: fc.boolean(),
    role: fc.constantFrom(null, 'admin', 'member'),
  });
  const choices = fc.record({
    inSeconds: often(false, true),
    before: fc.record({ users: fc.nat(2), organizations: fc.nat(1) }),
    signedIn: fc.oneof(
      { weight: 7, arbitrary: fc.constant('no' as const) },
      { weight: 2, arbitrary: fc.constant('member' as const) },
      { weight: 1, arbitrary: fc.constant('operator' as const) },
    ),
    locals: fc.uniqueArray(local, { maxLength: maxLocals, selector: ({ email }) => email }),
    hasLocalSlug: often(false, true),
    steps: fc.oneof(
      ...THEMES.map((kinds) => fc.array(stepOf(kinds), { minLength: Math.min(4, maxSteps), maxLength: maxSteps, size: 'max' })),
    ),
    order: fc.array(fc.nat(999), { minLength: MAX_DELIVERIES, maxLength: MAX_DELIVERIES }),
    twice: fc.array(fc.nat(MAX_DELIVERIES), { maxLength: 4 }),
  });
  // fast-check is biased to small and extreme values, with which few steps collide.
  return fc.noBias(choices);
}

/** Plays the choices in a simulated Clerk instance. All ids, addresses and slugs start with the prefix. */
export function historyFrom(choices: Choices, prefix: string): History {
  const clerk = new ClerkInstance(prefix, KNOWN_SINCE, choices.inSeconds);
  const emails = [0, 1, 2].map((index) => `${prefix}-e${index}@example.com`);
  const slugs = [`${prefix}-s0`, `${prefix}-s1`, `${prefix}_S2`];
  for (let index = 0; index < choices.before.users; index += 1) clerk.createUser({ firstName: `Known ${index}` }, { isReported: false });
  for (let index = 0; index < choices.before.organizations; index += 1) clerk.createOrganization({ name: 'Known' }, { isReported: false });
  const signedIn = choices.signedIn === 'no' ? [] : clerk.users.slice(0, 1).map((user) => current(user).id);
  clerk.now = START;
  const player = new StepPlayer(clerk, emails, slugs);
  for (const step of choices.steps) if (step.happens) player.play(step);
  return {
    prefix,
    clerk,
    events: clerk.events,
    locals: choices.locals.map(({ email, ...local }, index) => {
      const label = `local-${index}`;
      return { ...local, label, id: localId(prefix, label), email: emails[email]! };
    }),
    localSlug: choices.hasLocalSlug ? slugs[0] : undefined,
    signedIn: signedIn.map((clerkUserId) => ({ clerkUserId, operator: choices.signedIn === 'operator' })),
  };
}

/** The events in delivery order, with duplicates. */
export function shuffled<Event>(events: Event[], { order, twice }: Pick<Choices, 'order' | 'twice'>): Event[] {
  const deliveries = [...events, ...twice.flatMap((index) => events.slice(index % events.length).slice(0, 1))];
  const keyed = deliveries.map((event, index) => ({ event, key: order[index % order.length]! }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ event }) => event);
}

/** A row id that is the same in every database. */
export function localId(prefix: string, label: string): string {
  const hash = createHash('sha256').update(`${prefix} ${label}`).digest('hex');
  return `${hash.slice(0, 8)}-${hash.slice(8, 12)}-7${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
}

/** Runs a step, or the nearest possible one. */
class StepPlayer {
  private readonly userSlots: (SimulatedUser | undefined)[];
  private readonly organizationSlots: (SimulatedOrganization | undefined)[];
  private count = 0;

  constructor(
    private readonly clerk: ClerkInstance,
    private readonly emails: string[],
    private readonly slugs: string[],
  ) {
    this.userSlots = [...clerk.users];
    this.organizationSlots = [...clerk.organizations];
  }

  play(step: Step): void {
    this.count += 1;
    this.clerk.now += step.gap;
    this.clerk.staleness = step.staleness;
    this.clerk.scramble = step.scramble;
    this[step.kind](step);
  }

  private user({ user: slot, choice, flag }: Step): void {
    const user = this.userSlots[slot];
    const name = { firstName: flag ? `First ${this.count}` : null, lastName: `Last ${this.count}` };
    if (user === undefined || user.isDeleted) {
      this.userSlots[slot] = this.clerk.createUser({ ...name, ...this.freeEmail(choice) });
      return;
    }
    const changes = [name, { banned: flag }, { username: flag ? `${current(user).id}-${this.count}` : null }, { imageUrl: this.image() }];
    this.clerk.changeUser(user, changes[choice % changes.length]!);
  }

  /** Moves, removes or changes an address; it may be verified or not. */
  private email(step: Step): void {
    const user = this.userSlots[step.user];
    if (user === undefined || user.isDeleted) {
      this.user(step);
      return;
    }
    const { email } = current(user);
    const alias = { email: `Alias-${current(user).id}@example.com`, verified: true };
    if (email !== undefined && step.choice < 3) this.clerk.changeUser(user, { email: undefined, otherEmails: [alias] });
    else if (email !== undefined && step.choice < 6) this.clerk.changeUser(user, { email: { ...email, verified: !email.verified } });
    else this.clerk.changeUser(user, { otherEmails: step.flag ? [alias] : [], ...this.freeEmail(step.choice) });
  }

  private deleteUser({ user: slot, flag }: Step): void {
    const user = this.userSlots[slot] ?? this.userSlots.find((one) => one !== undefined && !one.isDeleted);
    if (user !== undefined && !user.isDeleted) this.clerk.deleteUser(user, { sendsChildEvents: flag });
  }

  private organization({ organization: slot, choice, flag }: Step): void {
    const organization = this.organizationSlots[slot];
    const name = { name: `Organization ${this.count}` };
    if (organization === undefined || organization.isDeleted) {
      this.organizationSlots[slot] = this.clerk.createOrganization({ ...name, slug: this.freeSlug(choice) });
    } else this.clerk.changeOrganization(organization, flag ? name : { imageUrl: this.image() });
  }

  private slug(step: Step): void {
    const organization = this.organizationSlots[step.organization];
    if (organization === undefined || organization.isDeleted) this.organization(step);
    else this.clerk.changeOrganization(organization, { slug: this.freeSlug(step.choice) });
  }

  private deleteOrganization({ organization: slot, flag }: Step): void {
    const organization = this.organizationSlots[slot];
    if (organization !== undefined && !organization.isDeleted) this.clerk.deleteOrganization(organization, { sendsChildEvents: flag });
  }

  private member(step: Step): void {
    const user = this.liveUser(step);
    const organization = this.liveOrganization(step);
    const membership = live(this.clerk.memberships).find((one) => one.user === user && one.organization === organization);
    const role = ROLE_KEYS[step.choice % ROLE_KEYS.length]!;
    if (membership === undefined) this.clerk.addMember(organization, user, role);
    else if (step.flag) this.clerk.changeRole(membership, role);
    else {
      this.clerk.removeMember(membership);
      if (step.choice % 2 === 0) this.clerk.addMember(organization, user, role);
    }
  }

  private invitation(step: Step): void {
    const organization = this.liveOrganization(step);
    const email = this.emails[step.choice % 2]!;
    const pending = live(this.clerk.invitations).find((one) => one.organization === organization && current(one).email === email);
    if (pending === undefined || step.choice > 8) {
      this.clerk.invite(organization, email, ROLE_KEYS[step.choice % ROLE_KEYS.length]!);
    } else if (step.flag) this.clerk.acceptInvitation(pending, this.liveUser(step));
    else this.clerk.revokeInvitation(pending);
  }

  private session(step: Step): void {
    const user = this.liveUser(step);
    const session = live(this.clerk.sessions).find((one) => one.user === user);
    if (session === undefined || step.flag) this.clerk.openSession(user, step.choice % 4 === 3 ? 'pending' : 'active');
    else this.clerk.endSession(session, (['ended', 'removed', 'revoked'] as const)[step.choice % 3]!);
  }

  /** The live user of a slot, created if necessary. */
  private liveUser(step: Step): SimulatedUser {
    const user = this.userSlots[step.user];
    if (user === undefined || user.isDeleted) this.user(step);
    return this.userSlots[step.user]!;
  }

  private liveOrganization(step: Step): SimulatedOrganization {
    const organization = this.organizationSlots[step.organization];
    if (organization === undefined || organization.isDeleted) this.organization(step);
    return this.organizationSlots[step.organization]!;
  }

  /** An address that no live user has, sometimes with a capital letter. */
  private freeEmail(choice: number) {
    const taken = live(this.clerk.users).map((user) => current(user).email?.email.toLowerCase());
    const free = this.emails.filter((email) => !taken.includes(email));
    const email = choice === 11 ? undefined : free[choice % free.length];
    if (email === undefined) return { email };
    return { email: { email: choice % 4 === 0 ? email.replace('example', 'Example') : email, verified: choice % 3 !== 0 } };
  }

  private freeSlug(choice: number): string | null {
    const taken = live(this.clerk.organizations).map((organization) => current(organization).slug);
    const free = this.slugs.filter((slug) => !taken.includes(slug));
    return choice === 11 ? null : (free[choice % free.length] ?? null);
  }

  private image(): string {
    return `https://img.clerk.com/${this.count}`;
  }
}
