import { BillingApp, type Paid } from '../../support/billing/billing-app.js';
import { dodoDispute, dodoPayment, dodoRefund, dodoSubscription } from '../../support/billing/dodo-events.js';
import type { SignedInPerson } from '../../support/people.js';
import { polarCustomer, polarOrder, polarRefund, polarSubscription } from '../../support/billing/polar-events.js';
import { addMember } from '../../support/tenants.js';
import { signUp } from '../../support/people.js';

describe('the payments of an owner', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  const pageOf = async (path: string, { auth }: Pick<SignedInPerson, 'auth'>, query: Record<string, string> = {}) =>
    (await billing.t.http.get(`${path}/subscription/payments`).query(query).set(auth).expect(200)).body as {
      data: Paid[];
      nextCursor: string | null;
    };
  const paymentsOf = async (path: string, person: Pick<SignedInPerson, 'auth'>) => (await pageOf(path, person)).data;
  const shown = ({ kind, status, amount, currency, provider }: Paid) => ({ kind, status, amount, currency, provider });

  it('contain payments, refunds and disputes of Polar and Dodo, latest first', async () => {
    const { admin, id, path } = await billing.newTenant();
    const metadata = { organizationId: id };
    const polar = await billing.buyAtPolar({ metadata });
    const order = polarOrder({ created_at: '2026-01-01T00:00:00Z', total_amount: 1190 }, polar);
    await billing.emitPolar('order.paid', order);
    await billing.emitPolar('refund.created', polarRefund({ created_at: '2026-01-02T00:00:00Z', amount: 190 }, order));
    const dodo = await billing.buyAtDodo({ metadata });
    const payment = dodoPayment({ created_at: '2026-01-03T00:00:00Z', total_amount: 2000 }, dodo);
    await billing.emitDodo('payment.succeeded', payment);
    await billing.emitDodo('refund.succeeded', dodoRefund({ created_at: '2026-01-04T00:00:00Z', amount: 500 }, payment));
    const dispute = dodoDispute({ created_at: '2026-01-05T00:00:00Z', amount: '1500' }, payment);
    await billing.emitDodo('dispute.opened', dispute);
    const all = await paymentsOf(path, admin);
    expect(all.map(shown)).toEqual([
      { kind: 'dispute', status: 'pending', amount: 1500, currency: 'USD', provider: 'dodo' },
      { kind: 'refund', status: 'succeeded', amount: 500, currency: 'USD', provider: 'dodo' },
      { kind: 'payment', status: 'disputed', amount: 2000, currency: 'USD', provider: 'dodo' },
      { kind: 'refund', status: 'succeeded', amount: 190, currency: 'USD', provider: 'polar' },
      { kind: 'payment', status: 'partially_refunded', amount: 1190, currency: 'USD', provider: 'polar' },
    ]);
    expect(all[4]).toEqual({
      id: expect.any(String),
      kind: 'payment',
      provider: 'polar',
      providerPaymentId: order.id,
      ofProviderPaymentId: null,
      subscriptionId: await billing.idOf(polar.id),
      amount: 1190,
      currency: 'USD',
      status: 'partially_refunded',
      occurredAt: '2026-01-01T00:00:00.000Z',
    });
    expect(all.slice(0, 2).map(({ ofProviderPaymentId }) => ofProviderPaymentId)).toEqual([payment.payment_id, payment.payment_id]);
    await billing.emitDodo('dispute.lost', { ...dispute, dispute_status: 'dispute_lost' });
    await billing.emitPolar('order.refunded', { ...order, status: 'partially_refunded', refunded_amount: 190 });
    expect((await paymentsOf(path, admin)).map(({ status }) => status)).toEqual([
      'lost',
      'succeeded',
      'dispute_lost',
      'succeeded',
      'partially_refunded',
    ]);
  });

  it.each(['JPY', 'KWD', 'usd', 'XAU'])('have amounts in minor units of %s, as the provider sends them', async (currency) => {
    const { admin, id, path } = await billing.newTenant();
    const dodo = dodoSubscription({ metadata: { organizationId: id }, currency: currency as 'USD' });
    await billing.emitDodo('payment.succeeded', dodoPayment({ total_amount: 1234 }, dodo));
    expect((await paymentsOf(path, admin)).map(shown)).toMatchObject([{ amount: 1234, currency: currency.toUpperCase() }]);
  });

  it('may be zero, negative, and larger than 32 bits', async () => {
    const { admin, id, path } = await billing.newTenant();
    const dodo = dodoSubscription({ metadata: { organizationId: id } });
    for (const total_amount of [0, -100, 9_000_000_000_000])
      await billing.emitDodo('payment.succeeded', dodoPayment({ total_amount }, dodo));
    expect((await paymentsOf(path, admin)).map(({ amount }) => amount)).toEqual([9_000_000_000_000, -100, 0]);
  });

  it('get their owner in any order of refund, payment and subscription', async () => {
    const { admin, id, path } = await billing.newTenant();
    const customer = polarCustomer();
    const polar = polarSubscription({ customer, metadata: { organizationId: id } });
    const order = polarOrder({ metadata: {} }, polar);
    await billing.emitPolar('refund.created', polarRefund({}, order));
    await billing.emitPolar('order.paid', order);
    expect(await paymentsOf(path, admin)).toEqual([]);
    await billing.emitPolar('subscription.active', polar);
    expect((await paymentsOf(path, admin)).map(({ kind }) => kind).toSorted()).toEqual(['payment', 'refund']);

    const dodo = dodoSubscription({ metadata: { organizationId: id } });
    const payment = dodoPayment({}, dodo);
    await billing.emitDodo('dispute.opened', dodoDispute({}, payment));
    await billing.emitDodo('refund.succeeded', dodoRefund({}, payment));
    expect(await paymentsOf(path, admin)).toHaveLength(2);
    await billing.emitDodo('payment.succeeded', payment);
    expect(await paymentsOf(path, admin)).toHaveLength(5);
    const subscriptions = (await paymentsOf(path, admin)).map(({ subscriptionId }) => subscriptionId);
    // Dodo’s subscription is not known yet.
    expect(subscriptions.filter((one) => one !== null)).toEqual([await billing.idOf(polar.id), await billing.idOf(polar.id)]);
  });

  it('follow the latest event about each', async () => {
    const { admin, id, path } = await billing.newTenant();
    const dodo = dodoSubscription({ metadata: { organizationId: id } });
    const payment = dodoPayment({ status: 'processing' }, dodo);
    const [earlier, later] = [billing.tick(), billing.tick()];
    await billing.emitDodo('payment.succeeded', { ...payment, status: 'succeeded' }, later);
    await billing.emitDodo('payment.processing', payment, earlier);
    expect((await paymentsOf(path, admin)).map(({ status }) => status)).toEqual(['succeeded']);
    await billing.emitDodo('payment.succeeded', { ...payment, status: 'of_another_kind' });
    expect((await paymentsOf(path, admin)).map(({ status }) => status)).toEqual(['unknown']);
  });

  it('do not decide access', async () => {
    const { admin, id, path } = await billing.newTenant();
    const polar = polarSubscription({ metadata: { organizationId: id } });
    await billing.emitPolar('order.paid', polarOrder({}, polar));
    expect(await paymentsOf(path, admin)).toHaveLength(1);
    expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', reason: 'none' });
    const dodo = await billing.buyAtDodo({ metadata: { organizationId: id } });
    await billing.emitDodo('payment.failed', dodoPayment({ status: 'failed' }, dodo));
    expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro', access: true });
  });

  it('are each returned once over several pages, also with equal times', async () => {
    const { admin, id, path } = await billing.newTenant();
    const dodo = dodoSubscription({ metadata: { organizationId: id } });
    const moments = ['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000001Z', '2026-01-02T00:00:00Z'];
    for (const created_at of moments) await billing.emitDodo('payment.succeeded', dodoPayment({ created_at }, dodo));
    const all = (await paymentsOf(path, admin)).map((one) => one.id);
    const seen: string[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const page: { data: Paid[]; nextCursor: string | null } = await pageOf(path, admin, {
        limit: '1',
        ...(cursor === '' ? {} : { cursor }),
      });
      seen.push(...page.data.map((one) => one.id));
      cursor = page.nextCursor;
    }
    expect(seen).toEqual(all);
    expect(new Set(seen).size).toBe(4);
  });

  it('reject a cursor of another owner', async () => {
    const [one, other] = [await billing.newTenant(), await billing.newTenant()];
    const dodo = dodoSubscription({ metadata: { organizationId: one.id } });
    for (let index = 0; index < 2; index += 1) await billing.emitDodo('payment.succeeded', dodoPayment({}, dodo));
    const { nextCursor } = await pageOf(one.path, one.admin, { limit: '1' });
    const { body } = await billing.t.http
      .get(`${other.path}/subscription/payments`)
      .query({ cursor: nextCursor! })
      .set(other.admin.auth)
      .expect(400);
    expect(body.code).toBe('invalid_cursor');
  });

  it('of an organization are visible to its admins, and of a user to that user', async () => {
    const { admin, id, path } = await billing.newTenant();
    const member = await signUp(billing.t);
    await addMember(billing.t, id, member);
    await billing.emitDodo('payment.succeeded', dodoPayment({}, dodoSubscription({ metadata: { organizationId: id } })));
    await billing.emitDodo('payment.succeeded', dodoPayment({}, dodoSubscription({ metadata: { userId: member.id } })));
    await billing.t.http.get(`${path}/subscription/payments`).set(member.auth).expect(403);
    expect(await paymentsOf(path, admin)).toHaveLength(1);
    expect(await paymentsOf('/v1', member)).toHaveLength(1);
    expect(await paymentsOf('/v1', admin)).toEqual([]);
  });
});
