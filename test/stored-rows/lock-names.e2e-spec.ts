import { UsageReconciliation } from '../../src/usage/reconciliation/usage-reconciliation.service.js';
import { migrate } from '../../src/platform/database/migrations.js';
import { BillingApp, inDays } from '../support/billing/billing-app.js';
import { clerkEvent, deliver, invitationData, organizationData, userData } from '../support/clerk/clerk-events.js';
import { PASSWORD, type SignedInPerson, signUp } from '../support/people.js';
import { polarCustomer, polarEvent, polarSubscription } from '../support/billing/polar-events.js';
import { runJob } from '../support/tenants.js';
import { until } from '../support/until.js';

/** Two versions run side by side during a deployment, and exclude each other only with equal lock names. */
describe('the names of advisory locks', () => {
  let billing: BillingApp;
  let person: SignedInPerson;
  beforeAll(async () => {
    billing = await BillingApp.start();
    person = await signUp(billing.t, { email: 'locks@example.com' });
  });
  afterAll(() => billing.close());

  /** Runs work while another session holds the lock, and expects that it waits and then finishes. */
  async function expectToWaitFor(name: string, work: () => PromiseLike<unknown>): Promise<void> {
    const other = await billing.t.db.pool.connect();
    await other.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]);
    const done = Promise.resolve(work());
    try {
      const waiting = `SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
      await until(
        async () => (await billing.t.db.rows(waiting)).length > 0,
        () => `nothing waits for ${name}`,
      );
    } finally {
      await other.query('SELECT pg_advisory_unlock_all()');
      other.release();
    }
    await done;
  }

  const send = async (provider: 'clerk' | 'polar', event: object) => deliver(billing.t.url, JSON.stringify(event), { provider });
  const untilProcessed = () =>
    until(async () => (await billing.t.db.rows(`SELECT FROM webhook_events WHERE status = 'pending'`)).length === 0);
  const sendAndProcess = async (provider: 'clerk' | 'polar', event: object) => {
    await send(provider, event);
    await untilProcessed();
  };

  it('of synced users and organizations contain the email and the slug', async () => {
    const email = { email: 'lock-email@example.com', verified: true };
    await expectToWaitFor('email:lock-email@example.com', () =>
      sendAndProcess('clerk', clerkEvent('user.created', userData({ id: 'user_lock', email }))),
    );
    const organization = { id: 'org_lock', slug: 'lock-slug' };
    await expectToWaitFor('slug:lock-slug', () =>
      sendAndProcess('clerk', clerkEvent('organization.created', organizationData(organization))),
    );
    const [row] = await billing.t.db.rows<{ id: string }>(`SELECT id FROM organizations WHERE clerk_organization_id = 'org_lock'`);
    const invitation = { id: 'orginv_lock', organizationId: 'org_lock', email: 'invited-lock@example.com' };
    await expectToWaitFor(`invitation:${row!.id}:invited-lock@example.com`, () =>
      sendAndProcess('clerk', clerkEvent('organizationInvitation.created', invitationData(invitation))),
    );
  });

  it('of subscriptions contain the owner and the customer', async () => {
    const { id } = await billing.newTenant();
    const customer = polarCustomer({ id: '5a1c7a3e-0000-4000-8000-000000000002' });
    const subscription = polarSubscription({ metadata: { organizationId: id }, customer });
    const event = () => sendAndProcess('polar', polarEvent('subscription.updated', subscription));
    await expectToWaitFor(`owner:${id}`, event);
    await expectToWaitFor(`billing customer:polar:${customer.id}`, event);
  });

  it('of single rows and tables contain their id or name', async () => {
    const { http } = billing.t;
    const change = { newEmail: 'locks-new@example.com', currentPassword: PASSWORD };
    await expectToWaitFor(`email change:${person.id}`, () => http.post('/v1/auth/change-email').set(person.auth).send(change).expect(200));
    const price = { model: 'm', tokenClass: 'input', microsPerMillion: 1, effectiveFrom: '2026-01-01T00:00:00Z' };
    await expectToWaitFor('prices:book', () =>
      http
        .put('/v1/prices')
        .set(billing.operator.auth)
        .send({ prices: [price] })
        .expect(200),
    );
    await expectToWaitFor('job_runs:expire_sessions', () => runJob(billing.t, billing.operator, 'expire_sessions'));
  });

  it('of new partitions contain the table', async () => {
    const usage = { eventId: 'long-ago', model: 'm', tokens: 10, occurredAt: inDays(-100) };
    await expectToWaitFor('usage_partitions', () => billing.t.http.post('/v1/usage').set(person.auth).send(usage).expect(201));
  });

  it('of a usage repair contain the owner', async () => {
    const usage = { eventId: 'lock', model: 'm', tokens: 10 };
    await billing.t.http.post('/v1/usage').set(person.auth).send(usage).expect(201);
    await billing.t.db.rows('UPDATE usage_rollups SET tokens_used = 11 WHERE owner_id = $1', [person.id]);
    const reconciliation = billing.t.app.get(UsageReconciliation);
    await expectToWaitFor(`usage_repairs:${person.id}`, () => reconciliation.reconcile({ fix: true }));
  });

  it('of an idempotency key contain all parts of its identity', async () => {
    const name = JSON.stringify([`user:${person.id}`, 'POST', '/v1/organizations', 'lock-key']);
    const other = await billing.t.db.pool.connect();
    const create = () =>
      billing.t.http.post('/v1/organizations').set(person.auth).set('idempotency-key', 'lock-key').send({ name: 'Locked' });
    await other.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [name]);
    expect((await create()).body.code).toBe('idempotency_key_in_flight');
    await other.query('SELECT pg_advisory_unlock_all()');
    other.release();
    await create().expect(201);
  });

  it('of migrations are a number', async () => {
    const other = await billing.t.db.pool.connect();
    await other.query('SELECT pg_advisory_lock(7363211908)');
    let isDone = false;
    const done = migrate(billing.t.db.url).then(() => (isDone = true));
    const asks = `SELECT FROM pg_stat_activity WHERE application_name = 'tenantry-migrate' AND query LIKE '%pg_try_advisory_lock%'`;
    await until(async () => (await billing.t.db.rows(asks)).length > 0);
    expect(isDone).toBe(false);
    await other.query('SELECT pg_advisory_unlock_all()');
    other.release();
    await done;
  });
});
