import { BillingApp, inDays, PRODUCT } from '../../support/billing/billing-app.js';
import { newClerkId } from '../../support/clerk/clerk-app.js';
import { deletedData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { polarCustomer } from '../../support/billing/polar-events.js';
import { signUp } from '../../support/people.js';
import { runJob } from '../../support/tenants.js';

describe('deleting an owner of subscriptions', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  /** Whether a subscription is to end at its provider, and that it was written down once. */
  async function isToEnd(providerSubscriptionId: string): Promise<boolean> {
    const audit = `SELECT count(*)::int AS asked FROM audit_log WHERE action = 'subscription.end_requested' AND target_id = $1`;
    const [row] = await billing.t.db.rows<{ asked: number }>(audit, [await billing.idOf(providerSubscriptionId)]);
    const { ids, errands } = await billing.endsRequested();
    expect(errands).toBeGreaterThanOrEqual(ids.length);
    const isRequested = ids.includes(providerSubscriptionId);
    expect(row!.asked).toBe(Number(isRequested));
    return isRequested;
  }

  const withCancel = { cancelSubscription: 'true' };

  it.each([
    ['active', {}],
    ['trialing', { status: 'trialing', trial_end: inDays(3) }],
    ['past due', { status: 'past_due', past_due_at: inDays(-1) }],
    ['paused', { status: 'paused' }],
    ['unpaid', { status: 'unpaid' }],
    ['of a product in no plan', { product_id: 'a-mug' }],
  ] as const)('is refused while one is %s, unless it is to end, too', async (_how, given) => {
    const { admin, id, path } = await billing.newTenant();
    const ofOrganization = await billing.buyAtPolar({ metadata: { organizationId: id }, ...given });
    const ofUser = await billing.buyAtPolar({ metadata: { userId: admin.id }, ...given });
    expect((await billing.t.http.delete(path).set(admin.auth).expect(409)).body.code).toBe('subscription_active');
    expect((await billing.t.http.delete(path).query({ cancelSubscription: 'false' }).set(admin.auth).expect(409)).body.code).toBe(
      'subscription_active',
    );
    expect(await isToEnd(ofOrganization.id)).toBe(false);
    await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
    expect([await isToEnd(ofOrganization.id), await isToEnd(ofUser.id)]).toEqual([true, false]);

    expect((await billing.t.http.delete('/v1/users/me').set(admin.auth).expect(409)).body.code).toBe('subscription_active');
    await billing.t.http.delete('/v1/users/me').query(withCancel).set(admin.auth).expect(204);
    expect(await isToEnd(ofUser.id)).toBe(true);
  });

  it.each([
    ['is over', { status: 'canceled' }],
    ['ends with its period', { cancel_at_period_end: true, ends_at: inDays(3) }],
    ['was never paid', { status: 'incomplete' }],
  ] as const)('needs nothing where one %s', async (_how, given) => {
    const { admin, id, path } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id }, ...given });
    await billing.t.http.delete(path).set(admin.auth).expect(204);
    expect(await isToEnd(bought.id)).toBe(false);
  });

  it('needs nothing where one was granted', async () => {
    const { admin, id, path } = await billing.newTenant();
    await billing.t.http.post('/v1/subscriptions').set(billing.operator.auth).send({ organizationId: id, tier: 'pro' }).expect(201);
    await billing.t.http.delete(path).set(admin.auth).expect(204);
  });

  it('is refused with a wrong wish', async () => {
    const { admin, path } = await billing.newTenant();
    await billing.t.http.delete(path).query({ cancelSubscription: 'maybe' }).set(admin.auth).expect(400);
    await billing.t.http.delete('/v1/users/me').query({ cancelSubscription: '' }).set(admin.auth).expect(400);
  });

  it('ends all that goes on charging, at every provider, once', async () => {
    const { admin, id, path } = await billing.newTenant();
    const metadata = { organizationId: id };
    const polar = await billing.buyAtPolar({ metadata });
    const dodo = await billing.buyAtDodo({ metadata });
    await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
    await billing.tellPolar('subscription.updated', { ...polar, seats: 2 });
    await billing.tellDodo('subscription.updated', dodo);
    expect([await isToEnd(polar.id), await isToEnd(dodo.subscription_id)]).toEqual([true, true]);
  });

  it('changes nothing of what an organization pays when one of its people goes', async () => {
    const { admin, id } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id, userId: admin.id } });
    const leaver = await signUp(billing.t);
    await billing.t.http.delete('/v1/users/me').set(leaver.auth).expect(204);
    expect(await isToEnd(bought.id)).toBe(false);
  });

  describe('by Clerk', () => {
    it('applies always, and has what they are charged for ended', async () => {
      const { clerk } = billing;
      const [user, org] = [newClerkId('user'), newClerkId('org')];
      await clerk.tell('user.created', userData({ id: user }));
      await clerk.tell('organization.created', organizationData({ id: org }));
      const ofUser = await billing.buyAtPolar({ metadata: { userId: user } });
      const ofOrganization = await billing.buyAtDodo({ metadata: { organizationId: org } });
      const ended = await billing.buyAtDodo({ metadata: { organizationId: org }, status: 'expired' });
      const messages = [
        await clerk.tell('user.deleted', deletedData('user', user)),
        await clerk.tell('organization.deleted', deletedData('organization', org)),
      ];
      for (const message of messages) expect(await billing.fateOf(message)).toMatchObject({ status: 'processed', last_error: null });
      expect(await isToEnd(ofUser.id)).toBe(true);
      expect(await isToEnd(ofOrganization.subscription_id)).toBe(true);
      expect(await isToEnd(ended.subscription_id)).toBe(false);
    });

    it('of somebody nobody has heard of ends what is bought for them later', async () => {
      const org = newClerkId('org');
      await billing.clerk.tell('organization.deleted', deletedData('organization', org));
      const bought = await billing.buyAtPolar({ metadata: { organizationId: org } });
      expect(await isToEnd(bought.id)).toBe(true);
    });
  });

  describe('and a subscription that comes for them afterwards', () => {
    it('is stored, theirs, and to end', async () => {
      const { admin, id, path } = await billing.newTenant();
      await billing.t.http.delete(path).set(admin.auth).expect(204);
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      expect(await isToEnd(bought.id)).toBe(true);
    });

    it('is to end as soon as it charges, and not before', async () => {
      const { admin, id, path } = await billing.newTenant();
      const customer = polarCustomer({ external_id: id });
      const bought = await billing.buyAtPolar({ customer, status: 'incomplete' });
      await billing.t.http.delete(path).set(admin.auth).expect(204);
      expect(await isToEnd(bought.id)).toBe(false);
      await billing.tellPolar('subscription.active', { ...bought, status: 'active' });
      expect(await isToEnd(bought.id)).toBe(true);
    });

    it('is to end, too, if an operator said that its customer is them', async () => {
      const { admin, id, path } = await billing.newTenant();
      // It is nowhere in what the provider tells.
      const customer = polarCustomer();
      const first = await billing.buyAtPolar({ customer, status: 'canceled' });
      await billing.t.http
        .post(`/v1/subscriptions/${await billing.idOf(first.id)}/link`)
        .set(billing.operator.auth)
        .send({ organizationId: id })
        .expect(200);
      await billing.t.http.delete(path).set(admin.auth).expect(204);
      const bought = await billing.buyAtPolar({ customer, product_id: PRODUCT.business });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      expect(await isToEnd(bought.id)).toBe(true);
    });

    it('never goes on charging, however close it comes to the deletion', async () => {
      const rounds = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const { admin, id, path } = await billing.newTenant();
          const [bought, { status }] = await Promise.all([
            billing.buyAtPolar({ metadata: { organizationId: id } }),
            billing.t.http.delete(path).set(admin.auth),
          ]);
          return { id: bought.id, status };
        }),
      );
      const { ids } = await billing.endsRequested();
      for (const { id, status } of rounds) expect([id, status, ids.includes(id)]).toEqual([id, status, status === 204]);
    });

    it('is the organization’s again when that is restored', async () => {
      const { admin, id, path } = await billing.newTenant();
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
      expect(await isToEnd(bought.id)).toBe(true);
      await billing.t.http.post(`${path}/restore`).set(billing.operator.auth).expect(200);
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      // Nobody ended it yet, and nobody will.
      expect((await billing.endsRequested()).ids).not.toContain(bought.id);
      expect((await billing.t.http.delete(path).set(admin.auth).expect(409)).body.code).toBe('subscription_active');
      await billing.tellPolar('subscription.revoked', { ...bought, status: 'canceled' });
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'free', reason: 'lapsed' });
      // What is bought then goes on, and what comes back.
      const next = await billing.buyAtPolar({ metadata: { organizationId: id } });
      expect(await isToEnd(next.id)).toBe(false);
      expect(await billing.stateOf(id)).toMatchObject({ tier: 'pro', access: true });
    });

    it('that comes back is to end again, also when its owner was purged', async () => {
      const { admin, id, path } = await billing.newTenant();
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
      await billing.tellPolar('subscription.revoked', { ...bought, status: 'canceled' });
      expect((await billing.endsRequested()).ids).not.toContain(bought.id);
      await billing.tellPolar('subscription.active', bought);
      expect((await billing.endsRequested()).ids).toContain(bought.id);

      await billing.tellPolar('subscription.revoked', { ...bought, status: 'canceled' });
      await billing.t.db.rows(`UPDATE organizations SET deleted_at = now() - interval '1 year' WHERE id = $1`, [id]);
      await runJob(billing.t, billing.operator, 'purge_organizations');
      await billing.tellPolar('subscription.active', bought);
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      await runJob(billing.t, billing.operator, 'end_subscriptions');
      expect((await billing.endsRequested()).ids).toContain(bought.id);
    });
  });
});
