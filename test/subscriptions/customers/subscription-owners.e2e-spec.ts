import { BillingApp, inDays, PRODUCT } from '../../support/billing/billing-app.js';
import { newAddress, newClerkId } from '../../support/clerk/clerk-app.js';
import { failedEvents, untilProcessed } from '../../support/clerk/clerk-deliveries.js';
import {
  clerkEvent,
  deliver,
  deletedData,
  membershipData,
  newMessageId,
  organizationData,
  userData,
} from '../../support/clerk/clerk-events.js';
import { dodoCustomer, dodoCustomerDetails, dodoEvent, dodoPayment, dodoSubscription } from '../../support/billing/dodo-events.js';
import { signUp } from '../../support/people.js';
import { polarCustomer, polarEvent, polarOrder, polarSubscription } from '../../support/billing/polar-events.js';
import { runJob, verifyEmail } from '../../support/tenants.js';

describe('the owner of a subscription', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  /** A Clerk user who is admin of a Clerk organization, with Clerk’s ids and our ids. */
  async function newClerkTenant() {
    const { clerk } = billing;
    const [user, org] = [newClerkId('user'), newClerkId('org')];
    const membership = { id: newClerkId('orgmem'), organization: { id: org }, user: { id: user }, role: 'org:admin' };
    await clerk.emit('user.created', userData({ id: user, email: { email: newAddress(), verified: true } }));
    await clerk.emit('organization.created', organizationData({ id: org }));
    await clerk.emit('organizationMembership.created', membershipData(membership));
    return { user, org, userId: (await clerk.user(user))!.id, organizationId: await clerk.organizationId(org) };
  }

  describe('with claims', () => {
    let names: Awaited<ReturnType<typeof newClerkTenant>>;
    beforeAll(async () => {
      names = await newClerkTenant();
    });
    type Named = { metadata?: Record<string, string>; externalId?: string; customerMetadata?: Record<string, string> };

    it.each<[string, (of: typeof names) => Named, 'organization' | 'user']>([
      ['an organization by our id', ({ organizationId }) => ({ metadata: { organizationId } }), 'organization'],
      ['an organization by Clerk’s id', ({ org }) => ({ metadata: { organizationId: org } }), 'organization'],
      ['a user by our id', ({ userId }) => ({ metadata: { userId } }), 'user'],
      ['a user by Clerk’s id', ({ user }) => ({ metadata: { userId: user } }), 'user'],
      ['both: the organization', ({ user, org }) => ({ metadata: { userId: user, organizationId: org } }), 'organization'],
      ['an unknown organization, and a user', ({ userId }) => ({ metadata: { organizationId: 'org_of_nobody', userId } }), 'user'],
      ['an id in upper case', ({ organizationId }) => ({ metadata: { organizationId: organizationId.toUpperCase() } }), 'organization'],
      ['the customer’s metadata', ({ org }) => ({ customerMetadata: { organizationId: org } }), 'organization'],
      [
        'the customer’s metadata, and other metadata on the subscription',
        ({ org, user }) => ({ metadata: { userId: user }, customerMetadata: { organizationId: org } }),
        'user',
      ],
    ])('is found by the metadata: %s', async (_how, of, kind) => {
      const { metadata, customerMetadata } = of(names);
      const owner = [kind, kind === 'user' ? names.userId : names.organizationId];
      const polar = await billing.buyAtPolar({ metadata: metadata ?? {}, customer: polarCustomer({ metadata: customerMetadata ?? {} }) });
      expect(await billing.ownerOf(polar.id)).toEqual(owner);
      const customer = dodoCustomerDetails(dodoCustomer({ metadata: customerMetadata ?? {} }));
      const dodo = await billing.buyAtDodo({ metadata: metadata ?? {}, customer });
      expect(await billing.ownerOf(dodo.subscription_id)).toEqual(owner);
    });

    it.each<[string, (of: typeof names) => string, 'organization' | 'user']>([
      ['our id of an organization', ({ organizationId }) => organizationId, 'organization'],
      ['our id of a user', ({ userId }) => userId, 'user'],
      ['Clerk’s id of an organization', ({ org }) => org, 'organization'],
      ['Clerk’s id of a user', ({ user }) => user, 'user'],
    ])('is found by the customer’s external id: %s', async (_what, of, kind) => {
      const bought = await billing.buyAtPolar({ externalId: of(names) });
      expect(await billing.ownerOf(bought.id)).toEqual([kind, kind === 'user' ? names.userId : names.organizationId]);
    });

    it('is not found by an id of the other kind', async () => {
      const { organizationId, userId } = names;
      const bought = await billing.buyAtPolar({ metadata: { organizationId: userId, userId: organizationId } });
      expect(await billing.ownerOf(bought.id)).toEqual([null, null]);
    });
  });

  describe('without claims on the subscription', () => {
    it('is the owner of its customer, once that is known', async () => {
      const { id } = await billing.newTenant();
      const customer = polarCustomer();
      const bought = await billing.buyAtPolar({ customer });
      expect(await billing.ownerOf(bought.id)).toEqual([null, null]);
      await billing.emitPolar('customer.updated', { ...customer, external_id: id });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      const next = await billing.buyAtPolar({ customer: { ...customer, external_id: id } });
      expect(await billing.ownerOf(next.id)).toEqual(['organization', id]);
      // An object without an embedded customer has only the customer’s id.
      const bare = polarSubscription({ product_id: PRODUCT.pro, customer });
      await billing.emitPolar('subscription.created', { ...bare, customer: undefined });
      expect(await billing.ownerOf(bare.id)).toEqual(['organization', id]);
    });

    it('is the owner of its customer, also when only an older event names that owner', async () => {
      const { id, path } = await billing.newTenant();
      const payment = dodoPayment({}, dodoSubscription({ product_id: PRODUCT.pro }));
      const [before, after] = [billing.tick(), billing.tick()];
      await billing.emitDodo('payment.succeeded', { ...payment, customer: { ...payment.customer, metadata: null } }, after);
      const customer = { ...payment.customer, metadata: { organizationId: id } };
      await billing.emitDodo('payment.processing', { ...payment, status: 'processing', customer }, before);
      const { body } = await billing.t.http.get(`${path}/subscription/payments`).set(billing.operator.auth).expect(200);
      expect(body.data).toMatchObject([{ status: 'succeeded' }]);
    });

    it('is not the owner of another subscription of the same customer', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const customer = dodoCustomerDetails();
      const first = await billing.buyAtDodo({ customer, metadata: { organizationId: one.id } });
      const second = await billing.buyAtDodo({ customer, metadata: { organizationId: other.id } });
      const third = await billing.buyAtDodo({ customer });
      expect(await billing.ownerOf(first.subscription_id)).toEqual(['organization', one.id]);
      expect(await billing.ownerOf(second.subscription_id)).toEqual(['organization', other.id]);
      expect(await billing.ownerOf(third.subscription_id)).toEqual([null, null]);
    });

    it('changes when the metadata changes', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const bought = await billing.buyAtPolar({ metadata: { organizationId: one.id } });
      await billing.emitPolar('subscription.updated', { ...bought, metadata: { organizationId: other.id } });
      expect(await billing.organizationSubscription(one.id)).toMatchObject({ reason: 'none' });
      expect(await billing.organizationSubscription(other.id)).toMatchObject({ reason: 'active' });
    });

    it('is empty for unknown ids, and the subscription is stored', async () => {
      const { id, status } = await billing.buyAtPolar({ metadata: { organizationId: 'org_of_nobody' }, externalId: 'nobody' });
      expect(status).toBe('active');
      const ownerless = await billing.list({ owned: 'false' });
      expect(ownerless.find((one) => one.providerSubscriptionId === id)).toMatchObject({ ownerKind: null, ownerId: null, tier: 'pro' });
      expect((await billing.list({ owned: 'true' })).map((one) => one.providerSubscriptionId)).not.toContain(id);
    });

    it('is set when the user or the organization is created', async () => {
      const { clerk } = billing;
      const [user, org] = [newClerkId('user'), newClerkId('org')];
      const byUser = await billing.buyAtPolar({ externalId: user });
      const byOrganization = await billing.buyAtDodo({ metadata: { organizationId: org } });
      await billing.emitDodo('payment.succeeded', dodoPayment({}, byOrganization));
      await clerk.emit('organization.created', organizationData({ id: org }));
      const message = await clerk.emit('user.created', userData({ id: user }));
      const [userId, organizationId] = [(await clerk.user(user))!.id, await clerk.organizationId(org)];
      expect(await billing.ownerOf(byUser.id)).toEqual(['user', userId]);
      expect(await billing.ownerOf(byOrganization.subscription_id)).toEqual(['organization', organizationId]);
      expect(await billing.organizationSubscription(organizationId)).toMatchObject({ tier: 'pro', access: true });
      const { body: paid } = await billing.t.http
        .get(`/v1/organizations/${organizationId}/subscription/payments`)
        .set(billing.operator.auth)
        .expect(200);
      expect(paid.data).toHaveLength(1);
      const audit = `SELECT target_id, organization_id, changes FROM audit_log WHERE action = 'subscription.claimed' AND target_id = ANY ($1) ORDER BY created_at`;
      const [ownedByOrganization, ownedByUser] = await Promise.all([billing.idOf(byOrganization.subscription_id), billing.idOf(byUser.id)]);
      expect(await billing.t.db.rows(audit, [[ownedByOrganization, ownedByUser]])).toEqual([
        {
          target_id: ownedByOrganization,
          organization_id: organizationId,
          changes: { ownerKind: { after: 'organization' }, ownerId: { after: organizationId } },
        },
        { target_id: ownedByUser, organization_id: null, changes: { ownerKind: { after: 'user' }, ownerId: { after: userId } } },
      ]);
      expect(await billing.webhookEvent(message)).toMatchObject({ status: 'processed', attempts: 1 });
    });

    it('is set when the user first signs in with Clerk', async () => {
      const user = newClerkId('user');
      const bought = await billing.buyAtPolar({ metadata: { userId: user } });
      expect(await billing.clerk.tryAccess(user)).toEqual([200, undefined]);
      expect(await billing.userSubscription({ auth: await billing.clerk.as(user) })).toMatchObject({ tier: 'pro', access: true });
      expect((await billing.ownerOf(bought.id))[0]).toBe('user');
    });

    it('is set when events of Clerk and the billing provider are processed concurrently', async () => {
      const { t } = billing;
      const expected: { id: string; owner: string }[] = [];
      // No further event follows, because it would repair a lost race.
      const pairs = Array.from({ length: 150 }, (_, index): [provider: 'clerk' | 'polar' | 'dodo', event: object][] => {
        const [user, org] = [newClerkId('user'), newClerkId('org')];
        const polar = polarSubscription({ product_id: PRODUCT.pro, customer: polarCustomer({ external_id: user }) });
        const dodo = dodoSubscription({ product_id: PRODUCT.pro, metadata: { organizationId: org } });
        if (index % 2 === 0) {
          expected.push({ id: polar.id, owner: user });
          return [
            ['clerk', clerkEvent('user.created', userData({ id: user }))],
            ['polar', polarEvent('subscription.created', polar)],
          ];
        }
        expected.push({ id: dodo.subscription_id, owner: org });
        return [
          ['dodo', dodoEvent('subscription.active', dodo)],
          ['clerk', clerkEvent('organization.created', organizationData({ id: org }))],
        ];
      });
      for (const pair of pairs)
        await Promise.all(pair.map(async ([provider, event]) => deliver(t.url, JSON.stringify(event), { id: newMessageId(), provider })));
      await untilProcessed({ db: t.db, urls: () => [t.url] });
      const owners = await t.db.rows<{ id: string }>(
        `SELECT s.provider_subscription_id AS id, coalesce(u.clerk_user_id, o.clerk_organization_id) AS owner
           FROM subscriptions s LEFT JOIN users u ON u.id = s.owner_id LEFT JOIN organizations o ON o.id = s.owner_id
          WHERE s.provider_subscription_id = ANY ($1)`,
        [expected.map(({ id }) => id)],
      );
      expect(new Map(owners.map((row) => [row.id, row]))).toEqual(new Map(expected.map((row) => [row.id, row])));
      expect(await failedEvents({ db: t.db, urls: () => [t.url] })).toEqual([]);
    });
  });

  it.each(['before', 'after'] as const)(
    'is linked to a customer that an embedded object reports as deleted, %s the customer’s own event',
    async (when) => {
      const customer = polarCustomer();
      const bought = polarSubscription({ customer: { ...customer, deleted_at: inDays(0) } });
      const [earlier, later] = [billing.tick(), billing.tick()];
      const created = async () => billing.emitPolar('customer.created', customer, earlier);
      if (when === 'after') await created();
      await billing.emitPolar('subscription.updated', bought, later);
      if (when === 'before') await created();
      const text = 'SELECT deleted_at IS NOT NULL AS gone FROM billing_customers WHERE provider_customer_id = $1';
      expect(await billing.t.db.rows(text, [customer.id])).toEqual([{ gone: true }]);
    },
  );

  describe('when a local user is merged into a Clerk user', () => {
    /** A local user who verified the address two hours ago. */
    async function newLocal() {
      const person = await signUp(billing.t, { email: newAddress() });
      await verifyEmail(billing.t, person);
      await billing.t.db.rows(
        `UPDATE users SET created_at = now() - interval '2 hours', email_verified_at = now() - interval '2 hours' WHERE id = $1`,
        [person.id],
      );
      return person;
    }
    const clerkUser = (id: string, { email }: { email: string }) => userData({ id, email: { email, verified: true } });

    it('is the Clerk user, also for the payments', async () => {
      const local = await newLocal();
      const bought = await billing.buyAtPolar({ metadata: { userId: local.id } });
      await billing.emitPolar('order.paid', polarOrder({}, bought));
      const id = newClerkId('user');
      await billing.clerk.emit('user.created', clerkUser(id, local));
      const as = { auth: await billing.clerk.as(id) };
      expect(await billing.userSubscription(as)).toMatchObject({ tier: 'pro', access: true });
      const { body: paid } = await billing.t.http.get('/v1/subscription/payments').set(as.auth).expect(200);
      expect(paid.data).toHaveLength(1);
      const { id: userId } = (await billing.clerk.user(id))!;
      expect((await billing.list({ ownerId: userId })).map((one) => one.providerSubscriptionId)).toEqual([bought.id]);
    });

    it('is the Clerk user, also for a later event and after a purge of the local row', async () => {
      const local = await newLocal();
      const id = newClerkId('user');
      await billing.clerk.emit('user.created', clerkUser(id, local));
      const bought = await billing.buyAtPolar({ metadata: { userId: local.id } });
      const as = { auth: await billing.clerk.as(id) };
      expect(await billing.userSubscription(as)).toMatchObject({ tier: 'pro', access: true });
      expect((await billing.requestedCancellations()).ids).not.toContain(bought.id);
      await billing.t.db.rows(`UPDATE users SET deleted_at = now() - interval '900 days' WHERE id = $1`, [local.id]);
      await runJob(billing.t, billing.operator, 'purge_users');
      expect(await billing.t.db.rows('SELECT 1 FROM users WHERE id = $1', [local.id])).toEqual([]);
      await billing.emitPolar('subscription.updated', { ...bought, current_period_end: inDays(40) });
      expect(await billing.userSubscription(as)).toMatchObject({ tier: 'pro', access: true });
      expect((await billing.requestedCancellations()).ids).not.toContain(bought.id);
    });

    it('is gone after Clerk deletes the user, and the subscription is canceled', async () => {
      const local = await newLocal();
      const bought = await billing.buyAtPolar({ metadata: { userId: local.id } });
      const id = newClerkId('user');
      await billing.clerk.emit('user.created', clerkUser(id, local));
      await billing.clerk.emit('user.deleted', deletedData('user', id));
      expect((await billing.requestedCancellations()).ids).toContain(bought.id);
    });
  });
});
