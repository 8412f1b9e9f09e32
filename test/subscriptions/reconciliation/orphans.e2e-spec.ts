import { startTestApp } from '../../support/app.js';
import { BILLING_ENVIRONMENT, BillingApp } from '../../support/billing/billing-app.js';
import { runJob } from '../../support/tenants.js';

describe('live subscriptions without an owner or a known plan', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  /** The metrics of a newly started process. */
  async function metrics(): Promise<Record<string, number>> {
    const t = await startTestApp(BILLING_ENVIRONMENT, billing.t.db);
    try {
      const { text } = await t.http.get('/metrics').expect(200);
      const found = [...text.matchAll(/^tenantry_subscriptions_odd\{kind="(\w+)"\} (\d+)$/gm)];
      return Object.fromEntries(found.map(([, kind, value]) => [kind!, Number(value)]));
    } finally {
      await t.close();
    }
  }

  async function jobCount(): Promise<number> {
    await runJob(billing.t, billing.operator, 'watch_subscriptions');
    const [run] = await billing.t.db.rows<{ count: number }>(
      `SELECT count FROM job_runs WHERE job = 'watch_subscriptions' AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT 1`,
    );
    return run!.count;
  }

  it('are counted in metrics and in the job run until they are fixed', async () => {
    expect([await metrics(), await jobCount()]).toEqual([{ ownerless: 0, unknown_product: 0 }, 0]);
    const { id } = await billing.newTenant();
    const ownerless = await billing.buyAtPolar();
    const unknownProduct = await billing.buyAtDodo({ product_id: 'a-mug', metadata: { organizationId: id } });
    await billing.buyAtPolar({ metadata: { organizationId: id } });
    await billing.buyAtPolar({ status: 'canceled', product_id: 'a-mug' });
    expect([await metrics(), await jobCount()]).toEqual([{ ownerless: 1, unknown_product: 1 }, 2]);

    const subscriptionId = await billing.idOf(ownerless.id);
    const { auth } = billing.operator;
    await billing.t.http.post(`/v1/subscriptions/${subscriptionId}/link`).set(auth).send({ organizationId: id }).expect(200);
    await billing.emitDodo('subscription.cancelled', { ...unknownProduct, status: 'cancelled' });
    expect([await metrics(), await jobCount()]).toEqual([{ ownerless: 0, unknown_product: 0 }, 0]);
  });
});
