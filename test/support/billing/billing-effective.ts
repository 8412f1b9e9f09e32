import { type ProvidersWorld, isOrganization, type OwnerName } from '../providers-world.js';
import { markIn, ownerNames } from './billing-rows.js';
import type { Target } from '../clerk/clerk-deliveries.js';
import { insertOperator, openSessions } from '../sessions.js';

/** The effective subscription of each owner of a history as the API returns it, without our ids. */
export type Effective = Partial<Record<OwnerName, object>>;

/** Reads the effective subscription of every owner, as an operator for organizations and as the user for users. */
export async function readEffective({ db, urls }: Target, worlds: ProvidersWorld[]): Promise<Map<string, Effective>> {
  const names = await ownerNames(db, worlds);
  const all = new Map<string, Effective>(worlds.map(({ mark }) => [mark, {}]));
  const owners = await db.rows<{ id: string; subscriptionId: string }>(
    'SELECT owner_id AS id, min(provider_subscription_id) AS marked FROM subscriptions WHERE owner_id IS NOT NULL GROUP BY owner_id',
  );
  const operator = await insertOperator(db);
  const headersOf = await openSessions(db, [operator, ...owners.map(({ id }) => id)]);
  for (const { id, subscriptionId } of owners) {
    const own = all.get(markIn(subscriptionId));
    const name = names.get(id);
    if (own === undefined || name === undefined) continue;
    const path = isOrganization(name) ? `/v1/organizations/${id}/subscription` : '/v1/subscription';
    const response = await fetch(`${urls()[0]!}${path}`, { headers: headersOf(isOrganization(name) ? operator : id) });
    own[name] = { status: response.status, ...(response.ok && withoutIds((await response.json()) as EffectiveResponse)) };
  }
  return all;
}

interface EffectiveResponse {
  explain: { rule: string; considered: { id: string; providerSubscriptionId: string }[] };
}

function withoutIds({ explain: { rule, considered }, ...answer }: EffectiveResponse): object {
  const each = considered.map(({ id: _, ...one }) => one);
  return { ...answer, rule, considered: each.sort((a, b) => (a.providerSubscriptionId < b.providerSubscriptionId ? -1 : 1)) };
}
