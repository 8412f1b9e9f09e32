import { current } from '../../simulators/clerk-instance.js';
import type { ClerkEvent } from './clerk-events.js';
import type { History, LocalUser } from './clerk-histories.js';

/** The part of the rows that Clerk's own state decides, whatever came in between. */
export type Truth = Record<'users' | 'organizations' | 'memberships' | 'invitations' | 'sessions' | 'locals', Record<string, object>>;

/**
 * What must be there at the end, worked out from Clerk's state at the end and not from any event's effect.
 * Undefined where only the ids of messages decide what came last, or an operator's row stands in the way.
 */
export function truthOf(history: History): Truth | undefined {
  const { clerk, locals } = history;
  if (clerk.tied || locals.some(({ operator }) => operator) || history.met.some(({ operator }) => operator)) return undefined;
  const proofs = proofsOf(history);
  const truth: Truth = { users: {}, organizations: {}, memberships: {}, invitations: {}, sessions: {}, locals: {} };
  const kept = new Set<string>();
  for (const local of locals) {
    const told = localTruth(local, proofs);
    if ('email' in told && told.email !== null) kept.add(local.email);
    truth.locals[local.label] = told;
  }
  for (const user of clerk.users.filter(({ told }) => told)) {
    const { id, email, firstName, lastName, username, banned, imageUrl } = current(user);
    if (user.dead) {
      truth.users[id] = { dead: true, email: null, name: '', username: null, clerk_email: null };
      continue;
    }
    const claim = email?.email.toLowerCase() ?? null;
    truth.users[id] = {
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
  for (const organization of clerk.organizations.filter(({ told }) => told)) {
    const { id, name, slug = null } = current(organization);
    if (organization.dead) truth.organizations[id] = { dead: true, slug: null, clerk_slug: null };
    else {
      const isFree = slug !== null && slug !== history.localSlug && /^[a-z0-9-]+$/.test(slug);
      truth.organizations[id] = { dead: false, name, clerk_slug: slug, slug: isFree ? slug : null };
    }
  }
  for (const membership of clerk.memberships) {
    const { id, role } = current(membership);
    const plain = role === 'org:admin' || role === 'admin' ? 'admin' : 'member';
    truth.memberships[id] = membership.dead ? { dead: true } : { dead: false, role: plain, clerk_role: role };
  }
  for (const invitation of clerk.invitations) {
    const { id, organizationId, email, createdAt, status = 'pending' } = current(invitation);
    const rivals = clerk.invitations.filter((one) => {
      const other = current(one);
      return other.organizationId === organizationId && other.email === email && (other.status ?? 'pending') === 'pending';
    });
    const isNewest = rivals.every((one) => current(one).createdAt! <= createdAt!);
    truth.invitations[id] = { status: status !== 'pending' ? status : invitation.organization.dead || !isNewest ? 'revoked' : 'pending' };
  }
  for (const session of clerk.sessions) {
    const { id, status } = current(session);
    if (status !== 'pending' && !session.dead) truth.sessions[id] = { ended: false };
  }
  return truth;
}

/**
 * Whether the rows of local users may depend on the order. What goes with a Clerk user who dies, and what gives
 * way to its like when two local users merge into one, does not come back when an older event tells later that
 * it was another Clerk user's all along.
 */
export function isWithoutReturn(history: History): boolean {
  const { clerk, locals } = history;
  const operators = history.met.filter(({ operator }) => operator).map(({ clerkUserId }) => clerkUserId);
  const proofs = proofsOf(history).filter(({ clerkUserId }) => !operators.includes(clerkUserId));
  const mergeable = locals.filter(({ proved, operator }) => proved && !operator);
  const claimants = mergeable.map((local) => [
    ...new Set(proofs.filter(({ email }) => email === local.email).map((one) => one.clerkUserId)),
  ]);
  const isDead = (clerkUserId: string) => clerk.users.some((user) => user.dead && current(user).id === clerkUserId);
  const diesInBetween = claimants.some(([first, ...others]) => first !== undefined && !isDead(first) && others.some(isDead));
  const [one, other] = claimants;
  const meetAndPart = (one?.some((id) => other?.includes(id)) ?? false) && (one!.length > 1 || other!.length > 1);
  return diesInBetween || meetAndPart;
}

interface Proof {
  clerkUserId: string;
  email: string;
}

/** Who proved which address, the oldest event first. */
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

function localTruth({ email, proved }: LocalUser, proofs: Proof[]): object {
  const first = proofs.find((one) => one.email === email);
  if (first === undefined) return { dead: false, email, email_verified: proved };
  if (!proved) return { dead: false, email: null };
  return { dead: true, email: null, mergedInto: first.clerkUserId };
}

/** Where rows are not as Clerk has it. */
export function againstTruth(rows: Truth, truth: Truth): string[] {
  const wrong: string[] = [];
  for (const [kind, things] of Object.entries(truth) as [keyof Truth, Record<string, object>][]) {
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
