import pg from 'pg';
import { startTestApp, type TestApp } from '../support/app.js';
import { CLERK_WEBHOOK_SECRET, clerkEvent, deliver, newMessageId, userData } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';

describe('concurrent messages', () => {
  let db: TestDatabase;
  let t: TestApp;
  beforeEach(async () => {
    db = await createTestDatabase();
    t = await startTestApp({ CLERK_WEBHOOK_SIGNING_SECRET: CLERK_WEBHOOK_SECRET }, db);
  });
  afterEach(async () => {
    await t.close();
    await db.drop();
  });

  const deliverAll = async (ids: string[]) =>
    Promise.all(
      ids.map(async (id, index) => (await deliver(t.url, clerkEvent('user.created', userData({ id: `user_${index}` })), { id })).status),
    );
  const newIds = (count: number) => Array.from({ length: count }, newMessageId);
  const countProcessed = async () =>
    (await db.rows<{ count: number }>(`SELECT count(*)::int AS count FROM webhook_events WHERE status = 'processed'`))[0]!.count;

  it('share commits, and one that cannot be stored fails alone', async () => {
    const ids = newIds(30);
    await db.rows(`ALTER TABLE webhook_events ADD CONSTRAINT refused CHECK (message_id <> '${ids[7]}')`);
    const statuses = await deliverAll(ids);
    expect(statuses.map((status, index) => [index, status]).filter(([, status]) => status !== 202)).toEqual([[7, 500]]);
    // Rows of one statement have the same time.
    const [row] = await db.rows<{ commits: number }>('SELECT count(DISTINCT received_at)::int AS commits FROM webhook_events');
    expect(row!.commits).toBeLessThan(29);
    await until(async () => (await countProcessed()) === 29);
  });

  it('that a process cannot attempt in time are left to others', async () => {
    const lockHolder = new pg.Client({ connectionString: db.url });
    await lockHolder.connect();
    await lockHolder.query('BEGIN; LOCK TABLE users IN SHARE MODE');
    expect(new Set(await deliverAll(newIds(60)))).toEqual(new Set([202]));
    // Only the events whose effect has begun keep their lease.
    await until(async () => {
      const [row] = await db.rows<{ leased: number }>(
        `SELECT count(*) FILTER (WHERE attempts > 0 AND leased_until IS NOT NULL)::int AS leased FROM webhook_events`,
      );
      return row!.leased <= 20;
    });
    await lockHolder.end();
    await until(async () => (await countProcessed()) === 60);
    expect(await db.rows('SELECT count(*)::int AS count FROM users')).toEqual([{ count: 60 }]);
    expect(await db.rows(`SELECT count(*)::int AS count FROM audit_log WHERE action = 'user.created'`)).toEqual([{ count: 60 }]);
  });
});
