import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { UsageHoldsRepository } from '../../../src/usage/holds/usage-holds.repository.js';
import { UsageQuotasRepository } from '../../../src/usage/quotas/usage-quotas.repository.js';
import { createTestDatabase, type TestDatabase } from '../../support/database.js';
import { startUsageApp, type UsageApp } from '../../support/usage/usage-app.js';

const OWNER = '0190a000-0000-7000-8000-000000000001';
const PERIOD = new Date('2026-11-03T09:30:00Z');
const EXPIRY = new Date('2026-11-22T08:00:00Z');
const BEFORE = new Date(EXPIRY.getTime() - 1);

describe('the expiry of a hold', () => {
  let db: TestDatabase;
  let app: UsageApp;
  beforeAll(async () => {
    db = await createTestDatabase();
    app = await startUsageApp(db, { now: '2026-11-22T07:00:00Z' });
  });
  afterAll(async () => {
    await app.app.close();
    await db.drop();
  });

  /** A hold of 10 tokens that expires, one of 20 that stays live, and some that have ended. */
  beforeEach(async () => {
    await db.rows('TRUNCATE usage_quotas, usage_holds');
    await db.rows(
      `INSERT INTO usage_quotas (owner_id, owner_kind, period_start, period_end, used, held) VALUES ($1, 'organization', $2, $2::timestamptz + interval '1 month', 5, 30)`,
      [OWNER, PERIOD],
    );
    await db.rows(
      `INSERT INTO usage_holds (owner_id, id, period_start, tokens, expires_at, status)
       SELECT $1, gen_random_uuid(), $2, tokens, $3::timestamptz + later * interval '1 hour', status::hold_status
         FROM (VALUES (10, 0, 'live'), (20, 1, 'live'), (40, 0, 'settled'), (50, 0, 'expired'), (60, 0, 'released')) holds (tokens, later, status)`,
      [OWNER, PERIOD, EXPIRY],
    );
  });

  const holds = () => app.app.get(UsageHoldsRepository);
  const quotas = () => app.app.get(UsageQuotasRepository);
  const database = () => app.app.get<Database>(DATABASE);
  const heldTokens = async () => (await db.rows<{ held: number }>('SELECT held::int FROM usage_quotas'))[0]!.held;
  const statuses = async () =>
    (await db.rows<{ status: string }>('SELECT status FROM usage_holds ORDER BY tokens')).map(({ status }) => status);

  it('applies at its exact time when the quota is read', async () => {
    expect(await quotas().list(OWNER, [PERIOD], BEFORE)).toMatchObject([{ used: 5, held: 30 }]);
    expect(await quotas().list(OWNER, [PERIOD], EXPIRY)).toMatchObject([{ used: 5, held: 20 }]);
  });

  it('applies at its exact time when the quota is used', async () => {
    const key = { ownerId: OWNER, ownerKind: 'organization' as const, periodStart: PERIOD, periodEnd: PERIOD };
    const expireAt = async (now: Date) => database().transaction((tx) => holds().expireOfQuotas([key], now, tx));
    expect(await expireAt(BEFORE)).toEqual([]);
    expect(await expireAt(EXPIRY)).toMatchObject([{ tokens: 10 }]);
  });

  it('applies at its exact time in the sweep', async () => {
    expect(await holds().lockExpired(BEFORE, 10, database())).toEqual([]);
    expect(await holds().lockExpired(EXPIRY, 10, database())).toHaveLength(1);
  });

  it('returns its tokens once, also when it is settled between the two steps of the sweep', async () => {
    const now = EXPIRY;
    const due = await holds().lockExpired(now, 10, database());
    // The writes of a settlement: the hold, and its tokens in the quota.
    await db.rows(`UPDATE usage_holds SET status = 'settled' WHERE id = $1`, [due[0]!.id]);
    await db.rows('UPDATE usage_quotas SET held = held - 10, used = used + 7');
    expect(await holds().expire(due, now, database())).toBe(0);
    expect(await heldTokens()).toBe(20);
    expect(await statuses()).toEqual(['settled', 'live', 'settled', 'expired', 'released']);
  });

  it('is done by the sweep: the hold is expired and its tokens are released', async () => {
    app.clock.set(EXPIRY);
    expect(await app.run('expire_holds')).toBe(1);
    expect(await heldTokens()).toBe(20);
    expect(await statuses()).toEqual(['expired', 'live', 'settled', 'expired', 'released']);
  });
});
