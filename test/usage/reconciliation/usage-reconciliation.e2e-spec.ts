import { jest } from '@jest/globals';
import { v7 } from 'uuid';
import { ComparedUsageRepository } from '../../../src/usage/reconciliation/compared-usage.repository.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { until } from '../../support/until.js';
import { startUsageApp, type UsageApp } from '../../support/usage/usage-app.js';
import { insertLedgerUsage } from '../../support/usage/ledger-rows.js';

const ACME = '0190a000-0000-7000-8000-000000000001';
const ADA = '0190a000-0000-7000-8000-000000000002';
const ACTOR = '0190a000-0000-7000-8000-000000000009';
const HOUR = '2026-10-05T10:00:00.000Z';
const PERIOD = '2026-10-03T09:30:00.000Z';

describe('usage reconciliation', () => {
  let db: TestDatabase;
  let app: UsageApp;
  beforeAll(async () => {
    db = await createTestDatabase();
    app = await startUsageApp(db, { now: '2026-11-22T08:00:00Z' });
    await app.partitions.ensure(['2026-07-01T00:00:00Z', '2026-10-01T00:00:00Z'].map((text) => new Date(text)));
  });
  afterAll(async () => {
    await app.app.close();
    await db.drop();
  });

  /** July is pruned: its sums and ids exist, its events do not. */
  beforeEach(async () => {
    await db.rows(
      'TRUNCATE usage, usage_rollups, usage_model_rollups, usage_month_rollups, usage_quotas, usage_holds, usage_event_ids, usage_seals',
    );
    const acme = { ownerId: ACME, periodStart: PERIOD, occurredAt: '2026-10-05T10:15:00Z', inputTokens: 10, outputTokens: 5 };
    await insertLedgerUsage(db, [
      { ...acme, periodStart: '2026-07-03T09:30:00Z', occurredAt: '2026-07-05T10:15:00Z', eventId: 'sealed' },
      { ...acme, eventId: 'a', actorUserId: ACTOR, cachedInputTokens: 3, reasoningTokens: 2 },
      { ...acme, eventId: 'b', actorUserId: ACTOR, overrun: 4 },
      { ...acme, eventId: 'c' },
      { ...acme, eventId: 'd', model: 'claude', occurredAt: '2026-10-05T10:59:59.999Z' },
      { ...acme, eventId: 'e', occurredAt: '2026-10-05T11:00:00Z', inputTokens: 0, outputTokens: 0, tokensUsed: 100 },
      { ...acme, eventId: 'f', occurredAt: '2026-11-03T09:30:00Z', periodStart: '2026-11-03T09:30:00Z' },
      {
        ...acme,
        eventId: 'none',
        occurredAt: '2026-11-10T00:00:00Z',
        periodStart: '2026-11-10T00:00:00Z',
        inputTokens: 0,
        outputTokens: 0,
      },
      {
        ownerId: ADA,
        ownerKind: 'user',
        eventId: 'a',
        occurredAt: '2026-10-31T23:59:59.999Z',
        periodStart: '2026-10-31T00:00:00Z',
        inputTokens: 1,
      },
    ]);
    await db.rows(`DELETE FROM usage WHERE event_id = 'sealed'`);
    await db.rows(`INSERT INTO usage_seals (sealed_before) VALUES ('2026-08-01Z')`);
    await db.rows(
      `INSERT INTO usage_holds (owner_id, id, period_start, tokens, expires_at, status)
       SELECT $1, gen_random_uuid(), $2, tokens, '2026-11-22T09:00:00Z', status::hold_status
         FROM (VALUES (20, 'live'), (30, 'live'), (40, 'settled'), (50, 'expired'), (60, 'released')) holds (tokens, status)`,
      [ACME, PERIOD],
    );
    await db.rows('UPDATE usage_quotas SET held = 50 WHERE owner_id = $1 AND period_start = $2', [ACME, PERIOD]);
  });

  const verify = async (options: { fix?: boolean; only?: string } = {}) => {
    const lines: string[] = [];
    const { found, repaired } = await app.reconciliation.reconcile({
      ...options,
      onDifference: ({ kind, resource, id, details, isRepaired }) =>
        lines.push(`${kind} ${resource} ${id}: ${details.join(', ')}${isRepaired ? ' (repaired)' : ''}`),
    });
    expect([found, repaired]).toEqual([lines.length, lines.filter((line) => line.endsWith(' (repaired)')).length]);
    return lines;
  };

  /** All rows without their write times and fingerprints. */
  const allRows = async () => {
    const sums = ['usage_rollups', 'usage_model_rollups', 'usage_month_rollups'];
    const tables = ['usage', ...sums, 'usage_quotas', 'usage_holds', 'usage_event_ids', 'usage_seals'];
    const rows = tables.map((name) =>
      db.rows<{ row: object }>(`SELECT to_jsonb(t) - 'created_at' - 'updated_at' - 'fingerprint' AS row FROM ${name} t ORDER BY 1`),
    );
    return (await Promise.all(rows)).map((all) => all.map(({ row }) => row));
  };

  it('finds no difference in a correct ledger', async () => {
    expect(await verify()).toEqual([]);
    expect(await verify({ fix: true })).toEqual([]);
  });

  it('reads many owners together, and compares only those that differ', async () => {
    await db.rows(
      `WITH owners AS (SELECT gen_random_uuid() AS id FROM generate_series(1, 1200))
       INSERT INTO usage_quotas (owner_id, owner_kind, period_start, period_end) SELECT id, 'user', '2026-10-01Z', '2026-11-01Z' FROM owners`,
    );
    await db.rows(`UPDATE usage_quotas SET used = 7 WHERE owner_id = (SELECT max(owner_id::text)::uuid FROM usage_quotas)`);
    const compared = jest.spyOn(ComparedUsageRepository.prototype, 'listQuotas');
    expect(await verify()).toEqual([expect.stringContaining('stale quota')]);
    expect(compared.mock.calls).toHaveLength(1);
    compared.mockRestore();
  });

  it('names a thousand missing ids, counts the others, and restores all', async () => {
    await db.rows(
      `INSERT INTO usage (owner_id, occurred_at, event_id, owner_kind, model, input_tokens, output_tokens, tokens_used, period_start)
       SELECT $1, '2026-11-12Z', 'lost-' || n, 'user', 'm', 0, 0, 0, '2026-11-10Z' FROM generate_series(1, 1500) n`,
      [ADA],
    );
    const missing = (lines: string[]) => lines.filter((line) => line.startsWith('missing event id'));
    const lines = missing(await verify());
    expect(lines).toHaveLength(1001);
    expect(lines.at(-1)).toBe(`missing event id ${ADA} others: 500 more`);
    expect(missing(await verify({ fix: true })).every((line) => line.endsWith('(repaired)'))).toBe(true);
    expect(await verify()).toEqual([]);
  });

  const rollup = `WHERE owner_id = '${ACME}' AND hour = '${HOUR}' AND model = 'gpt-5'`;
  const quota = `WHERE owner_id = '${ACME}' AND period_start = '${PERIOD}'`;

  it.each([
    [
      'a wrong rollup',
      `UPDATE usage_rollups SET events = 3, output_tokens = 9, cached_input_tokens = 0 ${rollup} AND actor_user_id = '${ACTOR}'`,
      [
        `stale rollup ${ACME} ${HOUR} gpt-5 ${ACTOR}: events 3 instead of 2, outputTokens 9 instead of 10, cachedInputTokens 0 instead of 3`,
      ],
    ],
    [
      'a wrong rollup without a user',
      `UPDATE usage_rollups SET tokens_used = 0, input_tokens = 11, reasoning_tokens = 1, overrun = 1 ${rollup} AND actor_user_id IS NULL`,
      [
        `stale rollup ${ACME} ${HOUR} gpt-5 -: inputTokens 11 instead of 10, reasoningTokens 1 instead of 0, tokensUsed 0 instead of 15, overrun 1 instead of 0`,
      ],
    ],
    [
      'missing rollups',
      `DELETE FROM usage_rollups WHERE hour >= '2026-10-05T11:00:00Z' AND owner_id = '${ACME}' AND hour < '2026-11-03Z'`,
      [`missing rollup ${ACME} 2026-10-05T11:00:00.000Z gpt-5 -: events 0 instead of 1, tokensUsed 0 instead of 100`],
    ],
    [
      'rollups without events',
      `INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, input_tokens, tokens_used)
       VALUES ('${ADA}', '2026-10-31T23:00Z', 'none', NULL, 2, 6, 6), ('${ADA}', '2026-10-31T22:00Z', 'gpt-5', '${ACTOR}', 0, 0, 1)`,
      [
        `stale rollup ${ADA} 2026-10-31T22:00:00.000Z gpt-5 ${ACTOR}: tokensUsed 1 instead of 0`,
        `stale rollup ${ADA} 2026-10-31T23:00:00.000Z none -: events 2 instead of 0, inputTokens 6 instead of 0, tokensUsed 6 instead of 0`,
      ],
    ],
    [
      'wrong sums of rollups',
      `UPDATE usage_model_rollups SET tokens_used = 1 WHERE owner_id = '${ACME}' AND hour = '${HOUR}' AND model = 'claude';
       INSERT INTO usage_model_rollups (owner_id, hour, model, events) VALUES ('${ADA}', '2026-10-31T22:00Z', 'none', 2);
       DELETE FROM usage_month_rollups WHERE owner_id = '${ACME}' AND month = '2026-07-01Z'`,
      [
        `stale month rollup ${ACME} 2026-07-01T00:00:00.000Z gpt-5 -: events 0 instead of 1, inputTokens 0 instead of 10, outputTokens 0 instead of 5, tokensUsed 0 instead of 15`,
        `stale model rollup ${ACME} ${HOUR} claude: tokensUsed 1 instead of 15`,
        `stale model rollup ${ADA} 2026-10-31T22:00:00.000Z none: events 2 instead of 0`,
      ],
    ],
    [
      'a wrong quota',
      `UPDATE usage_quotas SET used = used + 7, overrun = 0, held = 49 ${quota}`,
      [`stale quota ${ACME} ${PERIOD}: used 172 instead of 165, overrun 0 instead of 4, held 49 instead of 50`],
    ],
    [
      'missing quotas',
      `DELETE FROM usage_quotas WHERE period_start >= '2026-10-01'`,
      [
        `missing quota ${ACME} ${PERIOD}: used 0 instead of 165, overrun 0 instead of 4, held 0 instead of 50`,
        `missing quota ${ACME} 2026-11-03T09:30:00.000Z: used 0 instead of 15`,
        `missing quota ${ACME} 2026-11-10T00:00:00.000Z: `,
        `missing quota ${ADA} 2026-10-31T00:00:00.000Z: used 0 instead of 1`,
      ],
    ],
    [
      'missing ids, without which an event could count twice',
      `DELETE FROM usage_event_ids WHERE event_id IN ('a', 'e')`,
      [`missing event id ${ACME} a: `, `missing event id ${ACME} e: `, `missing event id ${ADA} a: `],
    ],
  ])('finds and repairs %s', async (_, damage, expected) => {
    const before = await allRows();
    await db.rows(damage);
    expect(await verify()).toEqual(expected);
    expect(await verify({ fix: true })).toEqual(expected.map((line) => `${line} (repaired)`));
    expect(await allRows()).toEqual(before);
    expect(await verify()).toEqual([]);
  });

  it('reduces a quota without events to zero, and keeps the row', async () => {
    const other = v7();
    await db.rows(
      `INSERT INTO usage_quotas (owner_id, period_start, period_end, owner_kind, used, held, alerted) VALUES ($1, '2026-10-01', '2026-11-01', 'user', 9, 8, 50)`,
      [other],
    );
    expect(await verify({ fix: true })).toEqual([
      `stale quota ${other} 2026-10-01T00:00:00.000Z: used 9 instead of 0, held 8 instead of 0 (repaired)`,
    ]);
    expect(await db.rows('SELECT used, held, alerted FROM usage_quotas WHERE owner_id = $1', [other])).toEqual([
      { used: '0', held: '0', alerted: 50 },
    ]);
  });

  it('creates the missing quota of a hold', async () => {
    const other = v7();
    await db.rows(`INSERT INTO organizations (id, name) VALUES ($1, 'Other')`, [other]);
    await db.rows(
      `INSERT INTO usage_holds (owner_id, id, period_start, tokens, expires_at) VALUES ($1, $1, '2026-11-01T00:00:00Z', 5, '2026-11-22T09:00:00Z')`,
      [other],
    );
    expect(await verify({ fix: true })).toEqual([`missing quota ${other} 2026-11-01T00:00:00.000Z: held 0 instead of 5 (repaired)`]);
    expect(await db.rows('SELECT period_end, owner_kind, held FROM usage_quotas WHERE owner_id = $1', [other])).toEqual([
      { period_end: new Date('2026-12-01T00:00:00Z'), owner_kind: 'organization', held: '5' },
    ]);
  });

  it('repairs sums after an event was added or deleted by hand, and reports the id that is left', async () => {
    await db.rows(`DELETE FROM usage WHERE event_id = 'e'`);
    await db.rows(
      `INSERT INTO usage (owner_id, owner_kind, occurred_at, event_id, model, tokens_used, period_start) VALUES ('${ADA}', 'user', '2026-10-31T23:30Z', 'new', 'gpt-5', 8, '2026-10-31Z')`,
    );
    const repairable = [
      `stale rollup ${ACME} 2026-10-05T11:00:00.000Z gpt-5 -: events 1 instead of 0, tokensUsed 100 instead of 0`,
      `stale quota ${ACME} ${PERIOD}: used 165 instead of 65`,
      `stale rollup ${ADA} 2026-10-31T23:00:00.000Z gpt-5 -: events 1 instead of 2, tokensUsed 1 instead of 9`,
      `stale quota ${ADA} 2026-10-31T00:00:00.000Z: used 1 instead of 9`,
      `missing event id ${ADA} new: `,
    ].map((line) => `${line} (repaired)`);
    const left = `stale id count ${ACME}: 8 instead of 7`;
    expect(await verify({ fix: true })).toEqual([...repairable.slice(0, 2), left, ...repairable.slice(2)]);
    expect(await verify({ fix: true })).toEqual([left]);
  });

  it('does not change pruned months, and reports when their rollups and ids disagree', async () => {
    await db.rows(`UPDATE usage_rollups SET input_tokens = 99, tokens_used = 99 WHERE hour < '2026-08-01'`);
    await db.rows(`UPDATE usage_quotas SET used = 99, overrun = 9, held = 9 WHERE period_start < '2026-08-01'`);
    expect(await verify()).toEqual([]);
    await db.rows(`UPDATE usage_rollups SET events = 3 WHERE hour < '2026-08-01'`);
    const before = await allRows();
    expect(await verify({ fix: true })).toEqual([`stale id count ${ACME}: 8 instead of 10`]);
    expect(await allRows()).toEqual(before);
    await db.rows(`DELETE FROM usage_rollups WHERE hour < '2026-08-01'; DELETE FROM usage_quotas WHERE period_start < '2026-08-01'`);
    expect(await verify({ fix: true })).toEqual([`stale id count ${ACME}: 8 instead of 7`]);
    expect(await db.rows(`SELECT FROM usage_rollups WHERE hour < '2026-08-01'`)).toEqual([]);
  });

  it('checks one owner on request', async () => {
    await db.rows('UPDATE usage_quotas SET used = used + 1');
    await verify({ fix: true, only: ADA });
    expect(await verify({ only: ADA })).toEqual([]);
    expect(await verify()).toHaveLength(3);
    expect(await verify({ only: v7() })).toEqual([]);
  });

  it('sees a pruned month completely or not at all', async () => {
    const pruning = await db.pool.connect();
    try {
      await pruning.query('BEGIN');
      await pruning.query(`UPDATE usage_seals SET sealed_before = '2026-11-01'`);
      await pruning.query('DROP TABLE usage_2026_10');
      const verified = verify({ fix: true, only: ACME });
      const waiting = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`;
      await until(async () => (await db.rows(waiting)).length === 1);
      await pruning.query('COMMIT');
      expect(await verified).toEqual([]);
    } finally {
      pruning.release();
      await db.rows(`UPDATE usage_seals SET sealed_before = '2026-08-01'`);
      app.partitions.clearCache();
      await app.partitions.ensure([new Date('2026-10-01T00:00:00Z')]);
    }
  });

  it('finds no false difference, and repairs correctly, during concurrent writes and repairs', async () => {
    const owners = [ACME, ADA];
    const event = (turn: number) => ({
      ownerId: owners[turn % 2]!,
      occurredAt: `2026-10-05T${10 + (turn % 3)}:30:00Z`,
      periodStart: PERIOD,
      inputTokens: turn,
      overrun: turn % 5,
    });
    const written = Array.from({ length: 4 }, async (_, lane) => {
      for (let turn = lane; turn < 200; turn += 4) await insertLedgerUsage(db, [event(turn), event(turn + 1)]);
    });
    const writing = Promise.all(written);
    expect(await verify()).toEqual([]);
    await db.rows(`UPDATE usage_quotas SET used = used + 1000, held = held + 1 ${quota}`);
    await db.rows(`UPDATE usage_rollups SET events = events - 1, tokens_used = tokens_used + 5 WHERE hour = '${HOUR}'`);
    const damaged = await verify();
    const repairs = await Promise.all([verify({ fix: true }), verify({ fix: true }), verify({ fix: true })]);
    await writing;
    expect(damaged.join('\n')).toContain(`stale quota ${ACME} ${PERIOD}: `);
    for (const line of repairs.flat()) expect(line).toMatch(/\(repaired\)$/);
    expect(await verify()).toEqual([]);
  });
});
