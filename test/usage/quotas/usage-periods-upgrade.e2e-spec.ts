import { v7 } from 'uuid';
import { grantAppRole } from '../../../src/platform/database/app-role.js';
import { migrate } from '../../../src/platform/database/migrations.js';
import { UsageService } from '../../../src/usage/usage.service.js';
import { monthAt } from '../../../src/usage/quotas/usage-period.js';
import { asAppRole, createEmptyDatabase, type TestDatabase } from '../../support/database.js';
import { migrateThrough } from '../../support/migrate-through.js';
import { startUsageApp, type UsageApp } from '../../support/usage/usage-app.js';
import { ledgerMismatches } from '../../support/usage/ledger-checks.js';
import { createPartitions } from '../../support/usage/usage-rows.js';
import { insertLedgerUsage } from '../../support/usage/ledger-rows.js';

const NOW = '2026-11-20T12:00:00.000Z';
const HOUR_MS = 3_600_000;

interface Bought {
  startedAt: string;
  trialEnd?: string;
  period: [start: string, end: string];
  /** The current usage month by the new rule. */
  month: [start: string, end: string];
}

/** Subscriptions with usage months from the subscription's start before the upgrade, and from the provider's period after it. */
const SUBSCRIPTIONS: Record<string, Bought> = {
  'started with a trial': {
    startedAt: '2026-10-31T09:00:00Z',
    trialEnd: '2026-11-14T09:00:00Z',
    period: ['2026-11-14T09:00:00Z', '2026-12-14T09:00:00Z'],
    month: ['2026-11-14T09:00:00Z', '2026-12-14T09:00:00Z'],
  },
  'yearly after a change': {
    startedAt: '2026-01-05T10:30:00Z',
    period: ['2026-08-25T07:15:30Z', '2027-08-25T07:15:30Z'],
    month: ['2026-10-25T07:15:30Z', '2026-11-25T07:15:30Z'],
  },
  'yearly after a change some days ago': {
    startedAt: '2026-08-01T10:30:00Z',
    period: ['2026-11-18T00:00:00Z', '2027-11-18T00:00:00Z'],
    month: ['2026-11-18T00:00:00Z', '2026-12-18T00:00:00Z'],
  },
  weekly: {
    startedAt: '2026-11-02T00:00:00Z',
    period: ['2026-11-16T00:00:00Z', '2026-11-23T00:00:00Z'],
    month: ['2026-11-16T00:00:00Z', '2026-11-23T00:00:00Z'],
  },
  'monthly without a change': {
    startedAt: '2026-05-31T10:30:00Z',
    period: ['2026-10-31T10:30:00Z', '2026-11-30T10:30:00Z'],
    month: ['2026-10-31T10:30:00Z', '2026-11-30T10:30:00Z'],
  },
};

describe('an upgrade from usage months that start with the subscription', () => {
  let db: TestDatabase;
  let app: UsageApp;
  const owners = new Map(Object.keys(SUBSCRIPTIONS).map((name) => [name, v7()]));
  /** Every nine hours, from before the subscriptions started; each has another number of tokens. */
  const events = Array.from({ length: 220 }, (_, index) => ({ time: Date.parse(NOW) - index * 9 * HOUR_MS, tokens: 100 + index }));
  const tokensIn = ([start, end]: [string, string]) =>
    events.filter(({ time }) => time >= Date.parse(start) && time < Date.parse(end)).reduce((sum, { tokens }) => sum + tokens, 0);

  beforeAll(async () => {
    db = await createEmptyDatabase();
    await migrateThrough(db, 'payment_states');
    await createPartitions(
      db,
      events.map(({ time }) => new Date(time).toISOString()),
    );
    for (const [name, bought] of Object.entries(SUBSCRIPTIONS)) await writeAsBefore(db, owners.get(name)!, bought, events);
    await migrate(db.url);
    await grantAppRole(db.url, new URL(asAppRole(db.url)).username);
    app = await startUsageApp(db, { now: NOW, BILLING_PRODUCTS: 'polar:a-product=pro' });
  }, 120_000);
  afterAll(async () => {
    await app.app.close();
    await db.drop();
  });

  const callerOf = (name: string) => ({
    owner: { kind: 'organization' as const, id: owners.get(name)! },
    userId: null,
    mayRecordFor: 'members' as const,
  });
  const quotaOf = async (name: string) => app.app.get(UsageService).getQuota(callerOf(name));
  const record = async (name: string, tokens: number, occurredAt?: string) =>
    app.app
      .get(UsageService)
      .record(callerOf(name), { eventId: v7(), model: 'm', tokens, ...(occurredAt !== undefined && { occurredAt }) });
  const differences = async () => {
    const names: string[] = [];
    await app.reconciliation.reconcile({ onDifference: ({ id, details: all }) => names.push(`${id}: ${all.join()}`) });
    return [...names, ...(await ledgerMismatches(db))];
  };
  const totals = async () =>
    db.rows('SELECT owner_id, sum(used)::int AS used, sum(held)::int AS held FROM usage_quotas GROUP BY 1 ORDER BY 1');

  it('keeps every counted token exactly once', async () => {
    const before = await totals();
    expect(await differences()).toEqual([]);
    for (const [name, { month }] of Object.entries(SUBSCRIPTIONS)) {
      const { start, end, used, carried, held, remaining } = await quotaOf(name);
      const wanted = { start: new Date(month[0]), end: new Date(month[1]), used: tokensIn(month), carried: 0, held: 4000 };
      expect({ name, start, end, used, carried, held }).toEqual({ name, ...wanted });
      expect(remaining).toBe(5_000_000 - wanted.used - 4000);
    }
    expect(await totals()).toEqual(before);
    expect(await differences()).toEqual([]);
  });

  it('continues with new events, late events and old holds', async () => {
    const name = 'yearly after a change some days ago';
    const used = (await quotaOf(name)).used;
    expect((await record(name, 10_000)).quota).toMatchObject({ used: used + 10_000, held: 4000 });
    // In a month that ended before the change, which has its own quota.
    expect((await record(name, 7_000, '2026-10-15T00:00:00Z')).quota).toMatchObject({ used: used + 10_000 });
    const [hold] = await db.rows<{ id: string }>(`SELECT id FROM usage_holds WHERE owner_id = $1 AND status = 'live'`, [owners.get(name)]);
    const settled = await app.app.get(UsageService).settle(callerOf(name), hold!.id, { eventId: v7(), model: 'm', tokens: 3000 });
    expect(settled.quota).toMatchObject({ used: used + 13_000, held: 0, overrun: 0 });
    expect(await differences()).toEqual([]);
  });

  it('counts a late event in the quota of its time', async () => {
    // In the trial, which had a quota with the same start.
    await record('started with a trial', 11, '2026-11-10T00:00:00Z');
    const [trial] = await db.rows<{ used: number }>(
      `SELECT used::int FROM usage_quotas WHERE owner_id = $1 AND period_start = '2026-10-31T09:00:00Z'`,
      [owners.get('started with a trial')],
    );
    expect(trial!.used).toBe(tokensIn(['2026-10-31T09:00:00Z', '2026-11-14T09:00:00Z']) + 11);
    // In a month after the change to yearly without a quota so far.
    await record('yearly after a change', 13, '2026-10-01T00:00:00Z');
    const [september] = await db.rows<{ used: number }>(
      `SELECT used::int FROM usage_quotas WHERE owner_id = $1 AND period_start = '2026-09-25T07:15:30Z'`,
      [owners.get('yearly after a change')],
    );
    expect(september!.used).toBe(tokensIn(['2026-09-25T07:15:30Z', '2026-10-25T07:15:30Z']) + 13);
    expect(await differences()).toEqual([]);
  });

  it('finds a period that a process of the older version did not store', async () => {
    const name = 'monthly without a change';
    await db.rows(
      `UPDATE subscriptions SET current_period_start = '2026-11-19T00:00:00Z', current_period_end = '2026-12-19T00:00:00Z' WHERE owner_id = $1`,
      [owners.get(name)],
    );
    const quota = await quotaOf(name);
    const [earlier, later] = [
      tokensIn(['2026-10-31T10:30:00Z', '2026-11-19T00:00:00Z']),
      tokensIn(['2026-11-19T00:00:00Z', '2026-12-19T00:00:00Z']),
    ];
    expect(quota).toMatchObject({ start: new Date('2026-11-19T00:00:00Z'), used: earlier + later, carried: earlier });
    expect(await differences()).toEqual([]);
  });
});

/** Writes an organization, its subscription and usage as the previous version did. */
async function writeAsBefore(db: TestDatabase, ownerId: string, bought: Bought, events: { time: number; tokens: number }[]): Promise<void> {
  const { startedAt, trialEnd = null, period } = bought;
  const createdAt = new Date('2026-01-01T00:00:00Z');
  await db.rows(`INSERT INTO organizations (id, name, created_at) VALUES ($1, 'Some', $2)`, [ownerId, createdAt]);
  await db.rows(
    `INSERT INTO subscriptions (id, provider, provider_subscription_id, provider_customer_id, owner_kind, owner_id, owner_linked, product_id, tier, status,
       started_at, trial_end, current_period_start, current_period_end, event_at)
     VALUES (gen_random_uuid(), 'polar', gen_random_uuid()::text, 'customer', 'organization', $1, true, 'a-product', NULL, 'active', $2, $3, $4, $5, $4)`,
    [ownerId, startedAt, trialEnd, ...period],
  );
  const anchor = new Date(startedAt);
  const periodOf = (moment: Date) => monthAt(moment < anchor ? createdAt : anchor, moment);
  await insertLedgerUsage(
    db,
    events.map(({ time, tokens }) => ({
      ownerId,
      occurredAt: new Date(time).toISOString(),
      tokensUsed: tokens,
      periodStart: periodOf(new Date(time)).start.toISOString(),
    })),
  );
  const madeAt = new Date(Date.parse(NOW) - HOUR_MS);
  const { start } = periodOf(madeAt);
  await db.rows(
    `INSERT INTO usage_holds (owner_id, id, period_start, tokens, expires_at, created_at) VALUES ($1, $2, $3, 4000, '2026-11-21T00:00:00Z', $4)`,
    [ownerId, v7(), start, madeAt],
  );
  await db.rows('UPDATE usage_quotas SET held = 4000 WHERE owner_id = $1 AND period_start = $2', [ownerId, start]);
}
