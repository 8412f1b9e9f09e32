import { randomBytes } from 'node:crypto';
import { v7 } from 'uuid';
import { hashSessionToken, signSessionToken } from '../../src/access/session-tokens.js';
import { testEnvironment } from './app.js';
import { type ProvidersWorld, isOrganization, type OwnerName } from './providers-world.js';
import { markIn, ownerNames } from './billing-rows.js';
import type { Target } from './clerk-deliveries.js';

/** What the API answers about what each owner of a history may use, without our ids. */
export type Effective = Partial<Record<OwnerName, object>>;

/** Asks for every owner of a subscription: an operator for organizations, users for themselves. */
export async function readEffective({ db, urls }: Target, worlds: ProvidersWorld[]): Promise<Map<string, Effective>> {
  const names = await ownerNames(db, worlds);
  const all = new Map<string, Effective>(worlds.map(({ mark }) => [mark, {}]));
  const owners = await db.rows<{ id: string; marked: string }>(
    'SELECT owner_id AS id, min(provider_subscription_id) AS marked FROM subscriptions WHERE owner_id IS NOT NULL GROUP BY owner_id',
  );
  const operator = v7();
  await db.rows(`INSERT INTO users (id, name, operator) VALUES ($1, 'An operator', true)`, [operator]);
  const sessions = new Sessions([operator, ...owners.map(({ id }) => id)]);
  await sessions.open(db);
  for (const { id, marked } of owners) {
    const own = all.get(markIn(marked));
    const name = names.get(id);
    if (own === undefined || name === undefined) continue;
    const path = isOrganization(name) ? `/v1/organizations/${id}/subscription` : '/v1/subscription';
    const authorization = `Bearer ${sessions.tokenOf(isOrganization(name) ? operator : id)}`;
    const response = await fetch(`${urls()[0]!}${path}`, { headers: { authorization } });
    own[name] = { status: response.status, ...(response.ok && told((await response.json()) as Answer)) };
  }
  return all;
}

interface Answer {
  explain: { rule: string; considered: { id: string; providerSubscriptionId: string }[] };
}

function told({ explain: { rule, considered }, ...answer }: Answer): object {
  const each = considered.map(({ id: _, ...one }) => one);
  return { ...answer, rule, considered: each.sort((a, b) => (a.providerSubscriptionId < b.providerSubscriptionId ? -1 : 1)) };
}

/** A session for everybody. */
class Sessions {
  private readonly tokens: Map<string, string>;

  constructor(userIds: string[]) {
    this.tokens = new Map(userIds.map((id) => [id, randomBytes(24).toString('base64url')]));
  }

  async open({ rows }: Target['db']): Promise<void> {
    const all = [...this.tokens].map(([user_id, raw]) => ({ id: v7(), user_id, token: hashSessionToken(raw) }));
    await rows(
      `INSERT INTO sessions (id, user_id, token, expires_at) SELECT row.*, '2100-01-01'
         FROM jsonb_to_recordset($1) AS row (id uuid, user_id uuid, token text) WHERE user_id IN (SELECT id FROM users)`,
      [JSON.stringify(all)],
    );
  }

  tokenOf(userId: string): string {
    return signSessionToken(this.tokens.get(userId)!, testEnvironment('')['AUTH_SECRET']!);
  }
}
