import { drizzle } from 'drizzle-orm/node-postgres';
import pg from 'pg';
import { v7 } from 'uuid';
import type { Database } from '../../../src/platform/database/database.js';
import { ScreenedUsageRepository } from '../../../src/usage/reconciliation/screened-usage.repository.js';
import { ComparedUsageRepository } from '../../../src/usage/reconciliation/compared-usage.repository.js';
import { UsageHoldsRepository } from '../../../src/usage/holds/usage-holds.repository.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';

interface Plan {
  'Node Type': string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Relation Name'?: string;
  Plans?: Plan[];
}

const OWNERS = 2000;
const NOW = new Date('2026-11-22T08:00:00Z');

/** The sweeps and the reconciliation read only the rows that they need, however large the tables are. */
describe('the query plans of usage maintenance on large tables', () => {
  let db: TestDatabase;
  let client: pg.PoolClient;
  const sent: { text: string; values: unknown[] }[] = [];
  let drizzled: Database;
  beforeAll(async () => {
    db = await createTestDatabase();
    for (const month of [9, 10, 11])
      await db.rows(
        `CREATE TABLE usage_2026_${month} PARTITION OF usage FOR VALUES FROM ('2026-${month}-01Z') TO ('2026-${month + 1}-01Z')`,
      );
    const owner = `('00000000-0000-7000-8000-' || lpad((n % ${OWNERS})::text, 12, '0'))::uuid`;
    await db.rows(
      `INSERT INTO usage_holds (owner_id, id, period_start, tokens, status, expires_at, updated_at)
       SELECT ${owner}, gen_random_uuid(), '2026-11-01Z', 1, (CASE WHEN n % 4 = 0 THEN 'live' ELSE 'settled' END)::hold_status,
              $1::timestamptz + (n - 2000) * interval '1 second', $1::timestamptz - n * interval '2 minutes' FROM generate_series(1, 40000) n`,
      [NOW],
    );
    await db.rows(
      `INSERT INTO usage_quotas (owner_id, period_start, period_end, owner_kind)
       SELECT ${owner}, '2026-11-01Z'::timestamptz - n / ${OWNERS} * interval '1 month', '2026-12-01Z', 'user' FROM generate_series(0, ${OWNERS * 20 - 1}) n`,
    );
    await db.rows(
      `INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, model, tokens_used, period_start)
       SELECT ${owner}, '2026-09-01Z'::timestamptz + n * interval '2 minutes', n, 'user', 'm', 1, '2026-11-01Z' FROM generate_series(1, 60000) n`,
    );
    await db.rows(
      `INSERT INTO usage_rollups (owner_id, hour, model, events)
       SELECT owner_id, date_trunc('hour', occurred_at), model, count(*) FROM usage GROUP BY 1, 2, 3`,
    );
    await db.rows(`INSERT INTO usage_event_ids (owner_id, event_id, fingerprint) SELECT owner_id, event_id, '' FROM usage`);
    await db.rows('ANALYZE');
    client = await db.pool.connect();
    drizzled = drizzle(client, { logger: { logQuery: (text, values) => sent.push({ text, values }) } }) as unknown as Database;
  }, 180_000);
  afterAll(async () => {
    client.release();
    await db.drop();
  });

  /** The number of rows that all statements of some work read. */
  async function rowsRead(work: () => Promise<unknown>): Promise<number> {
    sent.length = 0;
    await client.query('BEGIN');
    await work();
    await client.query('ROLLBACK; BEGIN');
    let read = 0;
    for (const { text, values } of sent) {
      const { rows } = await client.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
      for (const node of flatten(rows[0]!['QUERY PLAN'][0].Plan).filter((one) => one['Node Type'].includes('Scan')))
        read += (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'];
    }
    await client.query('ROLLBACK');
    return read;
  }
  const flatten = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(flatten)];

  const OWNER = '00000000-0000-7000-8000-000000000077';
  const october = { from: new Date('2026-10-01T00:00:00Z'), to: new Date('2026-11-01T00:00:00Z') };

  it('expire the holds that are due', async () => {
    const holds = new UsageHoldsRepository(drizzled);
    let found: { ownerId: string; id: string }[] = [];
    expect(await rowsRead(async () => (found = await holds.lockExpired(NOW, 50, drizzled)))).toBeLessThan(1000);
    expect(found).toHaveLength(50);
    expect(await rowsRead(() => holds.expire(found, NOW, drizzled))).toBeLessThan(1000);
  });

  it('delete the holds that ended long ago', async () => {
    const holds = new UsageHoldsRepository(drizzled);
    expect(await rowsRead(() => holds.deleteEnded(new Date('2026-10-22T08:00:00Z'), 50, drizzled))).toBeLessThan(1000);
  });

  it('find the next owner', async () => {
    const screened = new ScreenedUsageRepository(drizzled);
    for (const after of [OWNER, v7()]) expect(await rowsRead(() => screened.listOwners(after, 1, drizzled))).toBeLessThan(200);
  });

  it('find the differing ones among some owners', async () => {
    const screened = new ScreenedUsageRepository(drizzled);
    expect(await rowsRead(() => screened.listDiffering([OWNER], october.from, drizzled))).toBeLessThan(700);
  });

  it.each<[string, (compared: ComparedUsageRepository) => Promise<unknown>]>([
    ['hours', (compared) => compared.compareHours(OWNER, october, drizzled)],
    ['known hours', (compared) => compared.listHours(OWNER, october.from, drizzled)],
    ['pruned hours', (compared) => compared.countSealed(OWNER, october.from, drizzled)],
    ['periods', (compared) => compared.sumPeriods(OWNER, october, drizzled)],
    ['quotas', (compared) => compared.listQuotas(OWNER, october.from, drizzled)],
    ['holds', (compared) => compared.sumLiveHolds(OWNER, october.from, drizzled)],
    ['missing ids', (compared) => compared.findMissingIds(OWNER, october, 10, drizzled)],
    ['ids', (compared) => compared.countIds(OWNER, { after: '', limit: 1000 }, drizzled)],
  ])('compare the %s of one owner', async (_, work) => {
    expect(await rowsRead(() => work(new ComparedUsageRepository(drizzled)))).toBeLessThan(300);
  });
});
