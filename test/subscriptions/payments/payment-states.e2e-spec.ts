import pg from 'pg';
import { v7 } from 'uuid';
import { migrate } from '../../../src/platform/database/migrations.js';
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../../support/database.js';
import { migrateThrough } from '../../support/migrate-through.js';
import { untilLocked } from '../../support/until.js';

const INSERT = `INSERT INTO payments (id, provider, kind, provider_payment_id, provider_customer_id, of_provider_payment_id, amount, currency, status, occurred_at)
  VALUES ($1, 'dodo', $2::payment_kind, $3, 'customer', $4, $5, 'USD', $6::payment_status, now())`;
type Row = [kind: string, id: string, of: string | null, amount: number, status: string];
const PAYMENT: Row = ['payment', 'paid', null, 2000, 'succeeded'];
const REFUND: Row = ['refund', 'returned', 'paid', 500, 'succeeded'];
const DISPUTE: Row = ['dispute', 'disputed', 'paid', 2000, 'lost'];

const insert = (db: Pick<pg.ClientBase, 'query'>, row: Row) => db.query(INSERT, [v7(), ...row]);

describe('the stored state of a payment', () => {
  let db: TestDatabase;
  afterEach(() => db.drop());
  const stateOf = async (id: string) =>
    (await db.rows<{ state: string }>('SELECT state FROM payments WHERE provider_payment_id = $1', [id]))[0]?.state;

  /** The second write waits for the first one, and goes on when it is committed. */
  async function writeTogether(first: (db: pg.PoolClient) => Promise<unknown>, second: Row): Promise<void> {
    const [one, other] = [await db.pool.connect(), await db.pool.connect()];
    await one.query('BEGIN');
    await first(one);
    const done = insert(other, second);
    await untilLocked(db);
    await one.query('COMMIT');
    await done;
    one.release();
    other.release();
  }

  it.each([
    ['the payment', PAYMENT, REFUND],
    ['the refund', REFUND, PAYMENT],
  ])('takes in a refund that is written at the same time, when %s is written first', async (_, first, second) => {
    db = await createTestDatabase();
    await writeTogether((one) => insert(one, first), second);
    expect(await stateOf('paid')).toBe('partially_refunded');
    expect(await stateOf('returned')).toBe('succeeded');
  });

  it('takes in a refund that is written while the payment changes', async () => {
    db = await createTestDatabase();
    await insert(db.pool, ['payment', 'paid', null, 500, 'pending']);
    await writeTogether((one) => one.query(`UPDATE payments SET status = 'succeeded' WHERE kind = 'payment'`), REFUND);
    expect(await stateOf('paid')).toBe('refunded');
  });

  it('follows a refund that turns out to be about another payment', async () => {
    db = await createTestDatabase();
    for (const row of [PAYMENT, REFUND, ['payment', 'other', null, 500, 'succeeded'] satisfies Row]) await insert(db.pool, row);
    expect([await stateOf('paid'), await stateOf('other')]).toEqual(['partially_refunded', 'succeeded']);
    await db.rows(`UPDATE payments SET of_provider_payment_id = 'other' WHERE kind = 'refund'`);
    expect([await stateOf('paid'), await stateOf('other')]).toEqual(['succeeded', 'refunded']);
  });

  it('is computed for the payments of an earlier version', async () => {
    db = await createEmptyDatabase();
    await migrateThrough(db, 'read_indexes');
    for (const row of [PAYMENT, REFUND, DISPUTE]) await insert(db.pool, row);
    await insert(db.pool, ['payment', 'failed', null, 2000, 'failed']);
    await db.rows(`
      INSERT INTO payments (id, provider, kind, provider_payment_id, provider_customer_id, amount, status, occurred_at)
      SELECT gen_random_uuid(), 'polar', 'payment', 'order' || n, 'customer', 100, 'refunded', now() FROM generate_series(1, 1200) n`);
    await migrate(db.url);
    expect(await db.rows('SELECT state, count(*)::int AS count FROM payments GROUP BY state ORDER BY state')).toEqual([
      { state: 'dispute_lost', count: 1 },
      { state: 'failed', count: 1 },
      { state: 'lost', count: 1 },
      { state: 'refunded', count: 1200 },
      { state: 'succeeded', count: 1 },
    ]);
  });

  it('is computed for many payments of one transaction', async () => {
    db = await createTestDatabase();
    await db.rows(`
      INSERT INTO payments (id, provider, kind, provider_payment_id, provider_customer_id, amount, status, occurred_at)
      SELECT gen_random_uuid(), 'polar', 'payment', 'order' || n, 'customer', 100, 'succeeded', now() FROM generate_series(1, 20000) n`);
    expect(await db.rows(`SELECT count(*)::int AS count FROM payments WHERE state = 'succeeded'`)).toEqual([{ count: 20_000 }]);
  });
});
