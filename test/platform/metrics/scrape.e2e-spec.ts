import { AsyncLocalStorage } from 'node:async_hooks';
import { jest } from '@jest/globals';
import pg from 'pg';
import { ChargedSubscriptionsRepository } from '../../../src/subscriptions/customers/charged-subscriptions.repository.js';
import { Metrics } from '../../../src/platform/metrics/metrics.service.js';
import { MOST_COUNTED_HOLDS } from '../../../src/usage/holds/usage-holds.repository.js';
import { startTestApp, type TestApp } from '../../support/app.js';

const ROWS = 20_000;

interface Plan {
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
}

/** Of each kind of row that gauges count, only some of thousands are to be counted. */
const FILL = [
  `INSERT INTO webhook_events (id, provider, message_id, type, status)
   SELECT gen_random_uuid(), 'clerk', 'msg_' || n, 'user.updated', (CASE WHEN n <= 20 THEN 'dead' ELSE 'processed' END)::webhook_event_status
     FROM generate_series(1, ${ROWS}) n`,
  `INSERT INTO outbox (id, kind, payload, next_attempt_at, done_at)
   SELECT gen_random_uuid(), 'mail', '', NULL, CASE WHEN n > 20 THEN now() END FROM generate_series(1, ${ROWS}) n`,
  `INSERT INTO users (id, name) SELECT gen_random_uuid(), '' FROM generate_series(1, ${ROWS}) n`,
  `INSERT INTO subscriptions (id, provider, provider_subscription_id, owner_kind, owner_id, status, product_id)
   SELECT gen_random_uuid(), 'polar', 'sub-' || id, 'user', id, 'active', 'known' FROM users`,
  `INSERT INTO subscriptions (id, provider, provider_subscription_id, status, product_id)
   SELECT gen_random_uuid(), 'polar', 'ownerless-' || n, 'active', CASE WHEN n > 10 THEN 'known' WHEN n > 5 THEN 'other' END FROM generate_series(1, 20) n`,
  `INSERT INTO payments (id, provider, kind, provider_payment_id, provider_customer_id, status, occurred_at)
   SELECT gen_random_uuid(), 'polar', 'payment', 'pay-' || n, 'cus', 'succeeded', now() FROM generate_series(1, ${ROWS}) n`,
  `INSERT INTO usage_holds (owner_id, id, period_start, tokens, status, expires_at)
   SELECT gen_random_uuid(), gen_random_uuid(), now(), 1, (CASE WHEN n <= 20 THEN 'live' ELSE 'settled' END)::hold_status,
          now() + (CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END) * interval '1 hour' FROM generate_series(1, ${ROWS}) n`,
];

describe('a scrape of a large database', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ BILLING_PRODUCTS: 'polar:known=pro' });
    for (const text of [...FILL, 'ANALYZE']) await t.db.rows(text);
  }, 60_000);
  afterAll(() => t.close());

  /** The statements that this work sends, without those of workers and jobs. */
  async function sentBy(run: () => Promise<unknown>): Promise<{ text: string; values: unknown[] }[]> {
    const work = new AsyncLocalStorage<true>();
    const sent: { text: string; values: unknown[] }[] = [];
    const query = pg.Client.prototype.query as unknown as (...all: unknown[]) => unknown;
    const spy = jest.spyOn(pg.Client.prototype, 'query').mockImplementation(function (this: pg.Client, ...all: unknown[]): unknown {
      const [statement, values] = all as [{ text: string; values?: unknown[] }, unknown[] | undefined];
      if (work.getStore() === true) sent.push({ text: statement.text, values: values ?? statement.values ?? [] });
      return query.apply(this, all);
    });
    try {
      await work.run(true, run);
    } finally {
      spy.mockRestore();
    }
    return sent;
  }

  async function blocksOf({ text, values }: { text: string; values: unknown[] }): Promise<number> {
    const [row] = await t.db.rows<{ 'QUERY PLAN': [{ Plan: Plan }] }>(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${text}`, values);
    const { Plan: plan } = row!['QUERY PLAN'][0];
    return plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
  }

  it('sends one statement for each kind of backlog, and reads few blocks', async () => {
    const sent = await sentBy(() => t.app.get(Metrics).registry.metrics());
    for (const table of ['webhook_events', 'outbox', 'meter_exports', 'subscriptions', 'payments', 'usage_holds'])
      expect([table, sent.filter(({ text }) => text.toLowerCase().includes(`from "${table}"`)).length]).toEqual([table, 1]);
    for (const one of sent) expect([one.text, (await blocksOf(one)) < 60]).toEqual([one.text, true]);
    const text = await t.app.get(Metrics).registry.metrics();
    expect(text).toContain('tenantry_webhook_events_dead{provider="clerk",type="user.updated"} 20');
    expect(text).toContain('tenantry_outbox_entries{state="dead"} 20');
    expect(text).toContain('tenantry_subscriptions_odd{kind="ownerless"} 20');
    expect(text).toContain('tenantry_subscriptions_odd{kind="unknown_product"} 10');
    expect(text).toContain('tenantry_holds_open{state="current"} 10');
    expect(text).toContain('tenantry_holds_open{state="overdue"} 10');
  });

  it('counts open holds up to a bound', async () => {
    await t.db.rows(`UPDATE usage_holds SET status = 'live', expires_at = now() + interval '1 hour'`);
    await t.db.rows('VACUUM ANALYZE usage_holds');
    const open = () => t.app.get(Metrics).registry.getSingleMetricAsString('tenantry_holds_open');
    const sent = await sentBy(open);
    expect(sent).toHaveLength(1);
    expect(await blocksOf(sent[0]!)).toBeLessThan(400);
    expect(await open()).toContain(`tenantry_holds_open{state="current"} ${MOST_COUNTED_HOLDS}`);
  });

  it('finds charged subscriptions of deleted owners without reading the others', async () => {
    const charged = t.app.get(ChargedSubscriptionsRepository);
    const [owner] = await t.db.rows<{ id: string }>(
      'UPDATE users SET deleted_at = now() WHERE id = (SELECT min(id::text)::uuid FROM users) RETURNING id',
    );
    const find = () => charged.listDeletedOwners({ since: new Date(Date.now() - 60_000), limit: 10 });
    expect(await find()).toEqual([owner!.id]);
    const [sent] = await sentBy(find);
    expect(await blocksOf(sent!)).toBeLessThan(60);
  });
});
