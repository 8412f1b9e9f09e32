import { drizzle } from 'drizzle-orm/node-postgres';
import { usage } from '../../../src/usage/events/usage-events.table.js';
import { isMissingPartition } from '../../../src/platform/database/database-errors.js';
import { MonthPruned } from '../../../src/usage/partitions/usage-partitions.job.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { startUsageApp, type UsageApp } from '../../support/usage/usage-app.js';

describe('the partitions of usage', () => {
  let db: TestDatabase;
  let apps: UsageApp[];
  beforeAll(async () => {
    db = await createTestDatabase();
    apps = await Promise.all([1, 2, 3].map(() => startUsageApp(db, { now: '2026-11-22T08:00:00Z' })));
  });
  afterAll(async () => {
    await Promise.all(apps.map(({ app }) => app.close()));
    await db.drop();
  });

  const months = async () => {
    const rows = await db.rows<{ name: string }>(`SELECT inhrelid::regclass AS name FROM pg_inherits WHERE inhparent = 'usage'::regclass`);
    return rows.map(({ name }) => name).sort();
  };

  const insert = (occurredAt: Date) =>
    drizzle(db.pool).insert(usage).values({
      ownerId: '00000000-0000-7000-8000-000000000001',
      ownerKind: 'user',
      eventId: occurredAt.toISOString(),
      model: 'm',
      occurredAt,
      periodStart: occurredAt,
    });

  it('exist after the start for this month and the next, however many processes start together', async () => {
    expect(await months()).toEqual(['usage_2026_11', 'usage_2026_12']);
    for (const { partitions } of apps) {
      expect(partitions.has(new Date('2026-12-31T23:59:59.999Z'))).toBe(true);
      expect(partitions.has(new Date('2027-01-01T00:00:00Z'))).toBe(false);
    }
  });

  it('are created once when several processes need them, and each holds exactly its month', async () => {
    const wanted = ['2025-12-31T23:59:59.999Z', '2026-02-01T00:00:00Z', '2026-02-28T12:00:00Z'].map((text) => new Date(text));
    const made = await Promise.all(apps.map(({ partitions }) => partitions.ensure(wanted)));
    expect(made.toSorted()).toEqual([0, 0, 2]);
    expect(await months()).toEqual(['usage_2025_12', 'usage_2026_02', 'usage_2026_11', 'usage_2026_12']);
    for (const moment of wanted) await insert(moment);
    const rows = await db.rows<{ name: string }>('SELECT tableoid::regclass AS name FROM usage ORDER BY occurred_at');
    expect(rows.map(({ name }) => name)).toEqual(['usage_2025_12', 'usage_2026_02', 'usage_2026_02']);
    expect(isMissingPartition(await insert(new Date('2026-01-01T00:00:00Z')).catch((error: unknown) => error))).toBe(true);
  });

  it('have the keys and columns of their parent table', async () => {
    const shapes = await db.rows<{ shape: string }>(
      `SELECT string_agg(attname || format_type(atttypid, atttypmod) || attnotnull, ',' ORDER BY attnum) AS shape
         FROM pg_attribute WHERE attrelid IN ('usage'::regclass, 'usage_2026_11'::regclass) AND attnum > 0 GROUP BY attrelid`,
    );
    expect(shapes[1]).toEqual(shapes[0]);
    const [keys] = await db.rows(`SELECT count(*)::int AS attached FROM pg_inherits WHERE inhparent = 'usage_pkey'::regclass`);
    expect(keys).toEqual({ attached: (await months()).length });
  });

  it('are created without waiting for a concurrent write', async () => {
    const writer = await db.pool.connect();
    try {
      await writer.query('BEGIN');
      await writer.query('LOCK TABLE usage IN ROW EXCLUSIVE MODE');
      expect(await apps[0]!.partitions.ensure([new Date('2026-03-01T00:00:00Z')])).toBe(1);
      await writer.query('ROLLBACK');
    } finally {
      writer.release();
    }
  });

  it('are created again when one was dropped after a process cached it', async () => {
    const moment = new Date('2026-04-10T00:00:00Z');
    const { partitions } = apps[1]!;
    await partitions.ensure([moment]);
    await db.rows('DROP TABLE usage_2026_04');
    expect([partitions.has(moment), await partitions.ensure([moment])]).toEqual([true, 0]);
    const failure: unknown = await insert(moment).catch((error: unknown) => error);
    expect(isMissingPartition(failure)).toBe(true);
    partitions.clearCache();
    expect([partitions.has(moment), await partitions.ensure([moment])]).toEqual([false, 1]);
    await insert(moment);
  });

  it('are not created for a pruned month, and neither are the others of the same call', async () => {
    await db.rows(`INSERT INTO usage_seals (sealed_before) VALUES ('2025-12-01')`);
    const before = await months();
    const ensured = apps[2]!.partitions.ensure([new Date('2026-05-01T00:00:00Z'), new Date('2025-11-30T23:59:59Z')]);
    await expect(ensured).rejects.toThrow(MonthPruned);
    expect(await months()).toEqual(before);
    expect(await apps[2]!.partitions.ensure([new Date('2025-12-01T00:00:00Z'), new Date('2026-05-01T00:00:00Z')])).toBe(1);
  });

  it('define the oldest accepted event: the retention time, and never a pruned month', async () => {
    const { partitions, clock } = apps[0]!;
    partitions.clearCache();
    expect(await partitions.oldestAccepted()).toEqual(new Date('2025-12-01T00:00:00Z'));
    clock.set(new Date('2027-01-31T08:00:00Z'));
    expect(await partitions.oldestAccepted()).toEqual(new Date('2025-12-27T08:00:00Z'));
  });
});
