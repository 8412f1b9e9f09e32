import pg from 'pg';
import { startTestApp, type TestApp } from '../support/app.js';
import { CLERK_WEBHOOK_SECRET, clerkEvent, deliver, newMessageId, userData } from '../support/clerk/clerk-events.js';
import { createTestDatabase, type TestDatabase } from '../support/database.js';
import { until, untilLocked } from '../support/until.js';

const LOCK_ID = 42;

interface StoredEvent {
  status: string;
  attempts: number;
  processed_at: Date | null;
  last_error: string | null;
}

describe('a webhook event lease', () => {
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

  async function send(clerkUserId: string): Promise<string> {
    const id = newMessageId();
    expect((await deliver(t.url, clerkEvent('user.created', userData({ id: clerkUserId })), { id })).status).toBe(202);
    return id;
  }

  const eventOf = async (messageId: string) =>
    (
      await db.rows<StoredEvent>('SELECT status, attempts, processed_at, last_error FROM webhook_events WHERE message_id = $1', [messageId])
    )[0]!;
  const isProcessed = (messageId: string) => async () => (await eventOf(messageId)).status === 'processed';

  it('prevents a worker that lost it from writing anything', async () => {
    const lockHolder = new pg.Client({ connectionString: db.url });
    await lockHolder.connect();
    await lockHolder.query(`SELECT pg_advisory_lock(${LOCK_ID})`);
    // The worker waits for the lock at the end of its attempt, before it locks the event's row.
    await db.rows(`
      CREATE FUNCTION wait_for_lock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(${LOCK_ID}); RETURN NULL; END $$;
      CREATE TRIGGER wait_for_lock BEFORE UPDATE OF processed_at ON webhook_events FOR EACH STATEMENT EXECUTE FUNCTION wait_for_lock()`);
    const message = await send('user_1');
    await untilLocked(db);
    const [lease] = await db.rows(`SELECT leased_until <= now() + interval '1 second' AS is_short FROM webhook_events`);
    expect(lease).toEqual({ is_short: true });
    // Another worker has the lease now.
    await db.rows(`UPDATE webhook_events SET attempts = 2, leased_until = now() + interval '1 hour'`);
    await lockHolder.end();
    // Closing waits for the worker's attempt.
    await t.app.close();
    expect(await eventOf(message)).toEqual({ status: 'pending', attempts: 2, processed_at: null, last_error: null });
    expect(await db.rows('SELECT clerk_user_id FROM users')).toEqual([]);
    expect(await db.rows('SELECT action FROM audit_log')).toEqual([]);
  });

  it('prevents other workers from processing the event until it expires', async () => {
    const message = await send('user_1');
    await until(isProcessed(message));
    // The state after the worker's process was killed.
    await db.rows(
      `UPDATE webhook_events SET status = 'pending', processed_at = NULL, attempts = 1, next_attempt_at = now(), leased_until = now() + interval '1 hour'`,
    );
    const next = await send('user_2');
    await until(isProcessed(next));
    expect(await eventOf(message)).toMatchObject({ status: 'pending', attempts: 1 });
    await db.rows(`UPDATE webhook_events SET leased_until = now() WHERE message_id = $1`, [message]);
    await until(isProcessed(message));
    expect(await eventOf(message)).toMatchObject({ attempts: 2, last_error: null });
    expect(await db.rows('SELECT clerk_user_id FROM users ORDER BY 1')).toEqual([{ clerk_user_id: 'user_1' }, { clerk_user_id: 'user_2' }]);
  });
});
