import { BillingApp, inDays, PRODUCT } from '../../support/billing/billing-app.js';
import { newAddress, newClerkId } from '../../support/clerk/clerk-app.js';
import { givenUp, settled } from '../../support/clerk/clerk-deliveries.js';
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

describe('whose a subscription is', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  /** Somebody of Clerk's and their organization, ours and Clerk's ids of them. */
  async function newClerkTenant() {
    const { clerk } = billing;
    const [user, org] = [newClerkId('user'), newClerkId('org')];
    const membership = { id: newClerkId('orgmem'), organization: { id: org }, user: { id: user }, role: 'org:admin' };
    await clerk.tell('user.created', userData({ id: user, email: { email: newAddress(), verified: true } }));
    await clerk.tell('organization.created', organizationData({ id: org }));
    await clerk.tell('organizationMembership.created', membershipData(membership));
    return { user, org, userId: (await clerk.user(user))!.id, organizationId: await clerk.organizationId(org) };
  }

  describe('is said', () => {
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
      ['both: it is the organization’s', ({ user, org }) => ({ metadata: { userId: user, organizationId: org } }), 'organization'],
      ['an organization nobody knows, and a user', ({ userId }) => ({ metadata: { organizationId: 'org_of_nobody', userId } }), 'user'],
      ['an id in other letters', ({ organizationId }) => ({ metadata: { organizationId: organizationId.toUpperCase() } }), 'organization'],
      ['in the customer’s metadata', ({ org }) => ({ customerMetadata: { organizationId: org } }), 'organization'],
      [
        'there, and otherwise on what was bought',
        ({ org, user }) => ({ metadata: { userId: user }, customerMetadata: { organizationId: org } }),
        'user',
      ],
    ])('by the metadata: %s', async (_how, of, kind) => {
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
    ])('by the customer’s external id: %s', async (_what, of, kind) => {
      const bought = await billing.buyAtPolar({ externalId: of(names) });
      expect(await billing.ownerOf(bought.id)).toEqual([kind, kind === 'user' ? names.userId : names.organizationId]);
    });

    it('by no id of the other kind', async () => {
      const { organizationId, userId } = names;
      const bought = await billing.buyAtPolar({ metadata: { organizationId: userId, userId: organizationId } });
      expect(await billing.ownerOf(bought.id)).toEqual([null, null]);
    });
  });

  describe('that says nothing itself', () => {
    it('is its customer’s, whenever that is told', async () => {
      const { id } = await billing.newTenant();
      const customer = polarCustomer();
      const bought = await billing.buyAtPolar({ customer });
      expect(await billing.ownerOf(bought.id)).toEqual([null, null]);
      await billing.tellPolar('customer.updated', { ...customer, external_id: id });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      const next = await billing.buyAtPolar({ customer: { ...customer, external_id: id } });
      expect(await billing.ownerOf(next.id)).toEqual(['organization', id]);
      // An object without its customer tells only whose it is.
      const bare = polarSubscription({ product_id: PRODUCT.pro, customer });
      await billing.tellPolar('subscription.created', { ...bare, customer: undefined });
      expect(await billing.ownerOf(bare.id)).toEqual(['organization', id]);
    });

    it('is its customer’s, also where only an older event says whose that is', async () => {
      const { id, path } = await billing.newTenant();
      const payment = dodoPayment({}, dodoSubscription({ product_id: PRODUCT.pro }));
      const [before, after] = [billing.tick(), billing.tick()];
      await billing.tellDodo('payment.succeeded', { ...payment, customer: { ...payment.customer, metadata: null } }, after);
      const customer = { ...payment.customer, metadata: { organizationId: id } };
      await billing.tellDodo('payment.processing', { ...payment, status: 'processing', customer }, before);
      const { body } = await billing.t.http.get(`${path}/subscription/payments`).set(billing.operator.auth).expect(200);
      expect(body.data).toMatchObject([{ status: 'succeeded' }]);
    });

    it('is not whose another subscription of the same customer is', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const customer = dodoCustomerDetails();
      const first = await billing.buyAtDodo({ customer, metadata: { organizationId: one.id } });
      const second = await billing.buyAtDodo({ customer, metadata: { organizationId: other.id } });
      const third = await billing.buyAtDodo({ customer });
      expect(await billing.ownerOf(first.subscription_id)).toEqual(['organization', one.id]);
      expect(await billing.ownerOf(second.subscription_id)).toEqual(['organization', other.id]);
      expect(await billing.ownerOf(third.subscription_id)).toEqual([null, null]);
    });

    it('changes hands when its metadata does', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const bought = await billing.buyAtPolar({ metadata: { organizationId: one.id } });
      await billing.tellPolar('subscription.updated', { ...bought, metadata: { organizationId: other.id } });
      expect(await billing.stateOf(one.id)).toMatchObject({ reason: 'none' });
      expect(await billing.stateOf(other.id)).toMatchObject({ reason: 'active' });
    });

    it('is stored, nobody’s, and no failure, where nobody is known', async () => {
      const { id, status } = await billing.buyAtPolar({ metadata: { organizationId: 'org_of_nobody' }, externalId: 'nobody' });
      expect(status).toBe('active');
      const ownerless = await billing.list({ owned: 'false' });
      expect(ownerless.find((one) => one.providerSubscriptionId === id)).toMatchObject({ ownerKind: null, ownerId: null, tier: 'pro' });
      expect((await billing.list({ owned: 'true' })).map((one) => one.providerSubscriptionId)).not.toContain(id);
    });

    it('is claimed when the user or the organization appears', async () => {
      const { clerk } = billing;
      const [user, org] = [newClerkId('user'), newClerkId('org')];
      const byUser = await billing.buyAtPolar({ externalId: user });
      const byOrganization = await billing.buyAtDodo({ metadata: { organizationId: org } });
      await billing.tellDodo('payment.succeeded', dodoPayment({}, byOrganization));
      await clerk.tell('organization.created', organizationData({ id: org }));
      const message = await clerk.tell('user.created', userData({ id: user }));
      const [userId, organizationId] = [(await clerk.user(user))!.id, await clerk.organizationId(org)];
      expect(await billing.ownerOf(byUser.id)).toEqual(['user', userId]);
      expect(await billing.ownerOf(byOrganization.subscription_id)).toEqual(['organization', organizationId]);
      expect(await billing.stateOf(organizationId)).toMatchObject({ tier: 'pro', access: true });
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
      expect(await billing.fateOf(message)).toMatchObject({ status: 'processed', attempts: 1 });
    });

    it('is claimed by who is first seen with a token of Clerk’s', async () => {
      const user = newClerkId('user');
      const bought = await billing.buyAtPolar({ metadata: { userId: user } });
      expect(await billing.clerk.knock(user)).toEqual([200, undefined]);
      expect(await billing.ownState({ auth: await billing.clerk.as(user) })).toMatchObject({ tier: 'pro', access: true });
      expect((await billing.ownerOf(bought.id))[0]).toBe('user');
    });

    it('is claimed, however close the events of Clerk and of its provider come', async () => {
      const { t } = billing;
      const expected: { id: string; owner: string }[] = [];
      // Nothing else is told of the customer: a later event would make up for what the race lost.
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
      await settled({ db: t.db, urls: () => [t.url] });
      const owners = await t.db.rows<{ id: string }>(
        `SELECT s.provider_subscription_id AS id, coalesce(u.clerk_user_id, o.clerk_organization_id) AS owner
           FROM subscriptions s LEFT JOIN users u ON u.id = s.owner_id LEFT JOIN organizations o ON o.id = s.owner_id
          WHERE s.provider_subscription_id = ANY ($1)`,
        [expected.map(({ id }) => id)],
      );
      expect(new Map(owners.map((row) => [row.id, row]))).toEqual(new Map(expected.map((row) => [row.id, row])));
      expect(await givenUp({ db: t.db, urls: () => [t.url] })).toEqual([]);
    });
  });

  it.each(['before', 'after'] as const)(
    'hangs on a customer who is gone once that is told in passing, %s what else is told of them',
    async (when) => {
      const customer = polarCustomer();
      const bought = polarSubscription({ customer: { ...customer, deleted_at: inDays(0) } });
      const [earlier, later] = [billing.tick(), billing.tick()];
      const created = async () => billing.tellPolar('customer.created', customer, earlier);
      if (when === 'after') await created();
      await billing.tellPolar('subscription.updated', bought, later);
      if (when === 'before') await created();
      const text = 'SELECT deleted_at IS NOT NULL AS gone FROM billing_customers WHERE provider_customer_id = $1';
      expect(await billing.t.db.rows(text, [customer.id])).toEqual([{ gone: true }]);
    },
  );

  describe('of a local user who turns out to be one of Clerk’s', () => {
    /** Two hours ago they proved the address that Clerk tells of now. */
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

    it('is that one’s, with all payments', async () => {
      const local = await newLocal();
      const bought = await billing.buyAtPolar({ metadata: { userId: local.id } });
      await billing.tellPolar('order.paid', polarOrder({}, bought));
      const id = newClerkId('user');
      await billing.clerk.tell('user.created', clerkUser(id, local));
      const as = { auth: await billing.clerk.as(id) };
      expect(await billing.ownState(as)).toMatchObject({ tier: 'pro', access: true });
      const { body: paid } = await billing.t.http.get('/v1/subscription/payments').set(as.auth).expect(200);
      expect(paid.data).toHaveLength(1);
      const { id: userId } = (await billing.clerk.user(id))!;
      expect((await billing.list({ ownerId: userId })).map((one) => one.providerSubscriptionId)).toEqual([bought.id]);
    });

    it('is that one’s, too, where it is told only after they became one, and stays when the local row is purged', async () => {
      const local = await newLocal();
      const id = newClerkId('user');
      await billing.clerk.tell('user.created', clerkUser(id, local));
      const bought = await billing.buyAtPolar({ metadata: { userId: local.id } });
      const as = { auth: await billing.clerk.as(id) };
      expect(await billing.ownState(as)).toMatchObject({ tier: 'pro', access: true });
      expect((await billing.endsRequested()).ids).not.toContain(bought.id);
      await billing.t.db.rows(`UPDATE users SET deleted_at = now() - interval '900 days' WHERE id = $1`, [local.id]);
      await runJob(billing.t, billing.operator, 'purge_users');
      expect(await billing.t.db.rows('SELECT 1 FROM users WHERE id = $1', [local.id])).toEqual([]);
      await billing.tellPolar('subscription.updated', { ...bought, current_period_end: inDays(40) });
      expect(await billing.ownState(as)).toMatchObject({ tier: 'pro', access: true });
      expect((await billing.endsRequested()).ids).not.toContain(bought.id);
    });

    it('is ended when Clerk deletes them', async () => {
      const local = await newLocal();
      const bought = await billing.buyAtPolar({ metadata: { userId: local.id } });
      const id = newClerkId('user');
      await billing.clerk.tell('user.created', clerkUser(id, local));
      await billing.clerk.tell('user.deleted', deletedData('user', id));
      expect((await billing.endsRequested()).ids).toContain(bought.id);
    });
  });
});
