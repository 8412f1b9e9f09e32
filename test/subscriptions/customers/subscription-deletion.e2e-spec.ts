import { BillingApp, inDays, PRODUCT } from '../../support/billing/billing-app.js';
import { newClerkId } from '../../support/clerk/clerk-app.js';
import { deletedData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { polarCustomer } from '../../support/billing/polar-events.js';
import { signUp } from '../../support/people.js';
import { createOrganization, runJob } from '../../support/tenants.js';

describe('deleting an owner of subscriptions', () => {
  let billing: BillingApp;
  beforeAll(async () => {
    billing = await BillingApp.start();
  });
  afterAll(() => billing.close());

  /** Whether a cancellation is requested at the provider, with one audit entry. */
  async function isCancellationRequested(providerSubscriptionId: string): Promise<boolean> {
    const audit = `SELECT count(*)::int AS requests FROM audit_log WHERE action = 'subscription.end_requested' AND target_id = $1`;
    const [row] = await billing.t.db.rows<{ requests: number }>(audit, [await billing.idOf(providerSubscriptionId)]);
    const { ids, outboxEntries } = await billing.requestedCancellations();
    expect(outboxEntries).toBeGreaterThanOrEqual(ids.length);
    const isRequested = ids.includes(providerSubscriptionId);
    expect(row!.requests).toBe(Number(isRequested));
    return isRequested;
  }

  const withCancel = { cancelSubscription: 'true' };

  it.each([
    ['active', {}],
    ['trialing', { status: 'trialing', trial_end: inDays(3) }],
    ['past due', { status: 'past_due', past_due_at: inDays(-1) }],
    ['paused', { status: 'paused' }],
    ['unpaid', { status: 'unpaid' }],
    ['for an unknown product', { product_id: 'a-mug' }],
  ] as const)('is refused while a subscription is %s, unless the request also cancels it', async (_how, given) => {
    const { admin, id, path } = await billing.newTenant();
    const ofOrganization = await billing.buyAtPolar({ metadata: { organizationId: id }, ...given });
    const ofUser = await billing.buyAtPolar({ metadata: { userId: admin.id }, ...given });
    expect((await billing.t.http.delete(path).set(admin.auth).expect(409)).body.code).toBe('subscription_active');
    expect((await billing.t.http.delete(path).query({ cancelSubscription: 'false' }).set(admin.auth).expect(409)).body.code).toBe(
      'subscription_active',
    );
    expect(await isCancellationRequested(ofOrganization.id)).toBe(false);
    await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
    expect([await isCancellationRequested(ofOrganization.id), await isCancellationRequested(ofUser.id)]).toEqual([true, false]);

    expect((await billing.t.http.delete('/v1/users/me').set(admin.auth).expect(409)).body.code).toBe('subscription_active');
    await billing.t.http.delete('/v1/users/me').query(withCancel).set(admin.auth).expect(204);
    expect(await isCancellationRequested(ofUser.id)).toBe(true);
  });

  it.each([
    ['has ended', { status: 'canceled' }],
    ['ends with its period', { cancel_at_period_end: true, ends_at: inDays(3) }],
    ['was never paid', { status: 'incomplete' }],
  ] as const)('needs no cancellation where one %s', async (_how, given) => {
    const { admin, id, path } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id }, ...given });
    await billing.t.http.delete(path).set(admin.auth).expect(204);
    expect(await isCancellationRequested(bought.id)).toBe(false);
  });

  it('needs no cancellation of a grant', async () => {
    const { admin, id, path } = await billing.newTenant();
    await billing.t.http.post('/v1/subscriptions').set(billing.operator.auth).send({ organizationId: id, tier: 'pro' }).expect(201);
    await billing.t.http.delete(path).set(admin.auth).expect(204);
  });

  it('is refused with an invalid parameter', async () => {
    const { admin, path } = await billing.newTenant();
    await billing.t.http.delete(path).query({ cancelSubscription: 'maybe' }).set(admin.auth).expect(400);
    await billing.t.http.delete('/v1/users/me').query({ cancelSubscription: '' }).set(admin.auth).expect(400);
  });

  it('cancels every renewing subscription at every provider once', async () => {
    const { admin, id, path } = await billing.newTenant();
    const metadata = { organizationId: id };
    const polar = await billing.buyAtPolar({ metadata });
    const dodo = await billing.buyAtDodo({ metadata });
    await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
    await billing.emitPolar('subscription.updated', { ...polar, seats: 2 });
    await billing.emitDodo('subscription.updated', dodo);
    expect([await isCancellationRequested(polar.id), await isCancellationRequested(dodo.subscription_id)]).toEqual([true, true]);
  });

  it('of a member does not change the organization’s subscription', async () => {
    const { admin, id } = await billing.newTenant();
    const bought = await billing.buyAtPolar({ metadata: { organizationId: id, userId: admin.id } });
    const leaver = await signUp(billing.t);
    await billing.t.http.delete('/v1/users/me').set(leaver.auth).expect(204);
    expect(await isCancellationRequested(bought.id)).toBe(false);
  });

  describe('by a Clerk event', () => {
    it('always succeeds, and cancels the subscriptions', async () => {
      const { clerk } = billing;
      const [user, org] = [newClerkId('user'), newClerkId('org')];
      await clerk.emit('user.created', userData({ id: user }));
      await clerk.emit('organization.created', organizationData({ id: org }));
      const ofUser = await billing.buyAtPolar({ metadata: { userId: user } });
      const ofOrganization = await billing.buyAtDodo({ metadata: { organizationId: org } });
      const ended = await billing.buyAtDodo({ metadata: { organizationId: org }, status: 'expired' });
      const messages = [
        await clerk.emit('user.deleted', deletedData('user', user)),
        await clerk.emit('organization.deleted', deletedData('organization', org)),
      ];
      for (const message of messages) expect(await billing.webhookEvent(message)).toMatchObject({ status: 'processed', last_error: null });
      expect(await isCancellationRequested(ofUser.id)).toBe(true);
      expect(await isCancellationRequested(ofOrganization.subscription_id)).toBe(true);
      expect(await isCancellationRequested(ended.subscription_id)).toBe(false);
    });

    it('of an unknown organization cancels subscriptions that are bought for it later', async () => {
      const org = newClerkId('org');
      await billing.clerk.emit('organization.deleted', deletedData('organization', org));
      const bought = await billing.buyAtPolar({ metadata: { organizationId: org } });
      expect(await isCancellationRequested(bought.id)).toBe(true);
    });
  });

  describe('followed by an event of a subscription', () => {
    it('stores it with its owner, and cancels it', async () => {
      const { admin, id, path } = await billing.newTenant();
      await billing.t.http.delete(path).set(admin.auth).expect(204);
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      expect(await isCancellationRequested(bought.id)).toBe(true);
    });

    it('cancels it as soon as it charges, and not before', async () => {
      const { admin, id, path } = await billing.newTenant();
      const customer = polarCustomer({ external_id: id });
      const bought = await billing.buyAtPolar({ customer, status: 'incomplete' });
      await billing.t.http.delete(path).set(admin.auth).expect(204);
      expect(await isCancellationRequested(bought.id)).toBe(false);
      await billing.emitPolar('subscription.active', { ...bought, status: 'active' });
      expect(await isCancellationRequested(bought.id)).toBe(true);
    });

    it('also cancels it when an operator linked its customer', async () => {
      const { admin, id, path } = await billing.newTenant();
      // No event contains this link.
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
      expect(await isCancellationRequested(bought.id)).toBe(true);
    });

    it('cancels it, also when both happen concurrently', async () => {
      const admin = await signUp(billing.t);
      const race = async () => {
        const { id, path } = await createOrganization(billing.t, admin);
        const [bought, { status }] = await Promise.all([
          billing.buyAtPolar({ metadata: { organizationId: id } }),
          billing.t.http.delete(path).set(admin.auth),
        ]);
        return { id: bought.id, status };
      };
      const rounds: Awaited<ReturnType<typeof race>>[] = [];
      // A few at a time: on a slow machine, load shedding would refuse more.
      for (let group = 0; group < 5; group += 1) rounds.push(...(await Promise.all([race(), race(), race(), race()])));
      const { ids } = await billing.requestedCancellations();
      for (const { id, status } of rounds) {
        expect([204, 409]).toContain(status);
        expect([id, status, ids.includes(id)]).toEqual([id, status, status === 204]);
      }
    });

    it('is undone by a restore, which gives the organization its subscription back', async () => {
      const { admin, id, path } = await billing.newTenant();
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
      expect(await isCancellationRequested(bought.id)).toBe(true);
      await billing.t.http.post(`${path}/restore`).set(billing.operator.auth).expect(200);
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      // The pending cancellation is withdrawn.
      expect((await billing.requestedCancellations()).ids).not.toContain(bought.id);
      expect((await billing.t.http.delete(path).set(admin.auth).expect(409)).body.code).toBe('subscription_active');
      await billing.emitPolar('subscription.revoked', { ...bought, status: 'canceled' });
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'free', reason: 'lapsed' });
      // Later purchases are not canceled.
      const next = await billing.buyAtPolar({ metadata: { organizationId: id } });
      expect(await isCancellationRequested(next.id)).toBe(false);
      expect(await billing.organizationSubscription(id)).toMatchObject({ tier: 'pro', access: true });
    });

    it('cancels a reinstated and another subscription, also after the owner was purged', async () => {
      const { admin, id, path } = await billing.newTenant();
      const customer = polarCustomer({ external_id: id });
      const bought = await billing.buyAtPolar({ customer });
      await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
      await billing.emitPolar('subscription.revoked', { ...bought, status: 'canceled' });
      expect((await billing.requestedCancellations()).ids).not.toContain(bought.id);
      await billing.emitPolar('subscription.active', bought);
      expect((await billing.requestedCancellations()).ids).toContain(bought.id);

      await billing.emitPolar('subscription.revoked', { ...bought, status: 'canceled' });
      await billing.t.db.rows(`UPDATE organizations SET deleted_at = now() - interval '1 year' WHERE id = $1`, [id]);
      await runJob(billing.t, billing.operator, 'purge_organizations');
      await billing.emitPolar('subscription.active', bought);
      expect(await billing.ownerOf(bought.id)).toEqual(['organization', id]);
      expect((await billing.requestedCancellations()).ids).toContain(bought.id);
      const sold = await billing.buyAtPolar({ customer });
      expect(await billing.ownerOf(sold.id)).toEqual(['organization', id]);
      expect((await billing.requestedCancellations()).ids).toContain(sold.id);
    });

    it('is found by the job, if an event of a linked subscription came during the deletion', async () => {
      const { admin, id, path } = await billing.newTenant();
      const bought = await billing.buyAtPolar({ metadata: { organizationId: id } });
      await billing.t.http.delete(path).query(withCancel).set(admin.auth).expect(204);
      await billing.t.db.rows(`UPDATE subscriptions SET end_requested_at = NULL WHERE provider_subscription_id = $1`, [bought.id]);
      await runJob(billing.t, billing.operator, 'end_subscriptions');
      expect((await billing.requestedCancellations()).ids).toContain(bought.id);
    });
  });
});
