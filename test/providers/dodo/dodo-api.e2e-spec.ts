import type { ProviderSubscription } from '../../../src/subscriptions/sync/billing-provider.port.js';
import type { DodoApi } from '../../../src/providers/dodo/dodo-api.client.js';
import { DodoAccount } from '../../simulators/dodo-account.js';
import { type DodoApiSimulator, startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import { dodoClient, dodoEnvironment, withoutPauses } from '../../support/billing/billing-clients.js';

const ORGANIZATION = { kind: 'organization', id: '01990000-0000-7000-8000-000000000001' } as const;

describe('the DodoPayments client', () => {
  let clock: VirtualClock;
  let account: DodoAccount;
  let dodo: DodoApiSimulator;
  let api: DodoApi;

  const subscribe = (given: { quantity?: number; metadata?: Record<string, string>; customerId?: string } = {}) => {
    clock.advance({ minutes: 1 });
    return account.subscribe({ productId: account.createProduct().product_id, ...given });
  };

  beforeEach(async () => {
    clock = new VirtualClock();
    account = new DodoAccount({ clock });
    dodo = await startDodoApiSimulator({ account });
    api = dodoClient(dodoEnvironment(dodo));
    withoutPauses(api);
  });
  afterEach(() => dodo.close());

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
    it('returns the same snapshot as the events, with the date of the response', async () => {
      const { subscription_id: id, customer } = subscribe({ quantity: 3, metadata: { organizationId: ORGANIZATION.id } });
      clock.advance({ days: 1, seconds: 1 });
      account.cancel(id);
      const subscription = await api.findSubscription(id);
      const { next_billing_date: end } = account.subscription(id);
      expect(subscription).toMatchObject({
        id,
        snapshot: {
          providerSubscriptionId: id,
          status: 'active',
          cancelAtPeriodEnd: true,
          seats: 3,
          endsAt: new Date(end),
          ownerHints: { metadata: { organizationId: ORGANIZATION.id } },
          customer: { provider: 'dodo', providerCustomerId: customer.customer_id },
        },
        version: { at: account.now().toISOString(), modifiedAt: '-infinity', rank: 2, messageId: 'reconciliation' },
      });
      expect(subscription!.omittedFields).toBeUndefined();
    });

    it('returns undefined for a subscription that Dodo does not know', async () => {
      expect(await api.findSubscription('sub_unknown')).toBeUndefined();
    });

    it('reports why a subscription cannot be read', async () => {
      const { subscription_id: id } = subscribe();
      dodo.faults.push({ status: 200, body: JSON.stringify({ ...account.subscription(id), status: 'asleep' }) });
      expect(await api.findSubscription(id)).toMatchObject({ id, readError: 'Missing or invalid: status' });
    });

    it('estimates the end of the grace period, which only events contain', async () => {
      const customer = account.createCustomer({ card: 'works' });
      const { subscription_id: id } = subscribe({ customerId: customer.customer_id });
      account.setCard(customer.customer_id, 'fails');
      clock.advance({ days: 32 });
      const { snapshot } = (await api.findSubscription(id))!;
      expect(snapshot).toMatchObject({ status: 'past_due', isGraceEstimated: true });
    });
  });

  describe('when it lists subscriptions', () => {
    beforeEach(() => {
      api.calls.limits.pageSize = 3;
    });

    it('returns all subscriptions, whatever their status, until an empty page', async () => {
      const ids = Array.from({ length: 6 }, () => subscribe().subscription_id);
      account.cancel(ids[2]!, { when: 'now' });
      const subscriptions = await listAll();
      expect(subscriptions.map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
      expect(subscriptions.find(({ id }) => id === ids[2])!.snapshot!.status).toBe('canceled');
      expect(dodo.calls.map((call) => new URL(call.split(' ')[1]!, dodo.url).searchParams.get('page_number'))).toEqual(['0', '1', '2']);
    });

    it('reports which fields the list omits', async () => {
      subscribe();
      expect(await listAll()).toMatchObject([{ snapshot: { endsAt: null }, omittedFields: ['endsAt'] }]);
    });

    it('returns an empty list when there are no subscriptions', async () => {
      expect(await listAll()).toEqual([]);
    });

    it('continues from a cursor', async () => {
      const ids = Array.from({ length: 5 }, () => subscribe().subscription_id);
      const first = await api.listSubscriptions(undefined);
      const second = await api.listSubscriptions(first.next!);
      expect([...first.subscriptions, ...second.subscriptions].map(({ id }) => id).toSorted()).toEqual(ids.toSorted());
    });

    it('returns every existing subscription when others are added meanwhile', async () => {
      const ids = Array.from({ length: 7 }, () => subscribe().subscription_id);
      let left = 3;
      dodo.control.onCall = () => {
        if ((left -= 1) >= 0) subscribe();
      };
      expect((await listAll()).map(({ id }) => id)).toEqual(expect.arrayContaining(ids));
    });

    it('returns the rest of a page when one subscription cannot be read', async () => {
      const [first, second] = [subscribe(), subscribe()];
      dodo.faults.push({ status: 200, body: JSON.stringify({ items: [{ ...first, status: 'asleep' }, second] }) });
      expect((await api.listSubscriptions(undefined)).subscriptions).toMatchObject([
        { id: first.subscription_id, readError: expect.any(String) },
        { id: second.subscription_id, snapshot: { status: 'active' } },
      ]);
    });

    it.each(['{"data":[]}', '{"items":[{}]}', '{"items":{}}'])('rejects %s, which is not a list', async (body) => {
      dodo.faults.push({ status: 200, body });
      await expect(api.listSubscriptions(undefined)).rejects.toThrow('dodo could not list subscriptions: the response has no');
    });
  });

  describe('when it opens a checkout', () => {
    const order = { owner: ORGANIZATION, successUrl: 'https://app.example.com/done', idempotencyKey: 'key-1', seats: 4 };
    const productId = () => account.createProduct().product_id;
    const checkouts = () => [...account.checkouts.values()];

    it('creates a customer with the owner in its metadata, and a checkout with the same metadata', async () => {
      const session = await api.createCheckout({ ...order, productId: productId(), email: 'ada@example.com' });
      const [customer] = [...account.customers.values()];
      expect(customer).toMatchObject({ email: 'ada@example.com', metadata: { organizationId: ORGANIZATION.id } });
      expect(session).toEqual({ url: expect.stringMatching(/^https:/), expiresAt: null, providerCustomerId: customer!.customer_id });
      expect(checkouts()).toMatchObject([
        {
          customer_id: customer!.customer_id,
          quantity: 4,
          metadata: { organizationId: ORGANIZATION.id },
          return_url: order.successUrl,
        },
      ]);
    });

    it('reuses the customer that it created, and no other customer with the same address', async () => {
      account.createCustomer({ email: 'ada@example.com', metadata: { organizationId: 'another' } });
      const first = await api.createCheckout({ ...order, productId: productId(), email: 'ada@example.com' });
      const second = await api.createCheckout({ ...order, productId: productId(), email: 'ada@example.com' });
      expect(second.providerCustomerId).toBe(first.providerCustomerId);
      expect(account.customers.size).toBe(2);
    });

    it('uses the customer that is already known', async () => {
      const { customer_id: id } = account.createCustomer();
      expect(await api.createCheckout({ ...order, productId: productId(), providerCustomerId: id })).toMatchObject({
        providerCustomerId: id,
      });
      expect(checkouts()).toMatchObject([{ customer_id: id }]);
    });

    it('lets the checkout form ask for the customer when no address is known', async () => {
      const session = await api.createCheckout({ ...order, owner: { kind: 'user', id: ORGANIZATION.id }, productId: productId() });
      expect(session.providerCustomerId).toBeUndefined();
      expect(checkouts()).toMatchObject([{ customer_id: null, metadata: { userId: ORGANIZATION.id } }]);
    });

    it('fails when the checkout has no URL', async () => {
      dodo.faults.push({ status: 200, body: '{"session_id":"1","checkout_url":null}' });
      await expect(api.createCheckout({ ...order, productId: 'pdt_1' })).rejects.toThrow('the response has no address');
    });

    it('opens a customer portal', async () => {
      const { customer_id: id } = account.createCustomer();
      const { url } = await api.createPortal(id, 'https://app.example.com/billing');
      expect(url).toContain('return_url=https://app.example.com/billing');
    });

    it('sets seats, and skips the update when the number is already right', async () => {
      const { subscription_id: id } = subscribe({ quantity: 2 });
      await api.setSeats(id, 5);
      expect(account.subscription(id).quantity).toBe(5);
      const before = dodo.calls.length;
      await api.setSeats(id, 5);
      expect(dodo.calls.slice(before)).toEqual([`GET /subscriptions/${id}`]);
    });
  });

  describe('when it cancels a subscription', () => {
    it('cancels it immediately', async () => {
      const { subscription_id: id } = subscribe();
      await api.cancelSubscription(id);
      expect(account.subscription(id).status).toBe('cancelled');
    });

    it('succeeds for a subscription that has ended or is unknown', async () => {
      const { subscription_id: id } = subscribe();
      account.cancel(id, { when: 'now' });
      await api.cancelSubscription(id);
      await api.cancelSubscription('sub_unknown');
      expect(account.subscription(id).status).toBe('cancelled');
    });

    it('fails when Dodo refuses to cancel a live subscription', async () => {
      const { subscription_id: id } = subscribe();
      dodo.faults.push({ status: 422 });
      await expect(api.cancelSubscription(id)).rejects.toThrow('dodo could not end a subscription: 422, SIMULATED_FAILURE');
    });
  });
});
