import { SeatSync } from '../../../src/subscriptions/entitlements/seat-sync.job.js';
import { PolarApi } from '../../../src/providers/polar/polar-api.client.js';
import { DodoAccount } from '../../simulators/dodo-account.js';
import { type DodoApiSimulator, startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { type PolarApiSimulator, startPolarApiSimulator } from '../../simulators/polar-api.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import { dodoSender, polarSender, type WebhookSender } from '../../simulators/webhook-sender.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { dodoEnvironment, polarEnvironment } from '../../support/billing/billing-clients.js';
import { untilProcessed } from '../../support/clerk/clerk-deliveries.js';
import { newMessageId } from '../../support/clerk/clerk-events.js';
import { type SignedInPerson, signUp } from '../../support/people.js';
import { polarEvent, polarSubscription } from '../../support/billing/polar-events.js';
import { skipJob } from '../../support/tenant-world.js';
import { addMember, auditOf, createOrganization } from '../../support/tenants.js';
import { until } from '../../support/until.js';
import { postSigned, standardKey } from '../../support/webhook-signing.js';

const SECRET = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;

describe('checkout and portal', () => {
  let t: TestApp;
  let clock: VirtualClock;
  let polar: { account: PolarAccount; api: PolarApiSimulator; sender: WebhookSender };
  let dodo: { account: DodoAccount; api: DodoApiSimulator; sender: WebhookSender };
  let pro: string;
  let business: string;
  let team: string;
  let ada: SignedInPerson;
  let bob: SignedInPerson;
  beforeAll(async () => {
    clock = new VirtualClock(Date.now());
    const [polarAccount, dodoAccount] = [new PolarAccount({ clock }), new DodoAccount({ clock })];
    pro = polarAccount.createProduct().id;
    team = polarAccount.createProduct({ perSeat: true }).id;
    business = dodoAccount.createProduct().product_id;
    const [polarApi, dodoApi] = await Promise.all([
      startPolarApiSimulator({ account: polarAccount }),
      startDodoApiSimulator({ account: dodoAccount }),
    ]);
    t = await startTestApp({
      ...polarEnvironment(polarApi),
      ...dodoEnvironment(dodoApi),
      POLAR_WEBHOOK_SECRET: SECRET,
      DODO_PAYMENTS_WEBHOOK_KEY: SECRET,
      BILLING_PRODUCTS: `polar:${pro}=pro,polar:${team}=business,dodo:${business}=business`,
      TRUSTED_ORIGINS: 'https://app.example.com',
    });
    // The tests run this job themselves.
    await skipJob(t.db, 'follow_seats', 300);
    const options = { secret: SECRET };
    polar = {
      account: polarAccount,
      api: polarApi,
      sender: polarSender(polarAccount, { ...options, url: `${t.url}/webhooks/polar` }),
    };
    dodo = { account: dodoAccount, api: dodoApi, sender: dodoSender(dodoAccount, { ...options, url: `${t.url}/webhooks/dodo` }) };
    [ada, bob] = await Promise.all([signUp(t), signUp(t)]);
  });
  afterAll(async () => {
    await t.close();
    await Promise.all([polar.api.close(), dodo.api.close()]);
  });
  afterEach(() => {
    for (const { faults } of [polar.api, dodo.api]) faults.splice(0);
  });

  /** Delivers all pending events, and waits until they are processed. */
  async function deliverAll(): Promise<void> {
    await Promise.all([polar.sender.run(), dodo.sender.run()]);
    await untilProcessed({ db: t.db, urls: () => [t.url] });
  }

  async function effectiveOf(path: string, { auth } = ada): Promise<Record<string, unknown>> {
    const { body } = await t.http.get(`${path}/subscription`).set(auth).expect(200);
    return body;
  }

  /** Pays the latest checkout. */
  function pay(provider: 'polar' | 'dodo'): { subscriptionId: string } {
    clock.advance({ minutes: 1 });
    if (provider === 'polar') return { subscriptionId: polar.account.completeCheckout([...polar.account.checkouts.keys()].at(-1)!).id };
    return { subscriptionId: dodo.account.completeCheckout([...dodo.account.checkouts.keys()].at(-1)!).subscription_id };
  }

  it('lead from no subscription to a plan, and to the customer portal', async () => {
    const { id, path } = await createOrganization(t, ada);
    const { body } = await t.http
      .post(`${path}/subscription/checkout`)
      .set(ada.auth)
      .send({ tier: 'starter', successUrl: 'https://app.example.com/thanks?x=1' })
      .expect(201);
    expect(body).toMatchObject({ provider: 'polar', url: expect.stringMatching(/^https?:/) });
    const made = [...polar.account.checkouts.values()].at(-1)!;
    expect(made).toMatchObject({
      external_customer_id: id,
      metadata: { organizationId: id },
      customer_email: ada.email,
      success_url: 'https://app.example.com/thanks?x=1',
    });
    // The provider’s event creates the subscription.
    expect(await effectiveOf(path)).toMatchObject({ tier: 'free', access: false, reason: 'none' });
    await t.http.post(`${path}/subscription/portal`).set(ada.auth).send({}).expect(409);
    pay('polar');
    await deliverAll();
    expect(await effectiveOf(path)).toMatchObject({ tier: 'pro', access: true, reason: 'active', status: 'active' });
    const { body: portal } = await t.http.post(`${path}/subscription/portal`).set(ada.auth).send({}).expect(200);
    expect(portal.url).toMatch(/^https?:/);
    const { body: payments } = await t.http.get(`${path}/subscription/payments`).set(ada.auth).expect(200);
    expect(payments.data).toEqual([expect.objectContaining({ kind: 'payment', status: 'succeeded', currency: 'USD' })]);
    const { body: again } = await t.http.post(`${path}/subscription/checkout`).set(ada.auth).send({ tier: 'pro' }).expect(409);
    expect(again.code).toBe('already_subscribed');
    const actions = (await auditOf(t, id)).map(({ action }) => action);
    expect(actions.filter((action) => /checkout|portal/.test(action))).toEqual([
      'subscription.checkout_opened',
      'subscription.portal_opened',
    ]);
  });

  it('allow a new checkout after the provider gave up collecting', async () => {
    const { id, path } = await createOrganization(t, ada);
    const send = async (subscription: object, type: string) => {
      const attempt = { id: newMessageId(), key: standardKey(SECRET) };
      await postSigned(`${t.url}/webhooks/polar`, JSON.stringify(polarEvent(type, subscription)), attempt);
      await deliverAll();
    };
    const subscription = polarSubscription({ product_id: pro, metadata: { organizationId: id } });
    const buy = () => t.http.post(`${path}/subscription/checkout`).set(ada.auth).send({ tier: 'pro' });
    for (const status of ['past_due', 'paused'] as const) {
      await send({ ...subscription, status }, 'subscription.updated');
      await buy().expect(409);
    }
    // Polar makes no further attempts after its last one failed.
    await send({ ...subscription, status: 'unpaid' }, 'subscription.revoked');
    expect(await effectiveOf(path)).toMatchObject({ access: false, reason: 'unpaid' });
    await buy().expect(201);
  });

  it('lead to a plan at Dodo, and link the owner to the new customer', async () => {
    const { id, path } = await createOrganization(t, ada);
    await t.http.post(`${path}/subscription/checkout`).set(ada.auth).send({ tier: 'business', provider: 'dodo' }).expect(201);
    const { subscriptionId } = pay('dodo');
    await deliverAll();
    expect(await effectiveOf(path)).toMatchObject({ tier: 'business', reason: 'active', seats: { used: 1, limit: 1 } });
    const [customer] = await t.db.rows('SELECT owner_kind, owner_linked FROM billing_customers WHERE owner_id = $1', [id]);
    expect(customer).toEqual({ owner_kind: 'organization', owner_linked: true });
    await t.http.post(`${path}/subscription/portal`).set(ada.auth).send({}).expect(200);

    // Seats follow the members.
    await addMember(t, id, bob);
    expect(await t.app.get(SeatSync).syncAll(new AbortController().signal)).toBe(1);
    await deliverAll();
    expect(dodo.account.subscription(subscriptionId).quantity).toBe(2);
    expect(await effectiveOf(path)).toMatchObject({ seats: { used: 2, limit: 2 } });
    expect(await t.app.get(SeatSync).syncAll(new AbortController().signal)).toBe(0);
  });

  it('update the seats at one provider while another one is unavailable', async () => {
    const [away, here] = [await createOrganization(t, ada), await createOrganization(t, ada)];
    const { id: customerId } = polar.account.createCustomer();
    const atPolar = polar.account.subscribe({ productId: team, customerId, seats: 3, metadata: { organizationId: away.id } });
    const { customer_id: payer } = dodo.account.createCustomer();
    const atDodo = dodo.account.subscribe({ productId: business, customerId: payer, quantity: 3, metadata: { organizationId: here.id } });
    await deliverAll();
    polar.api.faults.push({ status: 503 });
    expect(await t.app.get(SeatSync).syncAll(new AbortController().signal)).toBe(1);
    expect(dodo.account.subscription(atDodo.subscription_id).quantity).toBe(1);
    expect(polar.account.subscription(atPolar.id).seats).toBe(3);
    expect(await t.app.get(SeatSync).syncAll(new AbortController().signal)).toBe(2);
    expect(polar.account.subscription(atPolar.id).seats).toBe(1);
    await deliverAll();
  });

  it('cancel at the provider when the owner is deleted with that option', async () => {
    const { path } = await createOrganization(t, ada);
    await t.http.post(`${path}/subscription/checkout`).set(ada.auth).send({ tier: 'pro' }).expect(201);
    const { subscriptionId } = pay('polar');
    await deliverAll();
    const { body } = await t.http.delete(path).set(ada.auth).expect(409);
    expect(body.code).toBe('subscription_active');
    // The provider is unavailable at first.
    polar.api.faults.push({ status: 503 });
    await t.http.delete(`${path}?cancelSubscription=true`).set(ada.auth).expect(204);
    await until(async () => polar.account.subscription(subscriptionId).status === 'canceled');
  });

  it('create one checkout for one idempotency key', async () => {
    const { path } = await createOrganization(t, ada);
    const count = polar.account.checkouts.size;
    const open = () => t.http.post(`${path}/subscription/checkout`).set(ada.auth).set('Idempotency-Key', 'buy-1').send({ tier: 'pro' });
    const { body: first } = await open().expect(201);
    const { body: second, headers } = await open().expect(201);
    expect([second, headers['idempotent-replayed']]).toEqual([first, 'true']);
    expect(polar.account.checkouts.size).toBe(count + 1);
    await t.http.post(`${path}/subscription/checkout`).set(ada.auth).set('Idempotency-Key', 'buy-1').send({ tier: 'business' }).expect(422);
  });

  it('report every invalid field', async () => {
    const { path } = await createOrganization(t, ada);
    const wrong: [body: object, field: string][] = [
      [{}, 'body.tier'],
      [{ tier: 'gold' }, 'body.tier'],
      [{ tier: 7 }, 'body.tier'],
      [{ tier: 'pro', productId: 'another' }, 'body.productId'],
      [{ tier: 'pro', provider: 'manual' }, 'body.provider'],
      [{ tier: 'pro', successUrl: 'https://evil.example.com/' }, 'body.successUrl'],
      [{ tier: 'pro', successUrl: 'javascript:alert(1)' }, 'body.successUrl'],
      [{ tier: 'pro', successUrl: '//app.example.com' }, 'body.successUrl'],
      [{ tier: 'pro', more: 1 }, 'body.more'],
    ];
    for (const [body, field] of wrong) {
      const { body: problem } = await t.http.post(`${path}/subscription/checkout`).set(ada.auth).send(body).expect(400);
      expect([body, problem.errors?.[0]?.path]).toEqual([body, field]);
    }
    const { body: free } = await t.http.post(`${path}/subscription/checkout`).set(ada.auth).send({ tier: 'free' }).expect(409);
    expect(free.code).toBe('checkout_unavailable');
    await t.http.post(`${path}/subscription/checkout`).set(bob.auth).send({ tier: 'pro' }).expect(404);
  });

  it('report an unavailable or refusing provider without its message', async () => {
    const { path } = await createOrganization(t, ada);
    Object.assign(t.app.get(PolarApi).calls.limits, { timeoutMs: 300 });
    const open = () => t.http.post(`${path}/subscription/checkout`).set(ada.auth).set('Idempotency-Key', 'buy-2').send({ tier: 'pro' });
    for (const fault of ['hang', 'cut', { status: 500 }, { status: 429, retryAfter: 17 }] as const) {
      polar.api.faults.push(fault);
      const { body, headers } = await open().expect(503);
      expect([body.code, Number(headers['retry-after']) >= 5]).toEqual(['billing_provider_away', true]);
    }
    polar.api.faults.push({ status: 401, body: '{"error":"invalid_token","error_description":"polar_oat_secret"}' });
    const { body, text } = await t.http.post(`${path}/subscription/checkout`).set(ada.auth).send({ tier: 'pro' }).expect(409);
    expect(body.code).toBe('billing_provider_refused');
    expect(text).not.toContain('polar_oat');
    // The 503 is not stored under the idempotency key.
    await open().expect(201);
  });

  it('refuse the portal of a customer who pays for two owners', async () => {
    const [first, second] = [await createOrganization(t, ada), await createOrganization(t, bob)];
    const customer = polar.account.createCustomer();
    for (const { id } of [first, second])
      polar.account.subscribe({ productId: pro, customerId: customer.id, metadata: { organizationId: id } });
    await deliverAll();
    expect(await effectiveOf(first.path)).toMatchObject({ tier: 'pro' });
    const { body } = await t.http.post(`${first.path}/subscription/portal`).set(ada.auth).send({}).expect(409);
    expect(body.code).toBe('no_billing_customer');

    const alone = await createOrganization(t, ada);
    const own = polar.account.createCustomer();
    polar.account.subscribe({ productId: pro, customerId: own.id, metadata: { organizationId: alone.id } });
    await deliverAll();
    await t.http.post(`${alone.path}/subscription/portal`).set(ada.auth).send({}).expect(200);
  });

  it('work for a user as for an organization', async () => {
    await t.http.post('/v1/subscription/checkout').set(bob.auth).send({ tier: 'pro' }).expect(201);
    pay('polar');
    await deliverAll();
    expect(await effectiveOf('/v1', bob)).toMatchObject({ tier: 'pro', seats: { used: 1, limit: 500 } });
    await t.http.post('/v1/subscription/portal').set(bob.auth).send({ returnUrl: 'https://app.example.com/' }).expect(200);
    const { body } = await t.http.delete('/v1/users/me').set(bob.auth).expect(409);
    expect(body.code).toBe('subscription_active');
  });
});
