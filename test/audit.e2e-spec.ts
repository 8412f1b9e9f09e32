import { startTestApp, type TestApp } from './support/app.js';
import { signUp, signUpOperator, type SignedInPerson } from './support/people.js';
import { auditOf, createOrganization, membershipOf, runJob } from './support/tenants.js';

describe('the audit log', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({ AUDIT_RETENTION_DAYS: '400' });
    ada = await signUp(t);
    operator = await signUpOperator(t);
  });
  afterAll(() => t.close());

  it.each([`UPDATE audit_log SET action = 'x'`, 'DELETE FROM audit_log', 'TRUNCATE audit_log'])(
    'is append-only: %s is refused',
    async (statement) => {
      await createOrganization(t, ada);
      await expect(t.db.rows(statement)).rejects.toThrow('audit_log is append-only');
    },
  );

  it('takes the change along when its entry cannot be written', async () => {
    const acme = await createOrganization(t, ada, { name: 'Before' });
    await t.db.rows(`ALTER TABLE audit_log ADD CONSTRAINT broken CHECK (action <> 'organization.updated') NOT VALID`);
    try {
      await t.http.patch(acme.path).set(ada.auth).send({ name: 'After' }).expect(500);
    } finally {
      await t.db.rows('ALTER TABLE audit_log DROP CONSTRAINT broken');
    }
    expect((await t.http.get(acme.path).set(ada.auth).expect(200)).body.name).toBe('Before');
    expect(await auditOf(t, acme.id, 'organization.updated')).toEqual([]);
  });

  it('has nothing of what was refused', async () => {
    const acme = await createOrganization(t, ada);
    const own = await membershipOf(t, acme.id, ada);
    await t.http.delete(`${acme.path}/memberships/${own!.id}`).set(ada.auth).expect(409);
    expect((await auditOf(t, acme.id)).map(({ action }) => action)).toEqual(['organization.created']);
  });

  it('tells an admin who did what, in which request and from where', async () => {
    const acme = await createOrganization(t, ada);
    const { headers } = await t.http.patch(acme.path).set(ada.auth).send({ name: 'Renamed' }).expect(200);
    const { body } = await t.http.get(`${acme.path}/audit-log?action=organization.updated`).set(ada.auth).expect(200);
    expect(body.data).toEqual([
      expect.objectContaining({
        actorKind: 'user',
        actorId: ada.id,
        targetType: 'organization',
        targetId: acme.id,
        requestId: headers['x-request-id'],
        ipAddress: expect.stringContaining('127.0.0.1'),
        changes: { name: { before: acme.name, after: 'Renamed' } },
      }),
    ]);
  });

  it('tells of operators who looked in and of jobs started by hand', async () => {
    const acme = await createOrganization(t, ada);
    await t.http.get(`${acme.path}/memberships`).set(operator.auth).expect(200);
    expect(await auditOf(t, acme.id, 'operator.read')).toEqual([
      expect.objectContaining({ actor_id: operator.id, changes: { path: { after: `${acme.path}/memberships` } } }),
    ]);
    await runJob(t, operator, 'expire_sessions');
    expect(await t.db.rows(`SELECT actor_id, target_id FROM audit_log WHERE action = 'job.started'`)).toContainEqual({
      actor_id: operator.id,
      target_id: 'expire_sessions',
    });
  });

  it('lets go what is older than the retention time, and nothing else', async () => {
    const acme = await createOrganization(t, ada);
    const copy = (days: number) =>
      t.db.rows(
        `INSERT INTO audit_log (id, organization_id, actor_kind, action, target_type, target_id, created_at)
         VALUES (gen_random_uuid(), $1, 'system', $2, 'test', 'test', now() - $3 * interval '1 day')`,
        [acme.id, `test.days_${days}`, days],
      );
    await copy(399);
    await copy(401);
    await runJob(t, operator, 'prune_audit_log');
    expect((await auditOf(t, acme.id)).map(({ action }) => action)).toEqual(['test.days_399', 'organization.created']);
  });
});
