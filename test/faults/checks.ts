import { until } from '../support/until.js';
import type { Books } from './traffic/books.js';
import type { Client } from './traffic/client.js';
import { CAP, type Stage } from './stage/stage.js';

/** Compares everything that was acknowledged with the database. Returns a sentence for each difference. */
export async function check(stage: Stage, books: Books, client: Client): Promise<string[]> {
  const found = [...books.undocumented].map((answer) => `undocumented answer: ${answer}`);
  found.push(...[...books.revived].map((secret) => `a revoked session or key worked: ${secret.slice(0, 12)}…`));
  found.push(...(await checkUsage(stage, books)), ...checkCaps(books));
  found.push(...(await checkOnce(stage, books)), ...(await checkWebhooks(stage, books)), ...checkProviders(stage, books));
  found.push(...(await checkCredentials(books, client)), ...(await checkMails(stage, books)));
  return found;
}

/** Waits until the inbox and the outbox are empty and the providers have delivered everything; waiting entries become due at once. */
export async function settle({ db }: Stage, undelivered: () => number): Promise<void> {
  const open = async () => {
    await db.rows(`UPDATE outbox SET next_attempt_at = now() WHERE next_attempt_at > now()`);
    await db.rows(
      `UPDATE webhook_events SET next_attempt_at = now() WHERE status = 'pending' AND leased_until IS NULL AND next_attempt_at > now()`,
    );
    const [row] = await db.rows<{ inbox: number; outbox: number }>(
      `SELECT (SELECT count(*)::int FROM webhook_events WHERE status = 'pending') AS inbox,
              (SELECT count(*)::int FROM outbox WHERE done_at IS NULL) AS outbox`,
    );
    return row!;
  };
  await until(
    async () => {
      const { inbox, outbox } = await open();
      return inbox + outbox + undelivered() === 0;
    },
    async () => `the queues are not empty: ${JSON.stringify(await open())}, ${undelivered()} undelivered`,
    60_000,
  );
}

async function checkUsage({ db }: Stage, books: Books): Promise<string[]> {
  const rows = await db.rows<{ owner: string; event: string; times: number; tokens: number }>(
    `SELECT owner_id AS owner, event_id AS event, count(*)::int AS times, sum(tokens_used)::float8 AS tokens FROM usage GROUP BY 1, 2`,
  );
  const left = new Map([...books.usage].map(([owner, events]) => [owner, new Map(events)]));
  const found: string[] = [];
  for (const { owner, event, times, tokens } of rows) {
    const acknowledged = left.get(owner)?.get(event);
    left.get(owner)?.delete(event);
    if (acknowledged === undefined) found.push(`usage ${event} was counted and not acknowledged`);
    else if (times !== 1 || tokens !== acknowledged)
      found.push(`usage ${event} of ${acknowledged} tokens is there ${times} times with ${tokens}`);
  }
  for (const events of left.values()) for (const event of events.keys()) found.push(`usage ${event} was acknowledged and is lost`);
  const quotas = await db.rows<{ owner: string; used: number; held: number }>(
    `SELECT owner_id AS owner, used::float8 AS used, held::float8 AS held FROM usage_quotas`,
  );
  for (const { owner, used, held } of quotas) {
    const sum = sumOf(books.usage.get(owner));
    if (used !== sum) found.push(`the quota of ${owner} counts ${used} of ${sum} tokens`);
    if (held < 0) found.push(`the quota of ${owner} holds ${held} tokens`);
  }
  return found;
}

function checkCaps(books: Books): string[] {
  const passed = [...books.usage].filter(([, events]) => sumOf(events) > CAP);
  return passed.map(([owner, events]) => `${owner} was allowed ${sumOf(events)} tokens of ${CAP}`);
}

function sumOf(events: Map<string, number> | undefined): number {
  return [...(events?.values() ?? [])].reduce((sum, tokens) => sum + tokens, 0);
}

/** Every acknowledged organization, invitation and Clerk user is there once, and no other. */
async function checkOnce({ db }: Stage, books: Books): Promise<string[]> {
  const organizations = await db.rows<{ name: string }>(`SELECT name FROM organizations`);
  const invitations = await db.rows<{ name: string }>(`SELECT email AS name FROM invitations`);
  const users = await db.rows<{ name: string; first: string }>(
    `SELECT clerk_user_id AS name, name AS first FROM users WHERE clerk_user_id IS NOT NULL`,
  );
  const old = users.filter(({ first }) => !first.startsWith('After')).map(({ name }) => `${name} is not as Clerk's newest event says`);
  return [
    ...onlyOnce('organization', [...books.organizations.keys()], organizations),
    ...onlyOnce('invitation', [...books.invitations], invitations),
    ...onlyOnce('Clerk user', [...books.clerkUsers], users),
    ...old,
  ];
}

function onlyOnce(what: string, acknowledged: string[], rows: { name: string }[]): string[] {
  const counts = new Map(acknowledged.map((name) => [name, 0]));
  const found: string[] = [];
  for (const { name } of rows) {
    if (!counts.has(name)) found.push(`${what} ${name} is there and was not acknowledged`);
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  for (const [name, count] of counts) if (count !== 1) found.push(`${what} ${name} was acknowledged and is there ${count} times`);
  return found;
}

async function checkWebhooks({ db }: Stage, books: Books): Promise<string[]> {
  const messages = await db.rows<{ name: string; provider: string }>(`SELECT message_id AS name, provider FROM webhook_events`);
  const of = (provider: string) => messages.filter((one) => one.provider === provider);
  const failed = await db.rows<{ id: string; type: string; error: string }>(
    `SELECT id, type, last_error AS error FROM webhook_events WHERE status NOT IN ('processed', 'ignored')`,
  );
  const buyers = await db.rows<{ name: string }>(
    `SELECT owner_id AS name FROM subscriptions WHERE status = 'active' AND NOT cancel_at_period_end`,
  );
  return [
    ...onlyOnce('message of Polar', [...books.messages.polar], of('polar')),
    ...onlyOnce('message of Dodo', [...books.messages.dodo], of('dodo')),
    ...onlyOnce('subscription of organization', [...books.buyers], buyers),
    ...failed.map(({ id, type, error }) => `webhook ${id} ${type} was not processed: ${error}`),
  ];
}

/** A buyer pays once, a deleted one no longer, and a session that ended here has ended at Clerk. */
function checkProviders({ providers }: Stage, books: Books): string[] {
  const charged = (owners: Set<string>, expected: number) =>
    [...owners]
      .filter((id) => providers.chargedSubscriptions(id) !== expected)
      .map((id) => `${id} should be charged for ${expected} subscriptions, not ${providers.chargedSubscriptions(id)}`);
  const open = [...books.endedClerkSessions].filter((id) => providers.clerk.sessions.get(id)?.status !== 'revoked');
  return [...charged(books.buyers, 1), ...charged(books.deletedBuyers, 0), ...open.map((id) => `${id} was ended here and not at Clerk`)];
}

async function checkCredentials(books: Books, client: Client): Promise<string[]> {
  const found: string[] = [];
  const expectStatus = async (status: number, what: string, request: Parameters<Client['once']>[0]) => {
    const answer = await client.once(request);
    if (answer?.status !== status) found.push(`${what} is answered with ${answer?.status}`);
  };
  const bearer = (token: string) => ({ operation: 'getMe', headers: { authorization: `Bearer ${token}` } });
  const apiKey = ([key, organizationId]: [string, string]) => ({
    operation: 'getQuota',
    path: { organizationId },
    headers: { 'x-api-key': key },
  });
  for (const token of books.liveSessions) await expectStatus(200, 'a live session', bearer(token));
  for (const token of books.revokedSessions) await expectStatus(401, 'a revoked session', bearer(token));
  for (const key of books.liveKeys) await expectStatus(200, 'a live key', apiKey(key));
  for (const key of books.revokedKeys) await expectStatus(401, 'a revoked key', apiKey(key));
  return found;
}

async function checkMails({ mailed }: Stage, books: Books): Promise<string[]> {
  const received = new Set(mailed);
  return [...books.invitations].filter((email) => !received.has(email)).map((email) => `the invitation of ${email} was never mailed`);
}
