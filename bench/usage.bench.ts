import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BenchDatabase, inEach } from './support/database.js';
import { bearer, byItself, sendLoad, compete, each, overHttp, type Result } from './support/contest.js';
import { options } from './support/options.js';
import { type Program, type Starter, type TenantryOptions, withPrograms } from './support/program.js';
import { heading, note, table, verdict } from './support/report.js';
import { ORGANIZATION_ID, TENANTS, tenantOf, userIdOf } from './support/seed.js';
import { BATCH, eventOf } from './support/usage-events.js';

/** Rows of the month with many events; ROWS in the environment changes it. */
const MANY = Number(process.env['ROWS'] ?? 10_000_000);
const FEW = 100_000;
const CAP = 30_000;
const RACE_MS = 4000;

export const one = () => JSON.stringify(eventOf());
export const batch = () => JSON.stringify({ events: Array.from({ length: BATCH }, eventOf) });
const usageOf = (organizationId: string) => `/v1/organizations/${organizationId}/usage`;
export const ownUsage = (session: number) => usageOf(tenantOf(session));

/** Each event is answered when it is durable, for 1,000 owners. */
export async function singles(db: BenchDatabase): Promise<void> {
  heading('usage-singles', 'POST /v1/organizations/{organizationId}/usage, one event each over 1,000 owners');
  await seedTenants(db);
  await withPrograms(db, async (start) => {
    const results = await compete(db, [
      overHttp('the same route, nothing recorded', await withLedger(start, db, 'none'), ownUsage, bearer, one),
      overHttp('one insert and commit each, nothing else', await withLedger(start, db, 'insert'), ownUsage, bearer, one),
      overHttp('Tenantry', await tenantry(start, db), ownUsage, bearer, one),
    ]);
    table(results);
    const [nothing, insert, ours] = results as [Result, Result, Result];
    verdict({
      what: 'single events ÷ the same without a database',
      measured: ours.rateRatio,
      goal: { atLeast: 0.75 },
      costs: [ours, nothing],
    });
    const measured = ours.rateRatio / insert.rateRatio;
    verdict({ what: 'single events ÷ one insert each', measured, goal: { atLeast: 1.6 }, costs: [ours, insert] });
  });
}

/** Each batch is validated, deduplicated, rolled up by hour and counted against quotas. */
export async function batches(db: BenchDatabase): Promise<void> {
  heading('usage-batches', `POST …/usage/batch, ${BATCH} events each over 1,000 owners; all figures are of events`);
  await seedTenants(db);
  await withPrograms(db, async (start) => {
    // First, because it creates the partitions.
    const app = await tenantry(start, db);
    const ofBatches = (session: number) => `${ownUsage(session)}/batch`;
    const results = await compete(db, [
      each(BATCH, byItself('unnest into the events, a statement a batch', await start.variant('usage-rows', { tables: 'events' }))),
      each(BATCH, byItself('the same into the events and their ids', await start.variant('usage-rows', { tables: 'eventsAndIds' }))),
      each(BATCH, overHttp('Tenantry', app, ofBatches, bearer, batch)),
    ]);
    table(results);
    const [rows, both, ours] = results as [Result, Result, Result];
    verdict({ what: 'batches ÷ raw unnest', measured: ours.rateRatio, goal: { atLeast: 0.6 }, ci: { atLeast: 0.2 }, costs: [ours, rows] });
    const withIds = ours.rateRatio / both.rateRatio;
    verdict({
      what: 'batches ÷ raw unnest with ids',
      measured: withIds,
      goal: { atLeast: 0.75 },
      ci: { atLeast: 0.25 },
      costs: [ours, both],
    });
    verdict({ what: 'events in batches, a second', measured: ours.perSecond, goal: { atLeast: 20_000 } });
  });
}

/** All traffic for one owner with a cap; then three processes race to the cap. */
export async function caps(db: BenchDatabase): Promise<void> {
  heading('usage-caps', 'one event each for one owner with a hard cap, against 1,000 owners');
  await seedTenants(db);
  await withPrograms(db, async (start) => {
    const app = await tenantry(start, db);
    const hot = usageOf(ORGANIZATION_ID);
    const results = await compete(db, [
      overHttp('1,000 owners', app, ownUsage, bearer, one),
      overHttp('one owner', app, hot, bearer, one),
      overHttp('one owner, a counter that each event counts up', await withLedger(start, db, 'counter'), hot, bearer, one),
    ]);
    table(results);
    const [many, ours, counter] = results as [Result, Result, Result];
    verdict({ what: 'one hot owner ÷ 1,000', measured: ours.rateRatio, goal: { atLeast: 0.8 }, costs: [ours, many] });
    note(`by one counter row: ${(ours.rateRatio / counter.rateRatio).toFixed(1)}`);
  });
  if (options.compare === undefined) await withPrograms(db, (start) => raceToTheCap(db, start));
}

async function raceToTheCap(db: BenchDatabase, start: Starter): Promise<void> {
  const owner = tenantOf(TENANTS - 1);
  await db.query(`INSERT INTO subscriptions (id, provider, owner_kind, owner_id, owner_linked, tier, status, started_at, current_period_start)
    VALUES (gen_random_uuid(), 'manual', 'organization', '${owner}', true, 'pro', 'active', now(), now());
    ${addAllUsers(owner)}`);
  const programs = [await tenantry(start, db), await tenantry(start, db), await tenantry(start, db)];
  const floods = await Promise.all(
    programs.map(({ url }) => sendLoad(url, usageOf(owner), { milliseconds: RACE_MS, headers: bearer, body: one })),
  );
  const answered = (status: `${number}`) => floods.reduce((sum, { statusCodeStats }) => sum + (statusCodeStats?.[status]?.count ?? 0), 0);
  const [stored] = await db.query<{ events: string; quota: string; rollups: string }>(
    `SELECT (SELECT sum(tokens_used) FROM usage WHERE owner_id = '${owner}') AS events, (SELECT sum(used) FROM usage_quotas WHERE owner_id = '${owner}') AS quota,
            (SELECT sum(tokens_used) FROM usage_rollups WHERE owner_id = '${owner}') AS rollups`,
  );
  const used = Number(stored!.events);
  const apart = Math.max(Math.abs(used - Number(stored!.quota)), Math.abs(used - Number(stored!.rollups)));
  note(
    `three processes to a cap of ${CAP.toLocaleString('en')}: ${answered('201')} recorded, ${answered('402')} refused, ${CAP - used} left`,
  );
  verdict({ what: 'tokens past the cap', measured: Math.max(0, used - CAP), goal: { atMost: 0 } });
  verdict({ what: 'tokens by which events, sums and quota differ', measured: apart, goal: { atMost: 0 } });
  verdict({ what: 'refused though the cap had room for any event', measured: Math.max(0, CAP - used - 100), goal: { atMost: 0 } });
}

/** The total of a month with many events and of one with few. */
export async function totals(db: BenchDatabase): Promise<void> {
  heading('usage-totals', `a month's total of ${MANY.toLocaleString('en')} events against one of ${FEW.toLocaleString('en')}`);
  await seedTenants(db);
  const [few, many] = [tenantOf(TENANTS - 2), tenantOf(TENANTS - 3)];
  await withPrograms(db, async (start) => {
    const app = await tenantry(start, db);
    await seedMonth(db, few, FEW);
    await seedMonth(db, many, MANY);
    const results = await compete(db, [
      overHttp(`quota, ${FEW.toLocaleString('en')} events`, app, `${usageOf(few)}/quota`),
      overHttp(`quota, ${MANY.toLocaleString('en')} events`, app, `${usageOf(many)}/quota`),
    ]);
    table(results);
    const [least, most] = results as [Result, Result];
    verdict({ what: 'quota of many events ÷ few', measured: most.rateRatio, goal: { atLeast: 0.85 }, costs: [most, least] });
    const answer = await fetch(`${app.url}${usageOf(many)}/quota`, { headers: bearer(0) });
    const { used } = (await answer.json()) as { used: number };
    const [raw] = await db.query<{ tokens: string }>(`SELECT sum(tokens_used) AS tokens FROM usage WHERE owner_id = '${many}'`);
    verdict({
      what: 'tokens by which the total differs from the raw sum',
      measured: Math.abs(used - Number(raw!.tokens)),
      goal: { atMost: 0 },
    });
  });
}

export async function tenantry(
  { tenantry: start }: Starter,
  db: BenchDatabase,
  { environment, ...more }: TenantryOptions = {},
): Promise<Program> {
  const plansFile = path.join(db.directory, 'plans.json');
  writeFileSync(plansFile, JSON.stringify(PLANS));
  return start({ ...more, environment: { PLANS_FILE: plansFile, RATE_LIMIT_USAGE: '1000000/60', ...environment } });
}

export async function withLedger(start: Starter, db: BenchDatabase, ledger: 'none' | 'insert' | 'counter'): Promise<Program> {
  return tenantry(start, db, { preload: ['bench/variants/usage-ledgers.ts'], environment: { LEDGER: ledger }, isBaseline: true });
}

const planOf = (tokensPerPeriod: number) => ({
  name: 'Measured',
  description: 'Hard caps, and no limits of a minute.',
  limits: {
    tokensPerPeriod,
    tokenLimit: 'hard',
    requestsPerMinute: null,
    tokensPerMinute: null,
    seats: null,
    perSeat: false,
    features: [],
  },
});
/** Every plan has a cap, but only the cap of `pro` can be reached. */
const PLANS = { plans: { free: planOf(1e14), pro: planOf(CAP), business: planOf(1e14) }, aliases: {}, products: [] };

export async function seedTenants(db: BenchDatabase): Promise<void> {
  await inEach(
    db,
    `
    INSERT INTO organizations (id, name, slug)
    SELECT ('${tenantOf(0).slice(0, 24)}' || lpad(n::text, 12, '0'))::uuid, 'Tenant ' || n, 'tenant-' || n FROM generate_series(0, ${TENANTS - 1}) n
    ON CONFLICT DO NOTHING;
    INSERT INTO organization_memberships (id, organization_id, user_id, role)
    SELECT ('00000000-0000-7000-a100-' || lpad(n::text, 12, '0'))::uuid, ('${tenantOf(0).slice(0, 24)}' || lpad(n::text, 12, '0'))::uuid,
           ('${userIdOf(0).slice(0, 24)}' || lpad(n::text, 12, '0'))::uuid, 'admin'
      FROM generate_series(0, ${TENANTS - 1}) n
    ON CONFLICT DO NOTHING`,
  );
}

/** The last tenants receive no usage from their own user, so that all users can join them. */
function addAllUsers(organizationId: string): string {
  return `INSERT INTO organization_memberships (id, organization_id, user_id, role)
    SELECT gen_random_uuid(), '${organizationId}', id, 'member' FROM users ON CONFLICT DO NOTHING;`;
}

/** The rows that the ledger would have written for so many events since the start of the month, with two models and ten users. */
async function seedMonth(db: BenchDatabase, owner: string, count: number): Promise<void> {
  await inEach(
    db,
    `
    ${addAllUsers(owner)}
    UPDATE organizations SET created_at = date_trunc('month', now(), 'UTC') WHERE id = '${owner}';
    INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, actor_user_id, model, input_tokens, output_tokens, tokens_used, period_start)
    SELECT o.id, o.created_at + n * (now() - o.created_at) / ${count}, 'seeded-' || n, 'organization',
           ('${userIdOf(0).slice(0, -1)}' || n % 10)::uuid, 'model-' || n / 10 % 2, n % 1000, n % 77, n % 1000 + n % 77, o.created_at
      FROM organizations o, generate_series(0, ${count - 1}) n WHERE o.id = '${owner}';
    INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, input_tokens, output_tokens, tokens_used)
    SELECT owner_id, date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, count(*), sum(input_tokens), sum(output_tokens), sum(tokens_used)
      FROM usage WHERE owner_id = '${owner}' AND event_id LIKE 'seeded-%' GROUP BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING;
    INSERT INTO usage_quotas (owner_id, period_start, period_end, owner_kind, used)
    SELECT owner_id, period_start, period_start + interval '1 month', 'organization', sum(tokens_used)
      FROM usage WHERE owner_id = '${owner}' AND period_start = (SELECT created_at FROM organizations WHERE id = '${owner}') GROUP BY 1, 2`,
  );
  await inEach(db, 'VACUUM ANALYZE usage, usage_rollups, usage_quotas');
}
