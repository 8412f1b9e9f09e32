import type pg from 'pg';
import { v7 } from 'uuid';
import { migrate } from '../../../src/platform/database/migrations.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../../support/database.js';
import { migrateThrough } from '../../support/migrate-through.js';
import { ledgerMismatches } from '../../support/usage/ledger-checks.js';
import { untilLocked } from '../../support/until.js';

const [OWNER, USER] = [v7(), v7()];
const ADD = `INSERT INTO usage_rollups AS r (owner_id, hour, model, actor_user_id, events, input_tokens, tokens_used) VALUES ($1, $2, $3, $4, 1, $5, $5)
  ON CONFLICT (owner_id, hour, model, actor_user_id)
  DO UPDATE SET events = r.events + excluded.events, input_tokens = r.input_tokens + excluded.input_tokens, tokens_used = r.tokens_used + excluded.tokens_used`;

type Client = Pick<pg.ClientBase, 'query'>;

describe('the sums of rollups by model and by month', () => {
  let db: TestDatabase;
  afterEach(() => db.drop());

  const add = (client: Client, hour: string, tokens: number, { model = 'm', user = USER }: { model?: string; user?: string | null } = {}) =>
    client.query(ADD, [OWNER, hour, model, user, tokens]);
  /** This file writes no events. */
  const mismatches = async () => (await ledgerMismatches(db)).filter((line) => !line.startsWith('rollups: '));
  const monthsOf = async () =>
    db.rows(
      `SELECT to_char(month, 'YYYY-MM') AS month, model, events::int, tokens_used::int AS tokens FROM usage_month_rollups ORDER BY month, model, actor_user_id`,
    );

  it('follow rollups that are inserted, changed, moved and deleted', async () => {
    db = await createTestDatabase();
    await add(db.pool, '2026-01-31T23:00Z', 1);
    await add(db.pool, '2026-02-01T00:00Z', 2);
    await add(db.pool, '2026-02-01T00:00Z', 4);
    await add(db.pool, '2026-02-01T00:00Z', 8, { user: null });
    await add(db.pool, '2026-02-01T00:00Z', 16, { model: 'other' });
    expect(await mismatches()).toEqual([]);
    expect(await monthsOf()).toEqual([
      { month: '2026-01', model: 'm', events: 1, tokens: 1 },
      { month: '2026-02', model: 'm', events: 2, tokens: 6 },
      { month: '2026-02', model: 'm', events: 1, tokens: 8 },
      { month: '2026-02', model: 'other', events: 1, tokens: 16 },
    ]);
    await db.rows(`UPDATE usage_rollups SET hour = hour - interval '1 month', tokens_used = tokens_used + 1 WHERE tokens_used > 7`);
    await db.rows(`DELETE FROM usage_rollups WHERE tokens_used = 1`);
    // Rows without anything stay.
    expect((await mismatches()).filter((line) => !line.includes('"events":"0"'))).toEqual([]);
    expect((await monthsOf()).filter(({ events }) => events !== 0)).toEqual([
      { month: '2026-01', model: 'm', events: 1, tokens: 9 },
      { month: '2026-01', model: 'other', events: 1, tokens: 17 },
      { month: '2026-02', model: 'm', events: 2, tokens: 6 },
    ]);
  });

  it('are computed for the rollups of an earlier version, while it goes on writing', async () => {
    db = await createEmptyDatabase();
    await migrateThrough(db, 'payment_states');
    await db.rows(
      `INSERT INTO usage_rollups (owner_id, hour, model, actor_user_id, events, tokens_used)
       SELECT $1, '2026-01-01Z'::timestamptz + n / 4 * interval '1 hour', 'm' || n % 2, CASE WHEN n % 4 < 2 THEN $2::uuid END, 1, n FROM generate_series(0, 4999) n`,
      [OWNER, USER],
    );
    // A writer holds a row in the middle of the migration, which waits for it there.
    const writer = await db.pool.connect();
    await writer.query('BEGIN');
    await add(writer, '2026-02-01T00:00Z', 1, { model: 'm0' });
    const migrated = migrate(db.url);
    await untilLocked(db);
    await writer.query('COMMIT');
    await migrated;
    writer.release();
    expect(await mismatches()).toEqual([]);
    await add(db.pool, '2026-01-01T00:00Z', 1, { model: 'm0' });
    expect(await mismatches()).toEqual([]);
    expect(await db.rows('SELECT sum(events)::int AS events FROM usage_month_rollups')).toEqual([{ events: 5002 }]);
  });

  it('count a row once that changes before and after the migration reaches it', async () => {
    db = await createEmptyDatabase();
    await migrateThrough(db, 'payment_states');
    await add(db.pool, '2026-01-01T00:00Z', 1);
    await migrate(db.url);
    // As in the middle of the migration.
    await db.rows('UPDATE usage_rollups SET is_counted = false; TRUNCATE usage_model_rollups, usage_month_rollups');
    await db.rows('TRUNCATE usage_model_rollups, usage_month_rollups');
    await add(db.pool, '2026-01-01T00:00Z', 2);
    await add(db.pool, '2026-01-01T01:00Z', 4);
    expect(await monthsOf()).toEqual([{ month: '2026-01', model: 'm', events: 1, tokens: 4 }]);
    await db.rows('UPDATE usage_rollups SET is_counted = true WHERE NOT is_counted');
    await add(db.pool, '2026-01-01T00:00Z', 8);
    expect(await monthsOf()).toEqual([{ month: '2026-01', model: 'm', events: 4, tokens: 15 }]);
    expect(await mismatches()).toEqual([]);
  });
});
