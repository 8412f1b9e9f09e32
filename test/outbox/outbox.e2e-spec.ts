import { OutboxService } from '../../src/outbox/outbox.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { until } from '../support/until.js';

interface Entry {
  attempts: number;
  last_error: string | null;
  isWaiting: boolean;
  isDone: boolean;
}

describe('the outbox', () => {
  let t: TestApp;
  let outbox: OutboxService;
  beforeAll(async () => {
    t = await startTestApp();
    outbox = t.app.get(OutboxService);
    // Records the delay of each failure with the database's clock.
    await t.db.rows(`
      CREATE TABLE failures (attempts int, seconds float8);
      CREATE FUNCTION note_failure() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO failures VALUES (NEW.attempts, extract(epoch FROM NEW.next_attempt_at - now())); RETURN NULL; END $$;
      CREATE TRIGGER note_failure AFTER UPDATE OF last_error ON outbox FOR EACH ROW
        WHEN (NEW.last_error IS NOT NULL AND NEW.next_attempt_at IS NOT NULL) EXECUTE FUNCTION note_failure()`);
  });
  beforeEach(async () => {
    outbox.handle('test.quick', async () => Promise.resolve());
    await t.db.rows('DELETE FROM outbox; DELETE FROM failures');
  });
  afterAll(() => t.close());

  const entriesOf = (kind: string) =>
    t.db.rows<Entry>(
      `SELECT attempts, last_error, next_attempt_at IS NOT NULL AS "isWaiting", done_at IS NOT NULL AS "isDone"
         FROM outbox WHERE kind = $1 ORDER BY created_at, id`,
      [kind],
    );
  const failures = () => t.db.rows<{ attempts: number; seconds: number }>('SELECT attempts, seconds FROM failures ORDER BY attempts');
  /** Makes the next attempt due at once. */
  const hurry = (attempts?: number) =>
    t.db.rows('UPDATE outbox SET next_attempt_at = now(), attempts = coalesce($1, attempts) WHERE done_at IS NULL', [attempts ?? null]);
  const metrics = async () => (await t.http.get('/metrics').expect(200)).text;

  it('retries a failed entry with growing delays until it succeeds', async () => {
    let fails = 3;
    const seen: unknown[] = [];
    outbox.handle('test.flaky', async (payload) => {
      seen.push(payload);
      if ((fails -= 1) >= 0) throw new Error('Not yet');
      return Promise.resolve();
    });
    await outbox.enqueue('test.flaky', { n: 1 });
    for (let attempt = 1; attempt <= 3; attempt += 1) {
      await until(async () => (await failures()).length === attempt);
      expect(await entriesOf('test.flaky')).toEqual([{ attempts: attempt, last_error: 'Not yet', isWaiting: true, isDone: false }]);
      await hurry();
    }
    await until(async () => (await entriesOf('test.flaky'))[0]!.isDone);
    expect(await entriesOf('test.flaky')).toEqual([{ attempts: 4, last_error: null, isWaiting: false, isDone: true }]);
    expect(seen).toEqual([{ n: 1 }, { n: 1 }, { n: 1 }, { n: 1 }]);
    for (const { attempts, seconds } of await failures()) {
      expect(seconds).toBeGreaterThanOrEqual(0.87 * 2 ** attempts);
      expect(seconds).toBeLessThanOrEqual(1.13 * 2 ** attempts);
    }
  });

  it('waits at most an hour, however often an entry has failed', async () => {
    outbox.handle('test.away', async () => Promise.reject(new Error('Away')));
    await outbox.enqueue('test.away', {});
    await until(async () => (await failures()).length === 1);
    await hurry(40);
    const [, late] = await until(async () => {
      const all = await failures();
      return all.length === 2 && all;
    });
    expect(late!.attempts).toBe(41);
    expect(late!.seconds).toBeGreaterThanOrEqual(0.87 * 3600);
    expect(late!.seconds).toBeLessThanOrEqual(1.13 * 3600);
  });

  it('gives up after eighty failures, reports the entry, and retries it when it is requeued', async () => {
    let isBroken = true;
    outbox.handle('test.broken', async () => {
      if (isBroken) throw new Error('Broken');
      return Promise.resolve();
    });
    await outbox.enqueue('test.broken', {});
    await until(async () => (await failures()).length === 1);
    await hurry(78);
    await until(async () => (await failures()).length === 2);
    expect(await entriesOf('test.broken')).toMatchObject([{ attempts: 79, isWaiting: true }]);
    await hurry();
    await until(async () => !(await entriesOf('test.broken'))[0]!.isWaiting);
    expect(await entriesOf('test.broken')).toEqual([{ attempts: 80, last_error: 'Broken', isWaiting: false, isDone: false }]);
    expect(await metrics()).toContain('tenantry_outbox_entries{state="dead"} 1\n');
    isBroken = false;
    expect(await outbox.retryDead()).toBe(1);
    await until(async () => (await entriesOf('test.broken'))[0]!.isDone);
    expect(await entriesOf('test.broken')).toMatchObject([{ attempts: 1, last_error: null }]);
    expect(await metrics()).toContain('tenantry_outbox_entries{state="dead"} 0\n');
  });

  it('leases an entry for ninety seconds, longer than any handler may take', async () => {
    let end: (() => void) | undefined;
    outbox.handle('test.slow', async () => new Promise<void>((resolve) => (end = resolve)));
    await outbox.enqueue('test.slow', {});
    await until(() => end !== undefined);
    const [lease] = await t.db.rows<{ seconds: number }>(
      `SELECT extract(epoch FROM next_attempt_at - updated_at)::float8 AS seconds FROM outbox WHERE kind = 'test.slow'`,
    );
    end!();
    await until(async () => (await entriesOf('test.slow'))[0]!.isDone);
    expect(lease!.seconds).toBeGreaterThan(85);
    expect(lease!.seconds).toBeLessThan(95);
  });

  it('keeps an entry done when a late worker fails after another one succeeded', async () => {
    outbox.handle('test.late', async () => {
      // The lease has ended, and the next worker was faster.
      await t.db.rows(`UPDATE outbox SET done_at = now(), next_attempt_at = NULL, payload = '' WHERE kind = 'test.late'`);
      throw new Error('Too late');
    });
    await outbox.enqueue('test.late', {});
    await until(async () => (await metrics()).includes('tenantry_outbox_attempts_total{kind="test.late",outcome="failed"} 1\n'));
    // The next round starts after the late failure was recorded.
    await outbox.enqueue('test.quick', {});
    await until(async () => (await entriesOf('test.quick'))[0]!.isDone);
    expect(await entriesOf('test.late')).toEqual([{ attempts: 1, last_error: null, isWaiting: false, isDone: true }]);
  });
});
