import { current } from '../../simulators/clerk-instance.js';
import type { ClerkEvent } from './clerk-events.js';
import type { History, LocalUser } from './clerk-histories.js';

/** The part of the rows that follows from Clerk's final state, in any order of events. */
export type ExpectedRows = Record<
  'users' | 'organizations' | 'memberships' | 'invitations' | 'sessions' | 'locals',
  Record<string, object>
>;

/**
 * The expected rows, computed from Clerk's final state and not from the effect of any event. Undefined where only the order of message ids
 * decides which event is last, or where an operator prevents a merge.
 */
export function expectedRowsOf(history: History): ExpectedRows | undefined {
  const { clerk, locals } = history;
  if (clerk.tied || locals.some(({ operator }) => operator) || history.signedIn.some(({ operator }) => operator)) return undefined;
  const proofs = proofsOf(history);
  const expected: ExpectedRows = { users: {}, organizations: {}, memberships: {}, invitations: {}, sessions: {}, locals: {} };
  const kept = new Set<string>();
  for (const local of locals) {
    const expectedLocalRow = expectedLocal(local, proofs);
    if ('email' in expectedLocalRow && expectedLocalRow.email !== null) kept.add(local.email);
    expected.locals[local.label] = expectedLocalRow;
  }
  for (const user of clerk.users.filter(({ isReported }) => isReported)) {
    const { id, email, firstName, lastName, username, banned, imageUrl } = current(user);
    if (user.isDeleted) {
      expected.users[id] = { dead: true, email: null, name: '', username: null, clerk_email: null };
      continue;
    }
    const claim = email?.email.toLowerCase() ?? null;
    expected.users[id] = {
      dead: false,
      clerk_email: claim,
      clerk_email_verified: email?.verified ?? false,
      email: claim !== null && kept.has(claim) ? null : claim,
      name: [firstName, lastName].filter((part) => part != null).join(' '),
      username: username ?? null,
      banned: banned ?? false,
      ...(imageUrl !== undefined && { image_url: imageUrl }),
    };
  }
  for (const organization of clerk.organizations.filter(({ isReported }) => isReported)) {
    const { id, name, slug = null } = current(organization);
    if (organization.isDeleted) expected.organizations[id] = { dead: true, slug: null, clerk_slug: null };
    else {
      const isFree = slug !== null && slug !== history.localSlug && /^[a-z0-9-]+$/.test(slug);
      expected.organizations[id] = { dead: false, name, clerk_slug: slug, slug: isFree ? slug : null };
    }
  }
  for (const membership of clerk.memberships) {
    const { id, role } = current(membership);
    const plain = role === 'org:admin' || role === 'admin' ? 'admin' : 'member';
    expected.memberships[id] = membership.isDeleted ? { dead: true } : { dead: false, role: plain, clerk_role: role };
  }
  for (const invitation of clerk.invitations) {
    const { id, organizationId, email, createdAt, status = 'pending' } = current(invitation);
    const competing = clerk.invitations.filter((one) => {
      const other = current(one);
      return other.organizationId === organizationId && other.email === email && (other.status ?? 'pending') === 'pending';
    });
    const isNewest = competing.every((one) => current(one).createdAt! <= createdAt!);
    expected.invitations[id] = {
      status: status !== 'pending' ? status : invitation.organization.isDeleted || !isNewest ? 'revoked' : 'pending',
    };
  }
  for (const session of clerk.sessions) {
    const { id, status } = current(session);
    if (status !== 'pending' && !session.isDeleted) expected.sessions[id] = { ended: false };
  }
  return expected;
}

/**
 * Whether the rows of local users may depend on the order of events. A deletion of a Clerk user, and a membership or account dropped in a
 * merge of two local users, are not undone when an older event shows later that the merge belonged to another Clerk user.
 */
export function hasOrderDependentLocals(history: History): boolean {
  const { clerk, locals } = history;
  const operators = history.signedIn.filter(({ operator }) => operator).map(({ clerkUserId }) => clerkUserId);
  const proofs = proofsOf(history).filter(({ clerkUserId }) => !operators.includes(clerkUserId));
  const mergeable = locals.filter(({ proved, operator }) => proved && !operator);
  const claimants = mergeable.map((local) => [
    ...new Set(proofs.filter(({ email }) => email === local.email).map((one) => one.clerkUserId)),
  ]);
  const isDead = (clerkUserId: string) => clerk.users.some((user) => user.isDeleted && current(user).id === clerkUserId);
  const diesInBetween = claimants.some(([first, ...others]) => first !== undefined && !isDead(first) && others.some(isDead));
  const [one, other] = claimants;
  const meetAndPart = (one?.some((id) => other?.includes(id)) ?? false) && (one!.length > 1 || other!.length > 1);
  return diesInBetween || meetAndPart;
}

interface Proof {
  clerkUserId: string;
  email: string;
}

/** Which user verified which address, oldest event first. */
function proofsOf({ clerk }: History): Proof[] {
  const proofs: (Proof & { key: (number | string)[] })[] = [];
  for (const { body, type, messageId } of clerk.events) {
    if (type !== 'user.created' && type !== 'user.updated') continue;
    const { timestamp, data } = JSON.parse(body) as ClerkEvent;
    const addresses = data['email_addresses'] as { id: string; email_address: string; verification: { status: string } | null }[];
    const primary = addresses.find(({ id }) => id === data['primary_email_address_id']);
    if (primary?.verification?.status !== 'verified') continue;
    const key = [timestamp, data['updated_at'] as number, type === 'user.updated' ? 2 : 1, messageId];
    proofs.push({ clerkUserId: data['id'] as string, email: primary.email_address.toLowerCase(), key });
  }
  return proofs.toSorted((a, b) => {
    const differs = a.key.findIndex((part, index) => part !== b.key[index]);
    return differs === -1 ? 0 : a.key[differs]! < b.key[differs]! ? -1 : 1;
  });
}

function expectedLocal({ email, proved }: LocalUser, proofs: Proof[]): object {
  const first = proofs.find((one) => one.email === email);
  if (first === undefined) return { dead: false, email, email_verified: proved };
  if (!proved) return { dead: false, email: null };
  return { dead: true, email: null, mergedInto: first.clerkUserId };
}

/** The differences between rows and expected rows. */
export function mismatches(rows: ExpectedRows, expected: ExpectedRows): string[] {
  const wrong: string[] = [];
  for (const [kind, things] of Object.entries(expected) as [keyof ExpectedRows, Record<string, object>][]) {
    for (const [id, wanted] of Object.entries(things)) {
      const found = rows[kind][id] as Record<string, unknown> | undefined;
      for (const [field, value] of Object.entries(wanted)) {
        if (found?.[field] !== value) {
          wrong.push(`${kind} ${id}: ${field} is ${JSON.stringify(found?.[field])} and must be ${JSON.stringify(value)}`);
        }
      }
    }
  }
  return wrong;
}
