import { v7 } from 'uuid';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { skipJob } from '../../support/tenant-world.js';
import { startUsageApp, type UsageApp } from '../../support/usage/usage-app.js';

const OWNER = v7();

describe('the retention of usage', () => {
  let db: TestDatabase;
  let usage: UsageApp;
  beforeAll(async () => {
    db = await createTestDatabase();
    await skipJob(db, 'prune_usage', 3600);
    usage = await startUsageApp(db, { now: '2026-08-10T00:00:00Z', USAGE_RETENTION_DAYS: '62' });
    await usage.partitions.ensure(MOMENTS.map((moment) => new Date(moment)));
    for (const moment of MOMENTS) {
      const id = v7();
      await db.rows(
        `INSERT INTO usage (owner_id, owner_kind, event_id, model, occurred_at, period_start, tokens_used) VALUES ($1, 'user', $2, 'm', $3, '2026-05-15', 5)`,
        [OWNER, id, moment],
      );
      await db.rows(`INSERT INTO usage_event_ids (owner_id, event_id, fingerprint) VALUES ($1, $2, '')`, [OWNER, id]);
      await db.rows(
        `INSERT INTO usage_rollups (owner_id, hour, model, events, tokens_used) VALUES ($1, date_trunc('hour', $2::timestamptz), 'm', 1, 5)`,
        [OWNER, moment],
      );
    }
  });
  afterAll(async () => {
    await usage.app.close();
    await db.drop();
  });

  const MOMENTS = ['2026-06-01T00:00:00Z', '2026-06-30T23:59:59.999Z', '2026-07-01T00:00:00Z'];

  const kept = async () => {
    const [row] = await db.rows(
      `SELECT (SELECT count(*)::int FROM usage) AS events, (SELECT count(*)::int FROM usage_event_ids) AS ids,
              (SELECT sum(events)::int FROM usage_rollups) AS summed, (SELECT sealed_before FROM usage_seals) AS "sealedBefore"`,
    );
    return row;
  };
  const all = { events: 3, ids: 3, summed: 3, sealedBefore: null };
  const withoutJune = { events: 1, ids: 3, summed: 3, sealedBefore: new Date('2026-07-01T00:00:00Z') };

  it('drops no month while a part of it is within the retention time', async () => {
    await usage.run('prune_usage');
    usage.clock.set(new Date('2026-08-31T23:59:59Z'));
    await usage.run('prune_usage');
    expect(await kept()).toEqual(all);
  });

  it('gives up soon while a reader holds the table, and does not move the watermark', async () => {
    usage.clock.set(new Date('2026-09-01T00:00:00Z'));
    const reader = await db.pool.connect();
    try {
      await reader.query('BEGIN');
      await reader.query('SELECT count(*) FROM usage');
      await expect(usage.run('prune_usage')).rejects.toMatchObject({ cause: { code: '55P03' } });
      await reader.query('ROLLBACK');
    } finally {
      reader.release();
    }
    expect(await kept()).toEqual(all);
  });

  it('drops a month when its last event is old enough, and keeps the rollups and the ids', async () => {
    await usage.run('prune_usage');
    expect(await kept()).toEqual(withoutJune);
    expect(await usage.partitions.oldestAccepted()).toEqual(new Date('2026-07-01T00:00:00Z'));
  });

  it('drops it once in concurrent runs', async () => {
    usage.clock.set(new Date('2026-10-05T00:00:00Z'));
    const dropped = await Promise.all([1, 2, 3].map(() => usage.run('prune_usage')));
    expect(dropped.toSorted()).toEqual([0, 0, 1]);
    expect(await kept()).toEqual({ ...withoutJune, events: 0, sealedBefore: new Date('2026-08-01T00:00:00Z') });
  });

  it('never moves the watermark back', async () => {
    await usage.partitions.ensure([new Date('2026-08-15T00:00:00Z')]);
    await db.rows(`UPDATE usage_seals SET sealed_before = '2026-12-01'`);
    usage.clock.set(new Date('2026-11-15T00:00:00Z'));
    await usage.run('prune_usage');
    expect(await kept()).toMatchObject({ sealedBefore: new Date('2026-12-01T00:00:00Z') });
  });
});

describe('expired holds', () => {
  let db: TestDatabase;
  let usage: UsageApp;
  beforeAll(async () => {
    db = await createTestDatabase();
    await skipJob(db, 'expire_holds', 60);
    usage = await startUsageApp(db, { now: '2026-08-10T12:00:00Z' });
  });
  afterAll(async () => {
    await usage.app.close();
    await db.drop();
  });

  const hold = async (ownerId: string, { tokens, expiresAt, status = 'live' }: { tokens: number; expiresAt: string; status?: string }) => {
    const id = v7();
    await db.rows(
      `INSERT INTO usage_holds (owner_id, id, period_start, tokens, expires_at, status, updated_at) VALUES ($1, $2, '2026-08-01', $3, $4, $5, $4)`,
      [ownerId, id, tokens, expiresAt, status],
    );
    return id;
  };
  const quota = async (held: number) => {
    const ownerId = v7();
    await db.rows(
      `INSERT INTO usage_quotas (owner_id, period_start, period_end, owner_kind, used, held) VALUES ($1, '2026-08-01', '2026-09-01', 'user', 1000, $2)`,
      [ownerId, held],
    );
    return ownerId;
  };
  const heldBy = async (ownerId: string) => {
    const [row] = await db.rows<{ held: string; used: string }>('SELECT held, used FROM usage_quotas WHERE owner_id = $1', [ownerId]);
    const holds = await db.rows<{ status: string }>('SELECT status FROM usage_holds WHERE owner_id = $1 ORDER BY id', [ownerId]);
    return { held: Number(row!.held), used: Number(row!.used), holds: holds.map(({ status }) => status) };
  };

  it('end and return their tokens, in any number', async () => {
    const [few, many] = [await quota(600), await quota(500)];
    await hold(few, { tokens: 100, expiresAt: '2026-08-10T12:00:00Z' });
    await hold(few, { tokens: 200, expiresAt: '2026-08-10T12:00:00.001Z' });
    await hold(few, { tokens: 300, expiresAt: '2026-08-10T11:00:00Z' });
    await hold(few, { tokens: 400, expiresAt: '2026-08-10T11:00:00Z', status: 'released' });
    await db.rows(
      `INSERT INTO usage_holds (owner_id, id, period_start, tokens, expires_at)
       SELECT $1, gen_random_uuid(), '2026-08-01', 1, '2026-08-10T11:30:00Z' FROM generate_series(1, 500)`,
      [many],
    );
    await usage.run('expire_holds');
    expect(await heldBy(few)).toEqual({ held: 200, used: 1000, holds: ['expired', 'live', 'expired', 'released'] });
    expect(await heldBy(many)).toMatchObject({ held: 0, used: 1000 });
  });

  it('wait for the next run while their quota is locked', async () => {
    const [busy, idle] = [await quota(10), await quota(20)];
    await hold(busy, { tokens: 10, expiresAt: '2026-08-10T11:00:00Z' });
    await hold(idle, { tokens: 20, expiresAt: '2026-08-10T11:30:00Z' });
    const writer = await db.pool.connect();
    try {
      await writer.query('BEGIN');
      await writer.query('SELECT FROM usage_quotas WHERE owner_id = $1 FOR NO KEY UPDATE', [busy]);
      await usage.run('expire_holds');
      expect([await heldBy(busy), await heldBy(idle)]).toMatchObject([
        { held: 10, holds: ['live'] },
        { held: 0, holds: ['expired'] },
      ]);
      await writer.query('COMMIT');
    } finally {
      writer.release();
    }
    await usage.run('expire_holds');
    expect(await heldBy(busy)).toMatchObject({ held: 0, holds: ['expired'] });
  });

  it('return their tokens once in concurrent runs', async () => {
    const owners = await Promise.all(Array.from({ length: 20 }, () => quota(30)));
    for (const owner of owners) for (const tokens of [10, 20]) await hold(owner, { tokens, expiresAt: '2026-08-10T11:00:00Z' });
    await Promise.all([1, 2, 3].map(() => usage.run('expire_holds')));
    // Each run skips rows that another one has locked, so run once more alone.
    await usage.run('expire_holds');
    for (const owner of owners) expect(await heldBy(owner)).toEqual({ held: 0, used: 1000, holds: ['expired', 'expired'] });
  });

  it('are deleted a month after they ended, but never while they are live', async () => {
    const owner = await quota(7);
    const old = '2026-07-10T00:00:00Z';
    await hold(owner, { tokens: 1, expiresAt: old, status: 'settled' });
    await hold(owner, { tokens: 1, expiresAt: '2026-07-12T00:00:00Z', status: 'expired' });
    const live = await hold(owner, { tokens: 7, expiresAt: '2026-08-11T00:00:00Z' });
    await db.rows('UPDATE usage_holds SET updated_at = $1 WHERE id = $2', [old, live]);
    await usage.run('prune_holds');
    expect(await heldBy(owner)).toMatchObject({ holds: ['expired', 'live'] });
  });
});
