import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { newId } from '../../../src/platform/crypto/ids.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../../support/people.js';
import { createOrganization, verifyEmail } from '../../support/tenants.js';
import { PlanFile } from '../../support/plan-file.js';

const FREE_SEATS = 5;

describe('seats', () => {
  let t: TestApp;
  let folder: string;
  let ada: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    const plans = JSON.parse(readFileSync('plans.json', 'utf8')) as { plans: { free: { limits: { seats: number } } } };
    plans.plans.free.limits.seats = FREE_SEATS;
    folder = mkdtempSync(path.join(tmpdir(), 'tenantry-plans-'));
    const file = path.join(folder, 'plans.json');
    writeFileSync(file, JSON.stringify(plans));
    t = await startTestApp({ PLANS_FILE: file, BILLING_PRODUCTS: 'dodo:pdt_business=business' });
    [ada, operator] = await Promise.all([signUp(t), signUpOperator(t)]);
    await verifyEmail(t, ada);
  });
  afterAll(async () => {
    await t.close();
    rmSync(folder, { recursive: true });
  });

  /** Invites people who have not answered yet, while the organization has a larger plan. */
  async function invited(organizationId: string, count: number): Promise<{ person: SignedInPerson; accept: string }[]> {
    const { body: grant } = await t.http.post('/v1/subscriptions').set(operator.auth).send({ organizationId, tier: 'pro' }).expect(201);
    const guests = await invite(organizationId, count);
    await t.http.delete(`/v1/subscriptions/${grant.id}`).set(operator.auth).expect(204);
    return guests;
  }

  async function invite(organizationId: string, count: number): Promise<{ person: SignedInPerson; accept: string }[]> {
    const people = await Promise.all(Array.from({ length: count }, () => signUp(t)));
    await verifyEmail(t, ...people);
    return Promise.all(
      people.map(async (person) => {
        const { body } = await t.http
          .post(`/v1/organizations/${organizationId}/invitations`)
          .set(ada.auth)
          .send({ email: person.email, role: 'member' })
          .expect(201);
        return { person, accept: `/v1/invitations/${body.id}/accept` };
      }),
    );
  }

  async function seatsOf(organizationId: string, { http } = t): Promise<{ used: number; limit: number | null }> {
    const { body } = await http.get(`/v1/organizations/${organizationId}/subscription`).set(ada.auth).expect(200);
    return body.seats;
  }

  it('never exceed the plan when several people join at once', async () => {
    const { id } = await createOrganization(t, ada);
    const guests = await invited(id, FREE_SEATS + 3);
    const answers = await Promise.all(guests.map(({ person, accept }) => t.http.post(accept).set(person.auth).send({})));
    const outcomes = answers.map(({ status, body }) => (status === 200 ? '200' : `${status} ${body.code}`)).toSorted();
    expect(outcomes).toEqual([...Array<string>(FREE_SEATS - 1).fill('200'), ...Array<string>(4).fill('402 seat_limit_reached')]);
    expect(await seatsOf(id)).toEqual({ used: FREE_SEATS, limit: FREE_SEATS });
    const refused = guests[answers.findIndex(({ status }) => status === 402)]!;
    const { body } = await t.http.post(refused.accept).set(refused.person.auth).send({}).expect(402);
    expect(body.detail).toMatch(/All 5 seats of the plan Free are taken/);

    // The invitation stays pending, and works after an upgrade.
    await t.http.post('/v1/subscriptions').set(operator.auth).send({ organizationId: id, tier: 'pro' }).expect(201);
    await t.http.post(refused.accept).set(refused.person.auth).send({}).expect(200);
    expect(await seatsOf(id)).toEqual({ used: FREE_SEATS + 1, limit: 500 });
  });

  it('always allow one member, so that someone can buy more', async () => {
    const plans = new PlanFile({ free: { seats: 0 } });
    const none = await startTestApp({ PLANS_FILE: plans.path }, t.db);
    try {
      const { id } = await createOrganization(none, ada);
      expect(await seatsOf(id, none)).toEqual({ used: 1, limit: 0 });
      const [guest] = await invited(id, 1);
      const { body } = await none.http.post(guest!.accept).set(guest!.person.auth).send({}).expect(402);
      expect(body.code).toBe('seat_limit_reached');
    } finally {
      await none.close();
      plans.remove();
    }
  });

  it('of a grant are a limit too', async () => {
    const { id } = await createOrganization(t, ada);
    const [first, second] = await invited(id, 2);
    await t.http.post('/v1/subscriptions').set(operator.auth).send({ organizationId: id, tier: 'business', seats: 2 }).expect(201);
    await t.http.post(first!.accept).set(first!.person.auth).send({}).expect(200);
    await t.http.post(second!.accept).set(second!.person.auth).send({}).expect(402);
  });

  it('of a renewing subscription follow the number of members', async () => {
    const { id } = await createOrganization(t, ada);
    await t.db.rows(
      `INSERT INTO subscriptions (id, provider, provider_subscription_id, owner_kind, owner_id, product_id, status, current_period_end, seats)
       VALUES ($1, 'dodo', $2, 'organization', $3, 'pdt_business', 'active', now() + interval '1 month', 1)`,
      [newId(), `sub_${newId()}`, id],
    );
    const [guest] = await invite(id, 1);
    await t.http.post(guest!.accept).set(guest!.person.auth).send({}).expect(200);
    expect(await seatsOf(id)).toEqual({ used: 2, limit: 1 });
  });
});
