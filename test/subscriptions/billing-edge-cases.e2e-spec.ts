import { EXAMPLE_PRODUCTS } from '../../src/platform/config/local-environment.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { untilProcessed } from '../support/clerk/clerk-deliveries.js';
import { newMessageId } from '../support/clerk/clerk-events.js';
import { dodoDispute, dodoEvent, dodoPayment, dodoRefund, dodoSubscription } from '../support/billing/dodo-events.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { polarCustomer, polarEvent, polarSubscription } from '../support/billing/polar-events.js';
import { createOrganization } from '../support/tenants.js';
import { until } from '../support/until.js';
import { postSigned, standardKey } from '../support/webhook-signing.js';

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;

describe('billing edge cases', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({
      POLAR_WEBHOOK_SECRET: SECRET,
      DODO_PAYMENTS_WEBHOOK_KEY: SECRET,
      BILLING_PRODUCTS: `polar:${EXAMPLE_PRODUCTS.polar}=pro`,
    });
    ada = await signUp(t);
  });
  afterAll(() => t.close());

  async function send(provider: 'polar' | 'dodo', event: object): Promise<string> {
    const attempt = { id: newMessageId(), key: standardKey(SECRET) };
    expect(await postSigned(`${t.url}/webhooks/${provider}`, JSON.stringify(event), attempt)).toMatchObject({ status: 202 });
    return attempt.id;
  }

  async function sendAndProcess(provider: 'polar' | 'dodo', event: object): Promise<void> {
    await send(provider, event);
    await untilProcessed({ db: t.db, urls: () => [t.url] });
  }

  async function exists(query: string): Promise<boolean> {
    const [row] = await t.db.rows<{ met: boolean }>(`SELECT EXISTS (${query}) AS met`);
    return row!.met;
  }

  it('an event that writes the owner’s id in upper case waits for the deletion of that owner', async () => {
    const { id } = await createOrganization(t, ada);
    const deletion = await t.db.pool.connect();
    try {
      await deletion.query('BEGIN');
      await deletion.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [`owner:${id}`]);
      const subscription = polarSubscription({ metadata: { organizationId: id.toUpperCase() } });
      const messageId = await send('polar', polarEvent('subscription.updated', subscription));
      const waits = () =>
        exists(`SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
                WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()`);
      const isDone = () => exists(`SELECT FROM webhook_events WHERE message_id = '${messageId}' AND status = 'processed'`);
      await until(async () => (await waits()) || (await isDone()));
      expect(await isDone()).toBe(false);
    } finally {
      await deletion.query('ROLLBACK');
      deletion.release();
    }
    await untilProcessed({ db: t.db, urls: () => [t.url] });
    expect(await exists(`SELECT FROM subscriptions WHERE owner_id = '${id}'`)).toBe(true);
  });

  it.each([
    ['before', ['customer.created', 'subscription.revoked']],
    ['after', ['subscription.revoked', 'customer.created']],
  ])(
    'a customer is deleted by a subscription event that embeds the deleted customer, %s the customer’s own event',
    async (_when, types) => {
      const person = await signUp(t);
      const customer = polarCustomer({ external_id: person.id });
      const gone = { ...customer, deleted_at: '2026-01-02T00:00:00Z' };
      for (const type of types) {
        const data = type === 'customer.created' ? customer : polarSubscription({ customer: gone, status: 'canceled' });
        await sendAndProcess(
          'polar',
          polarEvent(type, data, { at: type === 'customer.created' ? '2026-01-01T00:00:00Z' : '2026-01-02T00:00:01Z' }),
        );
      }
      const { body } = await t.http.post('/v1/subscription/portal').set(person.auth).send({}).expect(409);
      expect(body.code).toBe('no_billing_customer');
    },
  );

  it('a refund and a dispute belong to the subscription of their payment', async () => {
    const { id, path } = await createOrganization(t, ada);
    const subscription = dodoSubscription({ metadata: { organizationId: id } });
    const payment = dodoPayment({}, subscription);
    await sendAndProcess('dodo', dodoEvent('refund.succeeded', dodoRefund({}, payment)));
    await sendAndProcess('dodo', dodoEvent('dispute.opened', dodoDispute({}, payment)));
    await sendAndProcess('dodo', dodoEvent('payment.succeeded', payment));
    await sendAndProcess('dodo', dodoEvent('subscription.active', subscription));
    const [row] = await t.db.rows<{ id: string }>('SELECT id FROM subscriptions WHERE provider_subscription_id = $1', [
      subscription.subscription_id,
    ]);
    const { body } = await t.http.get(`${path}/subscription/payments`).set(ada.auth).expect(200);
    expect(body.data.map(({ subscriptionId }: { subscriptionId: string }) => subscriptionId)).toEqual([row!.id, row!.id, row!.id]);
  });

  it('null is neither an owner nor an option', async () => {
    const operator = await signUpOperator(t);
    const { id, path } = await createOrganization(t, ada);
    const namedIn = async (address: string, person: SignedInPerson, body: object): Promise<string[]> => {
      const answer = await t.http.post(address).set(person.auth).send(body).expect(400);
      return [...new Set((answer.body.errors as { path: string }[]).map((error) => error.path))];
    };
    const nullOwners = { tier: 'pro', organizationId: null, userId: null };
    expect(await namedIn('/v1/subscriptions', operator, nullOwners)).toEqual(['body.organizationId', 'body.userId']);
    expect(await namedIn('/v1/subscriptions', operator, { tier: 'pro', organizationId: id, userId: null })).toEqual(['body.userId']);
    const purchase = { tier: 'pro', productId: null, provider: null, successUrl: null };
    expect(await namedIn(`${path}/subscription/checkout`, ada, purchase)).toEqual(['body.productId', 'body.provider', 'body.successUrl']);
    expect(await namedIn(`${path}/subscription/portal`, ada, { returnUrl: null })).toEqual(['body.returnUrl']);
  });
});
