import { startTestApp, type TestApp } from '../../../test/support/app.js';
import { signUp, signUpOperator, type SignedInPerson } from '../../../test/support/people.js';
import { createKey, createTenant, type Tenant } from '../../../test/support/tenant-world.js';
import { createOrganization, runJob } from '../../../test/support/tenants.js';

describe('projects', () => {
  let t: TestApp;
  let tenant: Tenant;
  let base: string;

  beforeAll(async () => {
    t = await startTestApp();
    tenant = await createTenant(t.db);
    base = `/v1/organizations/${tenant.organization.id}/projects`;
  });
  afterAll(() => t.close());

  const create = (name: string, auth: Record<string, string> = tenant.member.auth) => t.http.post(base).set(auth).send({ name });
  const names = async () =>
    (await t.http.get(base).set(tenant.member.auth).expect(200)).body.data.map(({ name }: { name: string }) => name);

  it('are created by members and listed newest first', async () => {
    await create('First').expect(201);
    await create('Second').expect(201);
    expect((await names()).slice(0, 2)).toEqual(['Second', 'First']);
  });

  it('have a description, if one is given', async () => {
    const send = (body: object) => t.http.post(base).set(tenant.member.auth).send(body).expect(201);
    expect((await send({ name: 'Described', description: 'To the moon.' })).body.description).toBe('To the moon.');
    expect((await send({ name: 'Undescribed' })).body.description).toBeNull();
  });

  it('are created by an API key, which the audit log names', async () => {
    const key = await createKey(t.db, tenant, ['projects:write']);
    const { body } = await create('By a key', key.auth).expect(201);
    const entries = await t.db.rows('SELECT actor_kind, actor_id FROM audit_log WHERE target_id = $1', [body.id]);
    expect(entries).toEqual([{ actor_kind: 'api_key', actor_id: key.id }]);
  });

  it('get a name once, also when several ask at the same time', async () => {
    const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await create('Wanted')).status));
    expect(statuses.toSorted()).toEqual([201, 409, 409, 409, 409]);
  });

  it('are created once for one Idempotency-Key', async () => {
    const send = () => create('Once').set('idempotency-key', 'a-key').expect(201);
    expect((await send()).body.id).toBe((await send()).body.id);
  });

  it.each([{}, { name: '' }, { name: 'x'.repeat(101) }, { name: 'Fine', description: null }, { name: 'Fine', surprise: 1 }])(
    'refuse the body %j',
    async (body) => {
      const { body: problem } = await t.http.post(base).set(tenant.member.auth).send(body).expect(400);
      expect(problem.code).toBe('invalid_request');
    },
  );

  it('need a plan that includes them', async () => {
    const admin: SignedInPerson = await signUp(t);
    const { id } = await createOrganization(t, admin);
    const { body } = await t.http.post(`/v1/organizations/${id}/projects`).set(admin.auth).send({ name: 'Free' }).expect(402);
    expect(body.code).toBe('plan_required');
  });

  it('free their name when they are archived, and are deleted by the nightly job after 30 days', async () => {
    const { body: old } = await create('Recycled').expect(201);
    await t.http.delete(`${base}/${old.id}`).set(tenant.admin.auth).expect(204);
    await t.http.delete(`${base}/${old.id}`).set(tenant.admin.auth).expect(404);
    await create('Recycled').expect(201);
    await t.db.rows(`UPDATE projects SET archived_at = now() - interval '31 days' WHERE id = $1`, [old.id]);
    await runJob(t, await signUpOperator(t), 'purge_archived_projects');
    expect(await t.db.rows('SELECT id FROM projects WHERE id = $1', [old.id])).toEqual([]);
    expect(await names()).toContain('Recycled');
  });
});
