import { createPolar, type errors, type Polar } from '@polar-sh/sdk/2026-10';
import DodoPayments from 'dodopayments';
import { DodoAccount } from '../simulators/dodo-account.js';
import { type DodoApiSimulator, startDodoApiSimulator } from '../simulators/dodo-api.js';
import { PolarAccount } from '../simulators/polar-account.js';
import { type PolarApiSimulator, startPolarApiSimulator } from '../simulators/polar-api.js';
import { VirtualClock } from '../simulators/virtual-time.js';

const START = Date.UTC(2026, 0, 1);
const UNKNOWN_ID = '00000000-0000-4000-8000-000000000000';

const eventTypesSince = (account: { events: { type: string }[] }, since: number) => account.events.slice(since).map(({ type }) => type);

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

describe('the simulated Polar API, called through Polar’s SDK,', () => {
  let clock: VirtualClock;
  let account: PolarAccount;
  let api: PolarApiSimulator;
  let polar: Polar;

  const started = (given: { perSeat?: boolean; seats?: number; customerId?: string } = {}) => {
    const product = account.createProduct({ perSeat: given.perSeat });
    const customerId = given.customerId ?? account.createCustomer({ externalId: `org-${account.customers.size}` }).id;
    return account.subscribe({ productId: product.id, customerId, seats: given.seats });
  };

  const connect = (more: { accessToken?: string; timeout?: number } = {}) =>
    createPolar({ accessToken: api.accessToken, baseUrl: api.url, ...more });

  beforeEach(async () => {
    clock = new VirtualClock(START);
    account = new PolarAccount({ clock });
    api = await startPolarApiSimulator({ account });
    polar = connect();
  });

  afterEach(() => api.close());

  it('lists subscriptions page by page, sorted and filtered', async () => {
    const subscriptions = Array.from({ length: 23 }, () => {
      clock.advance({ minutes: 1 });
      return started();
    });
    account.cancel(subscriptions[0]!.id, { when: 'now' });
    const ids = subscriptions.map(({ id }) => id);
    const listed = await all(polar.subscriptions.iterList({ limit: 10, sorting: ['started_at'] }));
    expect(listed.map(({ id }) => id)).toEqual(ids);
    expect(await polar.subscriptions.list({ page: 3 })).toMatchObject({
      items: [{}, {}, {}],
      pagination: { total_count: 23, max_page: 3 },
    });
    expect(await polar.subscriptions.list({ page: 9 })).toMatchObject({ items: [] });
    expect((await polar.subscriptions.list({})).items[0]!.id).toBe(ids.at(-1));
    expect((await polar.subscriptions.list({ status: ['canceled'] })).items.map(({ id }) => id)).toEqual([ids[0]]);
    expect((await polar.subscriptions.list({ active: true })).pagination.total_count).toBe(22);
    const { customer_id: customerId, customer } = subscriptions[5]!;
    expect((await polar.subscriptions.list({ customer_id: customerId })).items.map(({ id }) => id)).toEqual([ids[5]]);
    const own = await polar.subscriptions.list({ external_customer_id: customer.external_id });
    expect(own.items).toEqual([account.subscription(ids[5]!)]);
    await expect(polar.subscriptions.list({ page: 0 })).rejects.toMatchObject({ name: 'HTTPValidationError', statusCode: 422 });
  });

  it('returns and changes a subscription, and sends events about it', async () => {
    const { id } = started({ perSeat: true, seats: 3 });
    expect(await polar.subscriptions.get(id)).toEqual(account.subscription(id));
    const since = account.events.length;
    expect(await polar.subscriptions.update(id, { seats: 5 })).toMatchObject({ seats: 5, amount: 5000 });
    expect(await polar.subscriptions.update(id, { cancel_at_period_end: true })).toMatchObject({
      cancel_at_period_end: true,
      status: 'active',
    });
    await expect(polar.subscriptions.update(id, { cancel_at_period_end: true })).rejects.toMatchObject({ statusCode: 403 });
    expect(await polar.subscriptions.update(id, { cancel_at_period_end: false })).toMatchObject({ canceled_at: null });
    const other = account.createProduct({ amount: 3000 });
    expect(await polar.subscriptions.update(id, { product_id: other.id })).toMatchObject({ product: { id: other.id } });
    expect(await polar.subscriptions.revoke(id)).toMatchObject({ status: 'canceled', ended_at: expect.any(String) });
    await expect(polar.subscriptions.revoke(id)).rejects.toMatchObject({ error: { error: 'AlreadyCanceledSubscription' } });
    expect(eventTypesSince(account, since).filter((type) => type.startsWith('subscription.') && type !== 'subscription.updated')).toEqual([
      'subscription.canceled',
      'subscription.uncanceled',
      'subscription.canceled',
      'subscription.revoked',
    ]);
  });

  it('answers 404 for unknown objects', async () => {
    const notFound: Partial<errors.ResourceNotFound> = { name: 'ResourceNotFound', statusCode: 404 };
    await expect(polar.subscriptions.get(UNKNOWN_ID)).rejects.toMatchObject(notFound);
    await expect(polar.subscriptions.update(UNKNOWN_ID, { seats: 1 })).rejects.toMatchObject(notFound);
    await expect(polar.customers.getExternal('nobody')).rejects.toMatchObject(notFound);
    await expect(polar.orders.get(UNKNOWN_ID)).rejects.toMatchObject(notFound);
    await expect(polar.subscriptions.get('no-uuid')).rejects.toMatchObject({ statusCode: 422 });
  });

  it('creates, reads, changes and deletes customers', async () => {
    const customer = await polar.customers.create({ email: 'acme@example.com', external_id: 'acme', name: 'Acme' });
    expect(await polar.customers.getExternal('acme')).toEqual(customer);
    expect(await polar.customers.get(customer.id)).toEqual(customer);
    await expect(polar.customers.create({ email: 'acme@example.com' })).rejects.toMatchObject({ statusCode: 422 });
    await expect(polar.customers.create({ email: 'b@example.com', external_id: 'acme' })).rejects.toMatchObject({ statusCode: 422 });
    expect(await polar.customers.update(customer.id, { name: 'New' })).toMatchObject({ name: 'New', external_id: 'acme' });
    expect((await polar.customers.list({ email: 'acme@example.com' })).pagination.total_count).toBe(1);
    const { id } = started({ customerId: customer.id });
    expect(await polar.customers.getState(customer.id)).toMatchObject({ active_subscriptions: [{ id }] });
    await polar.customers.delete(customer.id);
    await expect(polar.customers.get(customer.id)).rejects.toMatchObject({ statusCode: 404 });
    expect(account.subscription(id).status).toBe('canceled');
  });

  it('opens checkouts and the portal', async () => {
    const { id: productId } = account.createProduct({ perSeat: true });
    const checkout = await polar.checkouts.create({
      products: [productId],
      external_customer_id: 'acme',
      customer_email: 'acme@example.com',
      metadata: { organizationId: 'o1' },
      success_url: 'https://app.example.com/done',
      seats: 4,
    });
    expect(checkout).toMatchObject({ status: 'open', success_url: 'https://app.example.com/done', external_customer_id: 'acme', seats: 4 });
    await expect(polar.customerSessions.create({ external_customer_id: 'acme' })).rejects.toMatchObject({ statusCode: 422 });
    const subscription = account.completeCheckout(checkout.id);
    expect(subscription).toMatchObject({ seats: 4, metadata: { organizationId: 'o1' }, customer: { external_id: 'acme' } });
    expect(await polar.checkouts.get(checkout.id)).toMatchObject({ status: 'succeeded', subscription_id: subscription.id });
    const session = await polar.customerSessions.create({ external_customer_id: 'acme' });
    expect(session.customer_portal_url).toContain(session.token);
    const paid = await polar.orders.list({ external_customer_id: 'acme' });
    expect(paid.items).toMatchObject([{ status: 'paid', total_amount: 4000, subscription_id: subscription.id }]);
    expect(await polar.orders.get(paid.items[0]!.id)).toEqual(paid.items[0]);
  });

  it('counts each usage event once', async () => {
    const event = { name: 'tokens', external_customer_id: 'acme', external_id: 'e1', metadata: { tokens: 5 } };
    expect(await polar.events.ingest({ events: [event, { ...event, external_id: 'e2' }] })).toEqual({ inserted: 2, duplicates: 0 });
    expect(await polar.events.ingest({ events: [event, { ...event, external_id: 'e3' }] })).toEqual({ inserted: 1, duplicates: 1 });
    const later = new Date(START + 1000).toISOString();
    const batch = [
      { ...event, external_id: 'e4' },
      { ...event, external_id: 'e5', timestamp: later },
    ];
    await expect(polar.events.ingest({ events: batch })).rejects.toMatchObject({
      error: {
        // Validated against both schemas of an event.
        detail: [
          { loc: ['body', 'events', 1, 'EventCreateCustomer', 'customer_id'] },
          { loc: ['body', 'events', 1, 'EventCreateCustomer', 'timestamp'] },
          { loc: ['body', 'events', 1, 'EventCreateExternalCustomer', 'timestamp'] },
        ],
      },
    });
    const unknownCustomer = { name: 'tokens', customer_id: UNKNOWN_ID };
    await expect(
      polar.events.ingest({ events: [unknownCustomer, { ...event, external_id: 'e6' }, unknownCustomer] }),
    ).rejects.toMatchObject({
      statusCode: 422,
      error: { detail: [{ loc: ['body', 'events', 0, 'customer_id'] }, { loc: ['body', 'events', 2, 'customer_id'] }] },
    });
    const nested = { ...event, external_id: 'e7', metadata: { tokens: { input: 5 } as unknown as number } };
    await expect(polar.events.ingest({ events: [nested] })).rejects.toMatchObject({ statusCode: 422 });
    expect(api.usage.map(({ external_id: id }) => id)).toEqual(['e1', 'e2', 'e3']);
  });

  it('rejects a wrong token', async () => {
    await expect(connect({ accessToken: 'wrong' }).subscriptions.list({})).rejects.toMatchObject({ statusCode: 401 });
  });

  it('simulates faults', async () => {
    api.faults.push({ status: 429, retryAfter: 7 }, { status: 502 }, 'cut', 'hang', 'lost');
    await expect(polar.subscriptions.list({})).rejects.toMatchObject({ name: 'PolarRateLimitError', retryAfter: 7 });
    await expect(polar.subscriptions.list({})).rejects.toMatchObject({ name: 'PolarServerError' });
    await expect(polar.subscriptions.list({})).rejects.toMatchObject({ name: 'PolarNetworkError' });
    await expect(connect({ timeout: 0.2 }).subscriptions.list({})).rejects.toMatchObject({ name: 'PolarNetworkError' });
    await expect(polar.customers.create({ email: 'acme@example.com' })).rejects.toMatchObject({ name: 'PolarNetworkError' });
    expect(account.customers.size).toBe(1);
    expect(api.calls).toHaveLength(5);
  });

  it('limits requests, and sends the account’s time', async () => {
    const ask = () => fetch(`${api.url}/v1/subscriptions/`, { headers: { authorization: `Bearer ${api.accessToken}` } });
    expect((await ask()).headers.get('date')).toBe('Thu, 01 Jan 2026 00:00:00 GMT');
    api.control.rateLimit = { requests: 1, seconds: 600 };
    await ask();
    await expect(polar.subscriptions.list({})).rejects.toMatchObject({ name: 'PolarRateLimitError', retryAfter: expect.any(Number) });
  });
});

describe('the simulated Dodo API, called through Dodo’s SDK,', () => {
  let clock: VirtualClock;
  let account: DodoAccount;
  let api: DodoApiSimulator;
  let dodo: DodoPayments;

  const started = (given: { customerId?: string } = {}) => {
    const { product_id: productId } = account.createProduct();
    const customerId = given.customerId ?? account.createCustomer().customer_id;
    return account.subscribe({ productId, customerId, metadata: { organizationId: 'o1' } });
  };

  const connect = (more: { bearerToken?: string; timeout?: number; maxRetries?: number } = {}) =>
    new DodoPayments({ bearerToken: api.apiKey, baseURL: api.url, maxRetries: 0, ...more });

  beforeEach(async () => {
    clock = new VirtualClock(START);
    account = new DodoAccount({ clock });
    api = await startDodoApiSimulator({ account });
    dodo = connect();
  });

  afterEach(() => api.close());

  it('lists subscriptions page by page and filtered', async () => {
    const subscriptions = Array.from({ length: 23 }, () => {
      clock.advance({ minutes: 1 });
      return started();
    });
    const ids = subscriptions.map(({ subscription_id: id }) => id);
    const listed = await all(dodo.subscriptions.list({ page_number: 0, page_size: 10 }));
    expect(listed.map(({ subscription_id: id }) => id)).toEqual(ids.toReversed());
    const of = async (query: DodoPayments.SubscriptionListParams) =>
      (await all(dodo.subscriptions.list({ page_number: 0, page_size: 100, ...query }))).map(({ subscription_id: id }) => id);
    expect(await of({ customer_id: subscriptions[4]!.customer.customer_id })).toEqual([ids[4]]);
    expect(await of({ created_at_gte: subscriptions[21]!.created_at })).toEqual([ids[22], ids[21]]);
    expect(await of({ created_at_lte: subscriptions[0]!.created_at })).toEqual([ids[0]]);
    account.cancel(ids[3]!, { when: 'now' });
    expect(await of({ status: 'cancelled' })).toEqual([ids[3]]);
  });

  it('lists without the second page when the first has no page number', async () => {
    // A trap of the SDK: pages count from 0, but the SDK treats a page without a number as page 1.
    for (let count = 0; count < 25; count += 1) started();
    expect(await all(dodo.subscriptions.list({ page_size: 10 }))).toHaveLength(15);
  });

  it('returns and changes a subscription, and sends events about it', async () => {
    const { subscription_id: id } = started();
    const { past_due_ends_at: _graceEnds, ...shown } = account.subscription(id);
    expect(await dodo.subscriptions.retrieve(id)).toEqual(shown);
    const since = account.events.length;
    expect(await dodo.subscriptions.update(id, { cancel_at_next_billing_date: true })).toMatchObject({ cancel_at_next_billing_date: true });
    expect(await dodo.subscriptions.update(id, { cancel_at_next_billing_date: false })).toMatchObject({ status: 'active' });
    const other = account.createProduct({ price: 3000 });
    await dodo.subscriptions.changePlan(id, { product_id: other.product_id, quantity: 2, proration_billing_mode: 'prorated_immediately' });
    expect(account.subscription(id)).toMatchObject({ product_id: other.product_id, quantity: 2, recurring_pre_tax_amount: 6000 });
    const later = {
      product_id: other.product_id,
      quantity: 3,
      proration_billing_mode: 'do_not_bill',
      effective_at: 'next_billing_date',
    } as const;
    await dodo.subscriptions.changePlan(id, later);
    expect(await dodo.subscriptions.retrieve(id)).toMatchObject({ quantity: 2, scheduled_change: { quantity: 3 } });
    await dodo.subscriptions.cancelChangePlan(id);
    expect(await dodo.subscriptions.update(id, { status: 'cancelled' })).toMatchObject({
      status: 'cancelled',
      cancelled_at: expect.any(String),
    });
    await expect(dodo.subscriptions.update(id, { status: 'cancelled' })).rejects.toMatchObject({ status: 422 });
    expect(new Set(eventTypesSince(account, since))).toEqual(
      new Set(['subscription.updated', 'subscription.plan_changed', 'payment.succeeded', 'subscription.cancelled']),
    );
  });

  it('answers 404 for unknown objects', async () => {
    const notFound = { status: 404, error: { code: 'NOT_FOUND' } };
    await expect(dodo.subscriptions.retrieve('sub_nobody')).rejects.toMatchObject(notFound);
    await expect(dodo.customers.retrieve('cus_nobody')).rejects.toMatchObject(notFound);
    await expect(dodo.payments.retrieve('pay_nobody')).rejects.toMatchObject(notFound);
    await expect(dodo.customers.customerPortal.create('cus_nobody')).rejects.toMatchObject(notFound);
  });

  it('creates, reads and changes customers, and opens their portal', async () => {
    const customer = await dodo.customers.create({ email: 'acme@example.com', name: 'Acme', metadata: { organizationId: 'o1' } });
    expect(await dodo.customers.retrieve(customer.customer_id)).toEqual(customer);
    expect(await dodo.customers.update(customer.customer_id, { name: 'New' })).toMatchObject({ name: 'New', email: 'acme@example.com' });
    expect(await all(dodo.customers.list({ page_number: 0, email: 'acme@example.com' }))).toHaveLength(1);
    const { link } = await dodo.customers.customerPortal.create(customer.customer_id, { return_url: 'https://app.example.com' });
    expect(link).toContain(customer.customer_id);
  });

  it('opens checkouts, and lists payments and refunds', async () => {
    const { product_id: productId } = account.createProduct();
    const session = await dodo.checkoutSessions.create({
      product_cart: [{ product_id: productId, quantity: 3 }],
      customer: { email: 'acme@example.com', name: 'Acme' },
      metadata: { organizationId: 'o1' },
      return_url: 'https://app.example.com/done',
    });
    expect(session.checkout_url).toContain(session.session_id);
    const { subscription_id: id, ...bought } = account.completeCheckout(session.session_id);
    expect(bought).toMatchObject({ quantity: 3, metadata: { organizationId: 'o1' }, customer: { email: 'acme@example.com' } });
    const paid = await all(dodo.payments.list({ page_number: 0, subscription_id: id }));
    expect(paid).toMatchObject([{ status: 'succeeded', total_amount: 3000, metadata: { organizationId: 'o1' } }]);
    expect(await dodo.checkoutSessions.retrieve(session.session_id)).toMatchObject({
      payment_id: paid[0]!.payment_id,
      payment_status: 'succeeded',
    });
    const { refund_id: refundId } = account.refund(paid[0]!.payment_id, { amount: 100 });
    expect(await all(dodo.refunds.list({ page_number: 0 }))).toMatchObject([{ refund_id: refundId, amount: 100, is_partial: true }]);
    expect(await dodo.payments.retrieve(paid[0]!.payment_id)).toMatchObject({ refund_status: 'partial' });
  });

  it('counts each usage event once, and rejects late ones', async () => {
    const { customer_id: customerId } = account.createCustomer();
    const event = (id: string, more = {}) => ({ event_id: id, customer_id: customerId, event_name: 'tokens', ...more });
    expect(await dodo.usageEvents.ingest({ events: [event('e1'), event('e2')] })).toEqual({ ingested_count: 2 });
    expect(await dodo.usageEvents.ingest({ events: [event('e2'), event('e3')] })).toEqual({ ingested_count: 1 });
    const at = (minutes: number) => ({ timestamp: new Date(START + minutes * 60_000).toISOString() });
    for (const refused of [
      [event('e4'), event('e4')],
      [event('e4', at(-61))],
      [event('e4', at(6))],
      [event('e4', { customer_id: 'cus_unknown' })],
      [event('e4', { metadata: { tokens: { input: 5 } } })],
      [],
      Array.from({ length: 1001 }, (_, index) => event(`m${index}`)),
    ])
      await expect(dodo.usageEvents.ingest({ events: refused })).rejects.toMatchObject({ status: 422 });
    await dodo.usageEvents.ingest({ events: [event('e4', at(-59))] });
    expect([...api.usage.keys()]).toEqual(['e1', 'e2', 'e3', 'e4']);
  });

  it('rejects a wrong key, and simulates faults', async () => {
    await expect(connect({ bearerToken: 'wrong' }).subscriptions.list()).rejects.toMatchObject({ status: 401 });
    api.faults.push({ status: 503 }, 'cut', 'hang', 'lost');
    await expect(dodo.subscriptions.list()).rejects.toMatchObject({ status: 503 });
    await expect(dodo.subscriptions.list()).rejects.toBeInstanceOf(DodoPayments.APIConnectionError);
    await expect(connect({ timeout: 200 }).subscriptions.list()).rejects.toBeInstanceOf(DodoPayments.APIConnectionError);
    await expect(dodo.customers.create({ email: 'acme@example.com', name: 'Acme' })).rejects.toBeInstanceOf(
      DodoPayments.APIConnectionError,
    );
    expect(account.customers.size).toBe(1);
  });

  it('limits requests, which the SDK repeats if configured', async () => {
    api.faults.push({ status: 429, retryAfter: 0 });
    const requests: string[] = [];
    api.control.onCall = (call) => void requests.push(call);
    await connect({ maxRetries: 1 }).subscriptions.list({ page_number: 0 });
    expect(requests).toEqual(['GET /subscriptions?page_number=0', 'GET /subscriptions?page_number=0']);
  });
});
