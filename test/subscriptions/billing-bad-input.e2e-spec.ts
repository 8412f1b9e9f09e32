import { BILLING_SECRET, BillingApp, inDays, PRODUCT } from '../support/billing/billing-app.js';
import { untilProcessed } from '../support/clerk/clerk-deliveries.js';
import { newMessageId } from '../support/clerk/clerk-events.js';
import { dodoCustomerDetails, dodoDispute, dodoEvent, dodoPayment, dodoSubscription } from '../support/billing/dodo-events.js';
import { polarCustomer, polarEvent, polarOrder, polarSubscription } from '../support/billing/polar-events.js';
import { legacyKey, postSigned, standardKey } from '../support/webhook-signing.js';

/** Payloads that no provider should send, and how they are handled. */
describe('invalid billing events', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  const rowOf = async (providerSubscriptionId: string) =>
    (await billing.t.db.rows('SELECT * FROM subscriptions WHERE provider_subscription_id = $1', [providerSubscriptionId]))[0];
  const done = { status: 'processed', attempts: 1, last_error: null };
  const quarantined = (what: string) => ({ status: 'quarantined', last_error: expect.stringContaining(what) as string });

  describe('an unknown status', () => {
    it('quarantines the event, keeps the known state, and later events apply', async () => {
      const { id } = await billing.newTenant();
      const polar = await billing.buyAtPolar({ metadata: { organizationId: id } });
      const strange = await billing.emitPolar('subscription.updated', { ...polar, status: 'frozen', product_id: PRODUCT.business });
      expect(await billing.webhookEvent(strange)).toMatchObject(quarantined('status'));
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro', access: true, status: 'active' });
      const dodo = await billing.buyAtDodo({ metadata: { organizationId: id }, product_id: PRODUCT.business });
      expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', { ...dodo, status: 'frozen' }))).toMatchObject(
        quarantined('status'),
      );
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'business', access: true });
      await billing.emitPolar('subscription.revoked', { ...polar, status: 'canceled' });
      await billing.emitDodo('subscription.expired', { ...dodo, status: 'expired' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', access: false });
    });
  });

  describe('a date', () => {
    const DATES = [
      '',
      'soon',
      '2026-13-01T00:00:00Z',
      '2026-02-30T00:00:00Z',
      '0000-01-01T00:00:00Z',
      '-000001-01-01T00:00:00Z',
      '1969-12-31T23:59:59Z',
      '10000-01-01T00:00:00Z',
      '275760-09-13T00:00:00Z',
      '+275760-09-13T00:00:00.000Z',
      '2026-03-01',
      '2026-03-01T00:00:00',
      0,
      -1,
      1_767_225_600,
      Number.MAX_SAFE_INTEGER,
      true,
      [],
      {},
    ];
    const POLAR_DATES = ['current_period_start', 'current_period_end', 'trial_end', 'ends_at', 'canceled_at', 'started_at', 'ended_at'];
    const DODO_DATES = ['previous_billing_date', 'next_billing_date', 'expires_at', 'cancelled_at', 'past_due_ends_at', 'created_at'];

    it.each(DATES)('%j counts as unknown in every field', async (date) => {
      const polar = polarSubscription({ product_id: PRODUCT.pro });
      const broken = Object.fromEntries(POLAR_DATES.map((field) => [field, date]));
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', { ...polar, ...broken }))).toEqual(done);
      const unknown = { current_period_end: null, trial_end: null, ends_at: null, canceled_at: null, ended_at: null };
      expect(await rowOf(polar.id)).toMatchObject({ ...unknown, status: 'active' });
      const dodo = dodoSubscription({ product_id: PRODUCT.pro, status: 'past_due' });
      const brokenToo = Object.fromEntries(DODO_DATES.map((field) => [field, date]));
      expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', { ...dodo, ...brokenToo }))).toEqual(done);
      expect(await rowOf(dodo.subscription_id)).toMatchObject({ current_period_end: null, ends_at: null, canceled_at: null });
    });

    it.each(['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999999Z', '1970-01-01T00:00:00.001Z', '2026-03-01T00:00:00.123456789+14:00'])(
      '%s is valid, and so are the dates computed from it',
      async (date) => {
        const given = { current_period_start: date, current_period_end: date, past_due_at: date, trial_end: date, started_at: date };
        const polar = polarSubscription({ product_id: PRODUCT.pro, status: 'past_due', ...given });
        expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', polar))).toEqual(done);
        expect((await billing.find(polar.id))!.currentPeriodEnd).toBe(new Date(date).toISOString());
        for (const status of ['active', 'past_due'] as const) {
          const dates = { created_at: date, next_billing_date: date, previous_billing_date: date, expires_at: date };
          const dodo = dodoSubscription({ product_id: PRODUCT.pro, status, trial_period_days: 30, ...dates });
          expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', dodo))).toEqual(done);
          expect((await billing.find(dodo.subscription_id))!.currentPeriodEnd).toBe(new Date(date).toISOString());
        }
      },
    );

    it.each([-1, 0.5, 2_147_483_647, 99_999_999, 3_000_000, Number.MAX_SAFE_INTEGER, '14'])(
      'is computed for a trial of %j days',
      async (days) => {
        const dodo = dodoSubscription({ product_id: PRODUCT.pro, trial_period_days: days as number });
        expect(await billing.webhookEvent(await billing.emitDodo('subscription.active', dodo))).toEqual(done);
        expect((await billing.find(dodo.subscription_id))!.grants).toBe(true);
      },
    );

    it('of the event itself may be missing or invalid: the event is then older than dated ones', async () => {
      const polar = await billing.buyAtPolar();
      const { timestamp: _, ...undated } = polarEvent('subscription.revoked', {
        ...polar,
        status: 'canceled',
        created_at: undefined,
        modified_at: undefined,
      });
      expect(await billing.webhookEvent(await billing.deliver('polar', undated))).toEqual(done);
      expect(await rowOf(polar.id)).toMatchObject({ status: 'active' });
      const nonsense = { ...dodoEvent('subscription.active', dodoSubscription()), timestamp: 'yesterday' };
      expect(await billing.webhookEvent(await billing.deliver('dodo', nonsense))).toEqual(done);
    });
  });

  describe('a number', () => {
    it.each([-1, 1.5, 1e12, 1e300, '5', true, [], null])('of seats as %j counts as unknown', async (seats) => {
      const polar = polarSubscription({ product_id: PRODUCT.business, seats: seats as number });
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', polar))).toEqual(done);
      expect((await billing.find(polar.id))!.seats).toBeNull();
      const dodo = dodoSubscription({ product_id: PRODUCT.business, quantity: seats as number });
      expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', dodo))).toEqual(done);
      expect((await billing.find(dodo.subscription_id))!.seats).toBeNull();
    });

    it.each([1.5, 1e300, Number.MAX_SAFE_INTEGER + 1, '1000', {}, null])('as an amount, %j, counts as unknown', async (amount) => {
      const polar = polarSubscription({ product_id: PRODUCT.pro, amount: amount as number });
      const order = polarOrder({ total_amount: amount as number }, polar);
      for (const [type, data] of [
        ['subscription.updated', polar],
        ['order.paid', order],
      ] as const)
        expect(await billing.webhookEvent(await billing.emitPolar(type, data))).toEqual(done);
      expect((await billing.find(polar.id))!.amount).toBeNull();
      const payment = dodoPayment({ total_amount: amount as number });
      expect(await billing.webhookEvent(await billing.emitDodo('payment.succeeded', payment))).toEqual(done);
      const amounts = await billing.t.db.rows('SELECT amount FROM payments WHERE provider_payment_id = ANY ($1)', [
        [order.id, payment.payment_id],
      ]);
      expect(amounts).toEqual([{ amount: null }, { amount: null }]);
    });

    it.each(['12.50', '-5', '1e3', '', 'ten', 5, '9'.repeat(30)])('as a disputed amount, %j, counts as unknown', async (amount) => {
      const dispute = dodoDispute({ amount: amount as string });
      expect(await billing.webhookEvent(await billing.emitDodo('dispute.opened', dispute))).toEqual(done);
      expect(await billing.t.db.rows('SELECT amount FROM payments WHERE provider_payment_id = $1', [dispute.dispute_id])).toEqual([
        { amount: null },
      ]);
    });

    it.each(['', 'US', 'DOLLAR', '$', 840, null])('as an amount in the currency %j is kept without the currency', async (currency) => {
      const polar = polarSubscription({ product_id: PRODUCT.pro, currency: currency as string, amount: 900 });
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', polar))).toEqual(done);
      expect(await billing.find(polar.id)).toMatchObject({ amount: 900, currency: null });
    });
  });

  describe('an owner', () => {
    it('is ignored when the embedded customer is not the paying one', async () => {
      const { id } = await billing.newTenant();
      const payer = polarCustomer();
      const polar = polarSubscription({ product_id: PRODUCT.pro, customer: polarCustomer({ external_id: id }) });
      const message = await billing.emitPolar('subscription.updated', { ...polar, customer_id: payer.id });
      expect(await billing.webhookEvent(message)).toEqual(done);
      expect(await billing.find(polar.id)).toMatchObject({ ownerId: null, providerCustomerId: payer.id });
    });

    it.each<[how: string, metadata: unknown]>([
      ['that is an array', []],
      ['that is a string', '%'],
      ['that is a number', 7],
      ['that is null', null],
      ['with an array as id', { organizationId: ['%'] }],
      ['with an object as id', { organizationId: { id: '%' } }],
      ['with a nested id', { nested: { organizationId: '%' } }],
      ['with a NUL in it', { organizationId: '%\u0000' }],
      ['with spaces around it', { organizationId: ' % ' }],
      ['of 10 kB', { organizationId: `%${'x'.repeat(10_000)}` }],
      ['with an invalid id', { organizationId: "%' OR '1'='1" }],
    ])('is not found in metadata %s', async (_how, metadata) => {
      const { id } = await billing.newTenant();
      const withOwnerId = JSON.parse(JSON.stringify(metadata).replaceAll('%', id)) as Record<string, string>;
      const polar = polarSubscription({
        product_id: PRODUCT.pro,
        metadata: withOwnerId,
        customer: polarCustomer({ metadata: withOwnerId }),
      });
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', polar))).toEqual(done);
      const customer = { ...dodoCustomerDetails(), metadata: withOwnerId };
      const dodo = dodoSubscription({ product_id: PRODUCT.pro, metadata: withOwnerId, customer });
      expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', dodo))).toEqual(done);
      expect([await billing.ownerOf(polar.id), await billing.ownerOf(dodo.subscription_id)]).toEqual([
        [null, null],
        [null, null],
      ]);
    });

    it('is found in metadata with a thousand other keys, and with keys of Object.prototype', async () => {
      const { id } = await billing.newTenant();
      const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`name${index}`, index]));
      const metadata = { ...many, constructor: 'x', toString: 'y', hasOwnProperty: 'z', organizationId: id };
      const polar = await billing.buyAtPolar({ metadata });
      expect(await billing.ownerOf(polar.id)).toEqual(['organization', id]);
    });
  });

  describe('an id', () => {
    const IDS: [how: string, id: unknown][] = [
      ['that is empty', ''],
      ['of 10 kB', 'x'.repeat(10_000)],
      ['with a NUL in it', 'a\u0000b'],
      ['with a lone surrogate', 'a\uD800b'],
      ['that is a number', 7],
      ['that is an object', {}],
      ['that is an array', ['a']],
    ];

    it.each(IDS)('of a subscription %s quarantines the event', async (_how, id) => {
      const polar = { ...polarSubscription(), id };
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', polar))).toMatchObject(quarantined('id'));
      const dodo = { ...dodoSubscription(), subscription_id: id };
      expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', dodo))).toMatchObject(
        quarantined('subscription_id'),
      );
    });

    it.each(IDS)('of a customer %s quarantines the event', async (_how, id) => {
      const polar = polarSubscription();
      const broken = { ...polar, customer_id: id, customer: { ...polar.customer, id } };
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', broken))).toMatchObject(quarantined('customer_id'));
      const dodo = { ...dodoSubscription(), customer: { ...dodoCustomerDetails(), customer_id: id } };
      expect(await billing.webhookEvent(await billing.emitDodo('subscription.updated', dodo))).toMatchObject(
        quarantined('customer.customer_id'),
      );
    });

    it.each(IDS)('of a product %s counts as unknown, and changes no access', async (_how, product) => {
      const { id } = await billing.newTenant();
      const polar = await billing.buyAtPolar({ metadata: { organizationId: id } });
      const broken = { ...polar, product_id: product, product: { ...polar.product, id: product } };
      expect(await billing.webhookEvent(await billing.emitPolar('subscription.updated', broken))).toEqual(done);
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro', access: true });
      expect(await billing.find(polar.id)).toMatchObject({ productId: null });
    });

    it('of one provider may equal an id of the other provider', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const polar = await billing.buyAtPolar({ metadata: { organizationId: one.id } });
      const customer = dodoCustomerDetails();
      await billing.buyAtDodo({ subscription_id: polar.id, metadata: { organizationId: other.id }, customer, status: 'expired' });
      expect(await billing.organizationSubscription(one.id)).toMatchObject({ reason: 'active' });
      expect(await billing.organizationSubscription(other.id)).toMatchObject({ reason: 'lapsed' });
    });
  });

  describe('a body', () => {
    it.each([
      ['invalid JSON', '{', 'The body is not JSON in UTF-8'],
      ['zero bytes', '', 'The body is not JSON in UTF-8'],
      ['null', 'null', 'Missing or invalid: data'],
      ['an array', '[]', 'Missing or invalid: data'],
      ['a string', '"subscription.updated"', 'Missing or invalid: data'],
      ['no type', '{"data":{}}', 'Missing or invalid: type'],
      ['no data', '{"type":"subscription.updated"}', 'Missing or invalid: data'],
      ['data as an array', '{"type":"subscription.updated","data":[]}', 'Missing or invalid: data'],
      ['data as a string', '{"type":"subscription.updated","data":"active"}', 'Missing or invalid: data'],
      ['a type as a number', '{"type":7,"data":{}}', 'Missing or invalid: type'],
    ])('of %s is accepted and quarantined', async (_what, body, reason) => {
      for (const provider of ['polar', 'dodo'] as const)
        expect(await billing.webhookEvent(await billing.deliver(provider, body))).toMatchObject({
          status: 'quarantined',
          last_error: reason,
        });
    });

    it('with a type of the other provider is ignored', async () => {
      const body = JSON.stringify(dodoEvent('payment.succeeded', dodoPayment()));
      expect(await billing.webhookEvent(await billing.deliver('polar', body))).toMatchObject({ status: 'ignored', last_error: null });
    });
  });

  describe('a signature', () => {
    const post = async (provider: string, key: Buffer, body = JSON.stringify(polarEvent('subscription.updated', polarSubscription()))) => {
      const id = newMessageId();
      const { status } = await postSigned(`${billing.t.url}/webhooks/${provider}`, body, { id, key });
      return { id, status };
    };

    it('of Polar may use the secret as text, or decoded', async () => {
      for (const key of [legacyKey(BILLING_SECRET), standardKey(BILLING_SECRET)]) {
        const { id, status } = await post('polar', key);
        expect(status).toBe(202);
        await untilProcessed({ db: billing.t.db, urls: () => [billing.t.url] });
        expect(await billing.webhookEvent(id)).toEqual(done);
      }
    });

    it.each([
      ['polar', Buffer.from('somebody else’s secret')],
      ['polar', Buffer.alloc(0)],
      ['dodo', Buffer.from('somebody else’s secret')],
      ['dodo', legacyKey(BILLING_SECRET)],
    ])('of %s with another key is rejected, and nothing is stored', async (provider, key) => {
      const { id, status } = await post(provider, key);
      expect(status).toBe(401);
      expect(await billing.webhookEvent(id)).toBeUndefined();
    });
  });

  describe('another body with the same message id', () => {
    it('is ignored: the first one applies until the next event', async () => {
      const { id } = await billing.newTenant();
      const dodo = dodoSubscription({ product_id: PRODUCT.pro, metadata: { organizationId: id }, next_billing_date: inDays(3) });
      const messageId = newMessageId();
      const at = billing.tick();
      await billing.deliver('dodo', dodoEvent('subscription.active', dodo, { at }), messageId);
      // Rendered again for the second attempt, as Dodo may do.
      await billing.deliver('dodo', dodoEvent('subscription.active', { ...dodo, status: 'on_hold' }, { at }), messageId);
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro', reason: 'active' });
      await billing.emitDodo('subscription.on_hold', { ...dodo, status: 'on_hold' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', reason: 'unpaid' });
    });
  });
});
