import type { ProviderSubscription } from '../../../src/subscriptions/sync/billing-provider.port.js';
import type { PolarApi } from '../../../src/providers/polar/polar-api.client.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { type PolarApiSimulator, startPolarApiSimulator } from '../../simulators/polar-api.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import { polarClient, polarEnvironment, withoutPauses } from '../../support/billing/billing-clients.js';

const ORGANIZATION = { kind: 'organization', id: '01990000-0000-7000-8000-000000000001' } as const;
const ABSENT = '01990000-0000-4000-8000-00000000dead';

describe('the Polar client', () => {
  let clock: VirtualClock;
  let account: PolarAccount;
  let polar: PolarApiSimulator;
  let api: PolarApi;

  const subscribe = (given: { seats?: number; metadata?: Record<string, string>; externalId?: string } = {}) => {
    clock.advance({ minutes: 1 });
    const product = account.createProduct({ perSeat: given.seats !== undefined });
    const customer = account.createCustomer({ externalId: given.externalId });
    return account.subscribe({ productId: product.id, customerId: customer.id, seats: given.seats, metadata: given.metadata });
  };

  beforeEach(async () => {
    clock = new VirtualClock();
    account = new PolarAccount({ clock });
    polar = await startPolarApiSimulator({ account });
    api = polarClient(polarEnvironment(polar));
    withoutPauses(api);
  });
  afterEach(() => polar.close());

  const listAll = async (): Promise<ProviderSubscription[]> => {
    const subscriptions: ProviderSubscription[] = [];
    for (let from: string | undefined; ;) {
      const page = await api.listSubscriptions(from);
      subscriptions.push(...page.subscriptions);
      if (page.next === null) return subscriptions;
      from = page.next;
    }
  };

  describe('when it reads a subscription', () => {
    it('returns the same snapshot as the events, with the time of the last change', async () => {
      const { id } = subscribe({ seats: 3, metadata: { organizationId: ORGANIZATION.id }, externalId: 'user_1' });
      clock.advance({ days: 1 });
      account.cancel(id);
      const { modified_at: modifiedAt, current_period_end: end, customer_id: customerId } = account.subscription(id);
      const subscription = await api.findSubscription(id);
      expect(subscription).toMatchObject({
        id,
        snapshot: {
          providerSubscriptionId: id,
          status: 'active',
          cancelAtPeriodEnd: true,
          seats: 3,
          ownerHints: { metadata: { organizationId: ORGANIZATION.id }, externalId: 'user_1' },
          customer: { provider: 'polar', providerCustomerId: customerId },
        },
        version: { rank: 2, messageId: 'reconciliation' },
      });
      expect(subscription!.snapshot!.endsAt).toEqual(new Date(Math.floor(Date.parse(end))));
      expect(Date.parse(subscription!.version.at)).toBe(Date.parse(modifiedAt!));
      expect(subscription!.version.modifiedAt).toBe(subscription!.version.at);
    });

    it('uses the creation time of a subscription that was never changed', async () => {
      const { id, created_at: createdAt } = subscribe();
      polar.faults.push({ status: 200, body: JSON.stringify({ ...account.subscription(id), modified_at: null }) });
      const { version } = (await api.findSubscription(id))!;
      expect([Date.parse(version.at), version.modifiedAt]).toEqual([Date.parse(createdAt), '-infinity']);
    });

    it('returns undefined for an unknown id, and for an id that is not a UUID', async () => {
      expect(await api.findSubscription(ABSENT)).toBeUndefined();
      expect(await api.findSubscription('sub_1')).toBeUndefined();
    });

    it('reports why a subscription cannot be read', async () => {
      const { id } = subscribe();
      polar.faults.push({ status: 200, body: JSON.stringify({ ...account.subscription(id), status: 'asleep' }) });
      expect(await api.findSubscription(id)).toMatchObject({ id, readError: 'Missing or invalid: status' });
    });
  });

  describe('when it lists subscriptions', () => {
    beforeEach(() => {
      api.calls.limits.pageSize = 3;
    });

    it('returns all subscriptions, whatever their status, oldest first', async () => {
      const ids = Array.from({ length: 7 }, () => subscribe().id);
      account.cancel(ids[2]!, { when: 'now' });
      const subscriptions = await listAll();
      expect(subscriptions.map(({ id }) => id)).toEqual(ids);
      expect(subscriptions[2]!.snapshot!.status).toBe('canceled');
      expect(polar.calls).toHaveLength(3);
    });

    it('returns an empty list when there are no subscriptions', async () => {
      expect(await listAll()).toEqual([]);
      expect(polar.calls).toHaveLength(1);
    });

    it('continues from a cursor', async () => {
      const ids = Array.from({ length: 5 }, () => subscribe().id);
      const { next } = await api.listSubscriptions(undefined);
      const { subscriptions, next: end } = await api.listSubscriptions(next!);
      expect([subscriptions.map(({ id }) => id), end]).toEqual([ids.slice(3), null]);
    });

    it('returns every existing subscription when others are added meanwhile', async () => {
      const ids = Array.from({ length: 7 }, () => subscribe().id);
      polar.control.onCall = () => void subscribe();
      expect((await listAll()).map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
    });

    it('returns the rest of a page when one subscription cannot be read', async () => {
      const [first, second] = [subscribe(), subscribe()];
      const items = [{ ...first, status: 'asleep' }, second];
      polar.faults.push({ status: 200, body: JSON.stringify({ items, pagination: { total_count: 2, max_page: 1 } }) });
      expect((await api.listSubscriptions(undefined)).subscriptions).toMatchObject([
        { id: first.id, readError: expect.any(String) },
        { id: second.id, snapshot: { status: 'active' } },
      ]);
    });

    it.each(['{"items":[{"id":"1"}]}', '{"items":[{}],"pagination":{"max_page":1}}', '{"items":{},"pagination":{"max_page":1}}'])(
      'rejects %s, which is not a list',
      async (body) => {
        polar.faults.push({ status: 200, body });
        await expect(api.listSubscriptions(undefined)).rejects.toThrow('polar could not list subscriptions: the response has no');
      },
    );
  });

  describe('when it opens a checkout', () => {
    const order = { owner: ORGANIZATION, successUrl: 'https://app.example.com/done', idempotencyKey: 'key-1' };

    it('names the owner in the metadata and as the external customer id', async () => {
      const product = account.createProduct({ perSeat: true });
      const session = await api.createCheckout({ ...order, productId: product.id, seats: 4, email: 'ada@example.com' });
      const [checkout] = [...account.checkouts.values()];
      expect(session).toEqual({ url: checkout!.url, expiresAt: new Date(checkout!.expires_at) });
      expect(checkout).toMatchObject({
        metadata: { organizationId: ORGANIZATION.id },
        external_customer_id: ORGANIZATION.id,
        customer_email: 'ada@example.com',
        seats: 4,
        success_url: order.successUrl,
      });
    });

    it('accepts a user as the owner', async () => {
      const product = account.createProduct();
      await api.createCheckout({ ...order, owner: { kind: 'user', id: ORGANIZATION.id }, productId: product.id });
      expect([...account.checkouts.values()]).toMatchObject([{ metadata: { userId: ORGANIZATION.id } }]);
    });

    it('uses the customer that is already known', async () => {
      const { id } = account.createCustomer({ email: 'eve@example.com' });
      await api.createCheckout({ ...order, productId: account.createProduct().id, providerCustomerId: id });
      expect([...account.checkouts.values()]).toMatchObject([{ customer_id: id, customer_email: 'eve@example.com' }]);
    });

    it('fails with the reason but without the given values', async () => {
      const failure: unknown = await api.createCheckout({ ...order, productId: 'secret' }).catch((error: unknown) => error);
      expect(failure).toMatchObject({
        message: 'polar could not open a checkout: 422, RequestValidationError (body,products,0: Product does not exist.)',
        isRetryable: false,
      });
    });

    it('opens a customer portal', async () => {
      const { id } = account.createCustomer();
      const { url } = await api.createPortal(id, 'https://app.example.com/billing');
      expect(url).toMatch(/^https:\/\/sandbox\.polar\.sh\//);
    });

    it('sets seats', async () => {
      const { id } = subscribe({ seats: 2 });
      await api.setSeats(id, 5);
      expect(account.subscription(id).seats).toBe(5);
    });
  });

  describe('when it cancels a subscription', () => {
    it('cancels it immediately', async () => {
      const { id } = subscribe();
      await api.cancelSubscription(id);
      expect(account.subscription(id).status).toBe('canceled');
    });

    it('succeeds for a subscription that has ended or is unknown', async () => {
      const { id } = subscribe();
      account.cancel(id, { when: 'now' });
      await api.cancelSubscription(id);
      await api.cancelSubscription(ABSENT);
      expect(polar.calls).toHaveLength(2);
    });

    it('fails when Polar refuses for another reason', async () => {
      const { id } = subscribe();
      polar.faults.push({ status: 409 });
      await expect(api.cancelSubscription(id)).rejects.toThrow('polar could not end a subscription: 409, SimulatedFailure');
    });
  });
});
