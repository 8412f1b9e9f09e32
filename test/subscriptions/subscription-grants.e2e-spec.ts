import { BillingApp, inDays, PRODUCT } from '../support/billing/billing-app.js';
import { polarCustomer, polarOrder, polarSubscription } from '../support/billing/polar-events.js';
import { type SignedInPerson, signUp } from '../support/people.js';
import { createOrganization } from '../support/tenants.js';

const UNKNOWN_ID = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

describe('managing subscriptions as an operator', () => {
  let billing: BillingApp;
  let operator: SignedInPerson;
  beforeAll(async () => {
    billing = await BillingApp.start();
    ({ operator } = billing);
  });
  afterAll(() => billing.close());

  const grant = (body: object, headers: Record<string, string> = {}) =>
    billing.t.http.post('/v1/subscriptions').set(operator.auth).set(headers).send(body);
  const link = async (providerSubscriptionId: string, body: object) =>
    billing.t.http
      .post(`/v1/subscriptions/${await billing.idOf(providerSubscriptionId)}/link`)
      .set(operator.auth)
      .send(body);
  const end = (id: string) => billing.t.http.delete(`/v1/subscriptions/${id}`).set(operator.auth);
  /** Our id of the effective subscription. */
  const effectiveId = async (organizationId: string) => (await billing.organizationSubscription(organizationId)).explain.subscriptionId!;

  describe('a granted plan', () => {
    it('gives an organization the same access as a bought one, until it is ended', async () => {
      const { id, path, admin } = await billing.newTenant();
      const { body } = await grant({ organizationId: id, tier: 'business', seats: 10, note: 'A friend of the house' }).expect(201);
      expect(body).toMatchObject({
        provider: 'manual',
        providerSubscriptionId: null,
        tier: 'business',
        status: 'active',
        ownerKind: 'organization',
        ownerId: id,
        seats: 10,
        note: 'A friend of the house',
        grants: true,
        reason: 'active',
        until: null,
      });
      expect(await billing.organizationSubscription(id)).toMatchObject({
        tier: 'business',
        access: true,
        reason: 'active',
        seats: { used: 1, limit: 10 },
      });
      await end(await effectiveId(id)).expect(204);
      expect(await billing.organizationSubscription(id)).toMatchObject({
        tier: 'free',
        access: false,
        reason: 'lapsed',
        status: 'canceled',
      });
      // The note is for operators only.
      const { text } = await billing.t.http.get(`${path}/subscription`).set(admin.auth).expect(200);
      expect(text).not.toContain('A friend of the house');
    });

    it('can be for a user, under an alias of the plan, with an end', async () => {
      const person = await signUp(billing.t);
      const endsAt = inDays(3);
      await grant({ userId: person.id, tier: 'starter', endsAt }).expect(201);
      expect(await billing.userSubscription(person)).toMatchObject({ tier: 'pro', access: true, reason: 'ends', until: endsAt });
    });

    it('gives no access when its end is in the past', async () => {
      const person = await signUp(billing.t);
      await grant({ userId: person.id, tier: 'pro', endsAt: inDays(-1) }).expect(201);
      expect(await billing.userSubscription(person)).toMatchObject({ tier: 'free', access: false, reason: 'lapsed' });
    });

    it('is ended once, and a provider’s subscription is not ended here', async () => {
      const { id } = await billing.newTenant();
      await grant({ organizationId: id, tier: 'pro' }).expect(201);
      const granted = await effectiveId(id);
      await end(granted).expect(204);
      await end(granted).expect(204);
      const audit = `SELECT count(*)::int AS ends FROM audit_log WHERE action = 'subscription.grant_ended' AND target_id = $1`;
      expect(await billing.t.db.rows(audit, [granted])).toEqual([{ ends: 1 }]);
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      expect((await end(await billing.idOf(bought.id)).expect(409)).body.code).toBe('not_a_grant');
      expect((await end(UNKNOWN_ID).expect(404)).body.code).toBe('subscription_not_found');
      await end('not-an-id').expect(400);
    });

    it('is created once for repeated requests with one idempotency key', async () => {
      const { id } = await billing.newTenant();
      const key = { 'idempotency-key': `grant-${id}` };
      const body = { organizationId: id, tier: 'pro' };
      const answers = await Promise.all([grant(body, key), grant(body, key), grant(body, key)]);
      // A concurrent request may be answered with 409.
      expect(answers.every(({ status }) => status === 201 || status === 409)).toBe(true);
      const again = await grant(body, key).expect(201);
      expect(again.headers['idempotent-replayed']).toBe('true');
      expect(await billing.list({ ownerId: id })).toHaveLength(1);
      expect((await grant({ ...body, tier: 'business' }, key).expect(422)).body.code).toBe('idempotency_key_reused');
    });

    it.each<[string, object]>([
      ['no owner', { tier: 'pro' }],
      ['two owners', { tier: 'pro', organizationId: UNKNOWN_ID, userId: UNKNOWN_ID }],
      ['an invalid id', { tier: 'pro', userId: 'me' }],
      ['no plan', { organizationId: UNKNOWN_ID }],
      ['an unknown plan', { tier: 'platinum', organizationId: UNKNOWN_ID }],
      ['zero seats', { tier: 'pro', organizationId: UNKNOWN_ID, seats: 0 }],
      ['seats on a plan that is not per seat', { tier: 'pro', organizationId: UNKNOWN_ID, seats: 2 }],
      ['seats on an alias of such a plan', { tier: 'starter', organizationId: UNKNOWN_ID, seats: 1 }],
      ['half a seat', { tier: 'pro', organizationId: UNKNOWN_ID, seats: 1.5 }],
      ['an invalid date', { tier: 'pro', organizationId: UNKNOWN_ID, endsAt: '2026-02-30' }],
      ['a year out of range', { tier: 'pro', organizationId: UNKNOWN_ID, endsAt: '+275760-09-13T00:00:00.000Z' }],
      ['a note that is too long', { tier: 'pro', organizationId: UNKNOWN_ID, note: 'x'.repeat(501) }],
      ['an unknown field', { tier: 'pro', organizationId: UNKNOWN_ID, status: 'active' }],
    ])('is refused with %s', async (_what, body) => {
      const { body: problem } = await grant(body).expect(400);
      expect(problem).toMatchObject({ code: 'invalid_request' });
    });

    it('is refused for an unknown owner and for a deleted owner', async () => {
      for (const ids of [{ organizationId: UNKNOWN_ID }, { userId: UNKNOWN_ID }])
        expect((await grant({ tier: 'pro', ...ids }).expect(404)).body.code).toBe('owner_not_found');
      const person = await signUp(billing.t);
      await billing.t.http.delete('/v1/users/me').set(person.auth).expect(204);
      expect((await grant({ tier: 'pro', userId: person.id }).expect(404)).body.code).toBe('owner_not_found');
    });
  });

  describe('linking a subscription', () => {
    it('assigns it to the owner permanently, with its customer and payments', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const customer = polarCustomer();
      const bought = await billing.buyAtPolar({ customer });
      await billing.emitPolar('order.paid', polarOrder({}, bought));
      const { status, body } = await link(bought.id, { organizationId: one.id });
      expect([status, body.ownerKind, body.ownerId]).toEqual([200, 'organization', one.id]);
      expect(await billing.organizationSubscription(one.id)).toMatchObject({ tier: 'pro', access: true });
      const { body: paid } = await billing.t.http.get(`${one.path}/subscription/payments`).set(one.admin.auth).expect(200);
      expect(paid.data).toHaveLength(1);
      const next = await billing.buyAtPolar({ customer });
      expect(await billing.ownerOf(next.id)).toEqual(['organization', one.id]);
      // Later events do not change the owner.
      await billing.emitPolar('subscription.updated', { ...bought, metadata: { organizationId: other.id } });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', one.id]);
      await billing.emitPolar('customer.updated', { ...customer, external_id: other.id });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', one.id]);
    });

    it('leaves a customer with another owner unchanged', async () => {
      const [one, other] = [await billing.newTenant(), await billing.newTenant()];
      const customer = polarCustomer({ external_id: one.id });
      const [first, second] = [await billing.buyAtPolar({ customer }), await billing.buyAtPolar({ customer })];
      expect((await link(first.id, { userId: other.admin.id })).status).toBe(200);
      expect(await billing.ownerOf(first.id)).toEqual(['user', other.admin.id]);
      expect(await billing.ownerOf(second.id)).toEqual(['organization', one.id]);
      // A subscription without own claims follows its customer.
      const bare = polarSubscription({ product_id: PRODUCT.pro, customer });
      await billing.emitPolar('subscription.created', { ...bare, customer: undefined });
      expect(await billing.ownerOf(bare.id)).toEqual(['organization', one.id]);
    });

    it('is refused without an owner, with two owners, and for an unknown owner', async () => {
      const { id } = await billing.newTenant();
      const bought = await billing.buyAtPolar();
      expect((await link(bought.id, {})).status).toBe(400);
      expect((await link(bought.id, { organizationId: id, userId: UNKNOWN_ID })).status).toBe(400);
      const { status, body } = await link(bought.id, { userId: UNKNOWN_ID });
      expect([status, body.code]).toEqual([404, 'owner_not_found']);
      await billing.t.http.post(`/v1/subscriptions/${UNKNOWN_ID}/link`).set(operator.auth).send({ organizationId: id }).expect(404);
      expect(await billing.ownerOf(bought.id)).toEqual([null, null]);
    });

    it('is refused after a concurrent deletion of the owner, or the deletion cancels the subscription', async () => {
      const rounds = await Promise.all(
        Array.from({ length: 12 }, async () => {
          const { id, path, admin } = await billing.newTenant();
          const bought = await billing.buyAtPolar();
          const [linked, deleted] = await Promise.all([
            link(bought.id, { organizationId: id }),
            billing.t.http.delete(`${path}?cancelSubscription=true`).set(admin.auth),
          ]);
          return { id: bought.id, linked: linked.status, deleted: deleted.status };
        }),
      );
      // No subscription may keep charging for a deleted owner.
      const { ids } = await billing.requestedCancellations();
      for (const { id, linked, deleted } of rounds) {
        expect(deleted).toBe(204);
        expect([id, linked, ids.includes(id)]).toEqual([id, linked === 404 ? 404 : 200, linked === 200]);
      }
    });
  });

  describe('the list of subscriptions', () => {
    it('filters by owner, provider, status and whether it has an owner, newest first', async () => {
      const { id } = await billing.newTenant();
      const polar = await billing.buyAtPolar({ metadata: { organizationId: id } });
      const dodo = await billing.buyAtDodo({ metadata: { organizationId: id }, status: 'on_hold', product_id: PRODUCT.business });
      await grant({ organizationId: id, tier: 'pro' }).expect(201);
      const seen = async (query: Record<string, string>) =>
        (await billing.list({ ownerId: id, ...query })).map(({ providerSubscriptionId }) => providerSubscriptionId);
      expect(await seen({})).toEqual([null, dodo.subscription_id, polar.id]);
      expect(await seen({ provider: 'dodo' })).toEqual([dodo.subscription_id]);
      expect(await seen({ status: 'unpaid' })).toEqual([dodo.subscription_id]);
      expect(await seen({ status: 'active', provider: 'manual' })).toEqual([null]);
      expect(await seen({ owned: 'false' })).toEqual([]);
    });

    it('returns each subscription once over several pages', async () => {
      const { id } = await billing.newTenant();
      for (let index = 0; index < 5; index += 1) await billing.buyAtDodo({ metadata: { organizationId: id } });
      const all = (await billing.list({ ownerId: id })).map((one) => one.providerSubscriptionId);
      const seen: (string | null)[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const query: Record<string, string> = { ownerId: id, limit: '2', ...(cursor === '' ? {} : { cursor }) };
        const { body } = await billing.t.http.get('/v1/subscriptions').query(query).set(operator.auth).expect(200);
        seen.push(...(body.data as { providerSubscriptionId: string }[]).map((one) => one.providerSubscriptionId));
        cursor = body.nextCursor;
      }
      expect(seen).toEqual(all);
      expect(seen).toHaveLength(5);
    });

    it.each(['provider=stripe', 'status=ended', 'owned=maybe', 'ownerId=me', 'limit=0', 'cursor=made.up', 'surprise=1'])(
      'is refused with ?%s',
      async (query) => {
        await billing.t.http.get(`/v1/subscriptions?${query}`).set(operator.auth).expect(400);
      },
    );
  });

  it('is refused for everyone but operators', async () => {
    const { admin, id } = await billing.newTenant();
    await createOrganization(billing.t, admin);
    const forbidden = [
      await billing.t.http.get('/v1/subscriptions').set(admin.auth),
      await billing.t.http.post('/v1/subscriptions').set(admin.auth).send({ organizationId: id, tier: 'business' }),
      await billing.t.http.post(`/v1/subscriptions/${UNKNOWN_ID}/link`).set(admin.auth).send({ organizationId: id }),
      await billing.t.http.delete(`/v1/subscriptions/${UNKNOWN_ID}`).set(admin.auth),
    ];
    expect(forbidden.map(({ status }) => status)).toEqual([403, 403, 403, 403]);
    expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free' });
  });
});
