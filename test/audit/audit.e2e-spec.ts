import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type Answer, call, fill, type Operation, readOperations } from '../support/api.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { untilProcessed } from '../support/clerk/clerk-deliveries.js';
import type { AuditExpectation, CallerName, Values } from '../support/expectations.js';
import { bodyOf, expectationOf, OPERATIONS, pathValues, queryOf, statusFor, valuesOf } from '../support/operations.js';
import { allRows } from '../support/snapshots.js';
import { createPerson, createTenant, holdJobs, type Person, skipDailyJob, type Tenant } from '../support/tenant-world.js';
import { runJob } from '../support/tenants.js';

/** The operations that write an entry, with the expected entry. */
const AUDITED = new Map(
  [...OPERATIONS].flatMap(([id, { audit }]): [string, AuditExpectation][] =>
    audit !== undefined && 'action' in audit ? [[id, audit]] : [],
  ),
);

interface Entry {
  id: string;
  organization_id: string | null;
  actor_kind: string;
  actor_id: string;
  action: string;
  target_type: string;
  target_id: string;
  changes: object | null;
  request_id: string;
  ip_address: string;
}

interface Scene {
  tenant: Tenant;
  outsider: Person;
  operator: Person;
}

describe('the audit log', () => {
  let t: TestApp;
  let operations: Operation[];
  let mutating: Operation[];
  beforeAll(async () => {
    t = await startTestApp({ AUDIT_RETENTION_DAYS: '30', PURGE_AFTER_DAYS: '30' });
    operations = await readOperations(t.url);
    mutating = operations.filter(({ id }) => AUDITED.has(id));
    await holdJobs(t.db, ['expire_sessions', 'expire_invitations']);
    for (const job of ['prune_job_runs']) await skipDailyJob(t.db, job);
  });
  afterAll(() => t.close());

  async function createScene(): Promise<Scene> {
    const tenant = await createTenant(t.db);
    return { tenant, outsider: tenant.invited, operator: await createPerson(t.db, 'operator', { operator: true }) };
  }

  function callerOf({ id }: Operation, { tenant, outsider, operator }: Scene): Person {
    const caller = AUDITED.get(id)!.caller ?? (statusFor(id, 'admin') < 400 ? 'admin' : 'operator');
    return { admin: tenant.admin, member: tenant.member, outsider, operator }[caller as 'admin' | 'member' | 'outsider' | 'operator'];
  }

  /** Some operations need another one before them. */
  async function prepare({ id }: Operation, { tenant, operator }: Scene): Promise<void> {
    await AUDITED.get(id)!.prepare?.({ t, tenant, operator });
  }

  async function send(operation: Operation, values: Values, headers: Record<string, string>): Promise<Answer> {
    return call(t.url, {
      method: operation.method,
      path: fill(operation, pathValues(operation, values)),
      headers,
      query: queryOf(operation.id, values),
      body: bodyOf(operation.id, values),
    });
  }

  const countEntries = async () => (await t.db.rows<{ count: number }>('SELECT count(*)::int FROM audit_log'))[0]!.count;

  async function digestOfTables(): Promise<string> {
    await untilProcessed({ db: t.db, urls: () => [t.url] });
    return allRows(t.db);
  }

  it('has an expectation for every operation that changes something', () => {
    const missing = operations.filter(({ id, method }) => method !== 'GET' && expectationOf(id).audit === undefined);
    expect(missing.map(({ id }) => id)).toEqual([]);
  });

  it.each([...AUDITED.keys()])('gets exactly one entry from %s', async (id) => {
    const operation = mutating.find((one) => one.id === id)!;
    const scene = await createScene();
    await prepare(operation, scene);
    const caller = callerOf(operation, scene);
    const values = valuesOf(scene.tenant);
    const requestId = randomUUID();
    const before = await countEntries();
    const answer = await send(operation, values, { ...caller.auth, 'x-request-id': requestId });
    const succeeds = operation.statuses.find((status) => status < 300);
    expect([answer.status, answer.status === succeeds ? '' : answer.text]).toEqual([succeeds, '']);
    // Invitations that end because their sender loses a right have their own entries.
    const caused = await t.db.rows<Entry>('SELECT * FROM audit_log WHERE request_id = $1', [requestId]);
    const entries = caused.filter(({ changes }) => !('reason' in (changes ?? {})));
    expect(caused.length - entries.length).toBe(AUDITED.get(id)!.consequences ?? 0);
    expect(await countEntries()).toBe(before + caused.length);

    const body = (answer.text.startsWith('{') ? JSON.parse(answer.text) : {}) as { id?: string; subscriptionId?: string };
    const { action, target, changes, organization = () => values.organizationId } = AUDITED.get(id)!;
    expect(entries).toEqual([
      expect.objectContaining({
        organization_id: organization?.(body) ?? null,
        actor_kind: 'user',
        actor_id: caller.id,
        action,
        target_type: action.split('.')[0] === 'user' ? 'user' : action.split('.')[0],
        target_id: target(values, body, caller.id),
        changes,
        request_id: requestId,
        ip_address: '127.0.0.1',
      }),
    ]);
  });

  it('gets no entry from rejected requests', async () => {
    const scene = await createScene();
    const before = await countEntries();
    const refused: string[] = [];
    for (const operation of mutating) {
      const callers = { signedOut: undefined, outsider: scene.outsider, member: scene.tenant.member, operator: scene.operator };
      for (const [name, caller] of Object.entries(callers)) {
        if (statusFor(operation.id, name as CallerName) < 400) continue;
        const { status } = await send(operation, valuesOf(scene.tenant), { ...caller?.auth });
        refused.push(`${operation.id} ${status}`);
        expect(status).toBeGreaterThanOrEqual(400);
      }
      if (expectationOf(operation.id).body === undefined) continue;
      const bad = {
        method: operation.method,
        path: fill(operation, pathValues(operation, valuesOf(scene.tenant))),
        body: { surprise: true },
      };
      const { status } = await call(t.url, { ...bad, headers: { ...callerOf(operation, scene).auth } });
      expect([operation.id, status]).toEqual([operation.id, 400]);
    }
    expect(refused.length).toBeGreaterThan(50);
    expect(await countEntries()).toBe(before);
  });

  it.each([...AUDITED.keys()])('rolls %s back when its entry cannot be written', async (id) => {
    const operation = mutating.find((one) => one.id === id)!;
    const scene = await createScene();
    await prepare(operation, scene);
    const caller = callerOf(operation, scene);
    const before = await digestOfTables();
    await t.db.rows(`
      CREATE FUNCTION fail_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no entry today'; END $$;
      CREATE TRIGGER fail_audit BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION fail_audit()`);
    let answer;
    try {
      answer = await send(operation, valuesOf(scene.tenant), caller.auth);
    } finally {
      await t.db.rows('DROP TRIGGER fail_audit ON audit_log; DROP FUNCTION fail_audit()');
    }
    expect(answer.status).toBe(500);
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'internal_error' });
    expect(await digestOfTables()).toEqual(before);
    // Only the entry prevented the change.
    expect((await send(operation, valuesOf(scene.tenant), caller.auth)).status).toBeLessThan(300);
  });

  it('gets no entry for a request that changes nothing', async () => {
    const { tenant, outsider, operator } = await createScene();
    const base = `/v1/organizations/${tenant.organization.id}`;
    await t.http.post(`/v1/invitations/${tenant.invitations.pending}/accept`).set(outsider.auth).expect(200);
    const before = await countEntries();
    await t.http.post(`/v1/invitations/${tenant.invitations.pending}/accept`).set(outsider.auth).expect(200);
    await t.http.patch(`${base}/memberships/${tenant.memberships.spare}`).set(tenant.admin.auth).send({ role: 'member' }).expect(200);
    await t.http.post(`/v1/users/${tenant.member.id}/unsuspend`).set(operator.auth).expect(200);
    await t.http.post(`${base}/restore`).set(operator.auth).expect(200);
    expect(await countEntries()).toBe(before);
  });

  it('distinguishes leaving from being removed', async () => {
    const { tenant } = await createScene();
    const requestId = randomUUID();
    await t.http
      .delete(`/v1/organizations/${tenant.organization.id}/memberships/${tenant.memberships.member}`)
      .set(tenant.member.auth)
      .set('x-request-id', requestId)
      .expect(204);
    expect(await t.db.rows('SELECT action FROM audit_log WHERE request_id = $1', [requestId])).toEqual([{ action: 'membership.left' }]);
  });

  it('contains no secret', async () => {
    const { tenant } = await createScene();
    const base = `/v1/organizations/${tenant.organization.id}`;
    const { body: key } = await t.http
      .post(`${base}/api-keys`)
      .set(tenant.admin.auth)
      .send({ name: 'k', scopes: ['audit:read'] })
      .expect(201);
    const { body: fresh } = await t.http.post(`${base}/api-keys/${key.id}/rotate`).set(tenant.admin.auth).send({}).expect(201);
    await t.http.post(`${base}/invitations/${tenant.invitations.pending}/resend`).set(tenant.admin.auth).send({}).expect(200);
    await t.http.post('/v1/invitations/accept').set(tenant.squatter.auth).send({ token: tenant.squattedToken }).expect(403);
    const log = JSON.stringify(await t.db.rows('SELECT * FROM audit_log'));
    const stored = await t.db.rows<{ secret: string }>(`
      SELECT hash AS secret FROM api_keys UNION ALL SELECT token FROM invitations WHERE token IS NOT NULL
      UNION ALL SELECT token FROM sessions WHERE token IS NOT NULL UNION ALL SELECT password FROM accounts WHERE password IS NOT NULL`);
    const raw = [key.key, fresh.key, tenant.invitationToken, tenant.squattedToken, tenant.admin.token, tenant.member.token];
    for (const secret of [...raw, ...stored.map((row) => row.secret)]) expect(log).not.toContain(secret);
    expect(log).not.toMatch(/"(token|hash|password|key|secret)"/i);
  });

  describe('is append-only', () => {
    const changes = [
      `UPDATE audit_log SET action = 'nothing.happened'`,
      `DELETE FROM audit_log`,
      `TRUNCATE audit_log`,
      `TRUNCATE audit_log CASCADE`,
      `UPDATE audit_log SET changes = NULL WHERE false OR id IS NOT NULL`,
      `MERGE INTO audit_log a USING (SELECT 1) one ON true WHEN MATCHED THEN DELETE`,
      `INSERT INTO audit_log SELECT * FROM audit_log ON CONFLICT (id) DO UPDATE SET action = 'nothing.happened'`,
    ];

    it.each(changes)('also for the owner of the table: %s', async (statement) => {
      await createScene();
      const before = await t.db.rows('SELECT * FROM audit_log ORDER BY id');
      await expect(t.db.rows(statement)).rejects.toMatchObject({ code: '42501', message: 'audit_log is append-only' });
      expect(await t.db.rows('SELECT * FROM audit_log ORDER BY id')).toEqual(before);
    });

    it('except in a transaction with the maintenance setting', async () => {
      const { tenant } = await createScene();
      const client = new pg.Client({ connectionString: t.db.url });
      await client.connect();
      try {
        await client.query('BEGIN');
        await client.query(`SELECT set_config('tenantry.audit_maintenance', 'on', true)`);
        expect((await client.query('DELETE FROM audit_log WHERE id = $1', [tenant.auditIds[0]])).rowCount).toBe(1);
        await client.query('COMMIT');
        await expect(client.query('DELETE FROM audit_log WHERE id = $1', [tenant.auditIds[1]])).rejects.toMatchObject({ code: '42501' });
      } finally {
        await client.end();
      }
      expect(await t.db.rows('SELECT id FROM audit_log WHERE id = ANY ($1)', [tenant.auditIds])).toEqual([{ id: tenant.auditIds[1] }]);
    });
  });

  it('loses entries after the retention time, and no others', async () => {
    const { tenant, operator } = await createScene();
    const [old, young] = tenant.auditIds;
    await maintain(`UPDATE audit_log SET created_at = now() - interval '31 days' WHERE id = '${old}'`);
    await maintain(`UPDATE audit_log SET created_at = now() - interval '29 days' WHERE id = '${young}'`);
    await runJob(t, operator, 'prune_audit_log');
    expect(await t.db.rows('SELECT id FROM audit_log WHERE id = ANY ($1)', [tenant.auditIds])).toEqual([{ id: young }]);
  });

  it('loses personal data of purged users, and keeps the entries', async () => {
    const { tenant, outsider, operator } = await createScene();
    const me = '/v1/users/me';
    await t.http.patch(me).set(outsider.auth).send({ name: 'A telling name' }).expect(200);
    await t.http.delete(`${me}/accounts/${outsider.accountId}`).set(outsider.auth).expect(204);
    const base = `/v1/organizations/${tenant.organization.id}`;
    await t.http.post(`${base}/invitations/${tenant.invitations.pending}/resend`).set(tenant.admin.auth).send({}).expect(200);
    const { body: again } = await t.http
      .post(`${base}/invitations`)
      .set(tenant.admin.auth)
      .send({ email: `${outsider.name}@example.org`, role: 'member' })
      .expect(201);
    await t.db.rows(`UPDATE users SET email = $2 WHERE id = $1`, [outsider.id, `${outsider.name}@example.org`]);
    await t.http.post(`/v1/invitations/${again.id}/accept`).set(outsider.auth).expect(200);
    await t.db.rows(`UPDATE organization_memberships SET role = 'admin' WHERE user_id = $1`, [outsider.id]);
    await t.http.patch(`${base}/memberships/${tenant.memberships.member}`).set(outsider.auth).send({ role: 'admin' }).expect(200);
    await t.http.delete(me).set(outsider.auth).expect(204);
    const written = await t.db.rows<Entry>('SELECT * FROM audit_log WHERE actor_id = $1 ORDER BY id', [outsider.id]);
    expect(written.map(({ action }) => action)).toEqual([
      'user.updated',
      'account.unlinked',
      'invitation.accepted',
      'membership.role_changed',
      'user.deleted',
    ]);

    await t.db.rows(`UPDATE users SET deleted_at = now() - interval '31 days' WHERE id = $1`, [outsider.id]);
    await runJob(t, operator, 'purge_users');
    expect(await t.db.rows('SELECT 1 FROM users WHERE id = $1', [outsider.id])).toEqual([]);
    const kept = await t.db.rows<Entry>('SELECT * FROM audit_log WHERE actor_id = $1 ORDER BY id', [outsider.id]);
    // An entry about another user is that user's history, and stays.
    const roleChange = { role: { before: 'member', after: 'admin' } };
    expect(kept.map(({ action, ip_address, changes }) => [action, ip_address, changes])).toEqual(
      written.map(({ action }) => [action, null, action === 'membership.role_changed' ? roleChange : null]),
    );
    const log = JSON.stringify(await t.db.rows('SELECT * FROM audit_log'));
    for (const trace of [outsider.name, 'A telling name']) expect(log).not.toContain(trace);
    // Entries of other users are unchanged.
    const { body } = await t.http.get(`${base}/audit-log?action=invitation.resent`).set(tenant.admin.auth).expect(200);
    expect(body.data).toMatchObject([{ ipAddress: '127.0.0.1', changes: { expiresAt: expect.anything() } }]);
  });

  it('outlives its organization', async () => {
    const { tenant, operator } = await createScene();
    const id = tenant.organization.id;
    await t.http.delete(`/v1/organizations/${id}`).set(tenant.admin.auth).expect(204);
    await t.db.rows(`UPDATE organizations SET deleted_at = now() - interval '31 days' WHERE id = $1`, [id]);
    await runJob(t, operator, 'purge_organizations');
    expect(await t.db.rows('SELECT 1 FROM organizations WHERE id = $1', [id])).toEqual([]);
    const rows = await t.db.rows<Entry>(`SELECT action FROM audit_log WHERE organization_id = $1 ORDER BY created_at, id`, [id]);
    expect(rows.map(({ action }) => action)).toEqual(['organization.created', 'organization.created', 'organization.deleted']);
  });

  describe('for admins', () => {
    let scene: Scene;
    let base: string;
    beforeAll(async () => {
      scene = await createScene();
      base = `/v1/organizations/${scene.tenant.organization.id}`;
      for (const name of ['One', 'Two', 'Three']) await t.http.patch(base).set(scene.tenant.admin.auth).send({ name }).expect(200);
      await t.http.delete(`${base}/memberships/${scene.tenant.memberships.spare}`).set(scene.tenant.coAdmin.auth).expect(204);
    });

    const read = async (query: string) => (await t.http.get(`${base}/audit-log?${query}`).set(scene.tenant.admin.auth).expect(200)).body;
    const actions = async (query: string) => (await read(query)).data.map(({ action }: { action: string }) => action);

    it('lists entries newest first, with actor, target, address, and values before and after', async () => {
      const { data, nextCursor } = await read('limit=2');
      expect(data).toEqual([
        {
          id: expect.any(String),
          actorKind: 'user',
          actorId: scene.tenant.coAdmin.id,
          action: 'membership.removed',
          targetType: 'membership',
          targetId: scene.tenant.memberships.spare,
          changes: { userId: { before: scene.tenant.spare.id }, role: { before: 'member' } },
          requestId: expect.any(String),
          ipAddress: '127.0.0.1',
          createdAt: expect.any(String),
        },
        expect.objectContaining({ action: 'organization.updated', changes: { name: { before: 'Two', after: 'Three' } } }),
      ]);
      expect(nextCursor).toEqual(expect.any(String));
    });

    it('lists each entry once over several pages', async () => {
      const all = (await read('limit=100')).data.map(({ id }: { id: string }) => id);
      const seen: string[] = [];
      for (let cursor: string | null = ''; cursor !== null;) {
        const page: { data: { id: string }[]; nextCursor: string | null } = await read(
          `limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`,
        );
        seen.push(...page.data.map(({ id }) => id));
        cursor = page.nextCursor;
      }
      expect(seen).toEqual(all);
      expect(seen).toHaveLength(6);
    });

    it('filters by action, actor, target and time', async () => {
      expect(await actions('action=membership.removed')).toEqual(['membership.removed']);
      expect(await actions('action=nothing.happened')).toEqual([]);
      expect(await actions(`actorId=${scene.tenant.coAdmin.id}`)).toEqual(['membership.removed']);
      expect(await actions(`targetId=${scene.tenant.memberships.spare}`)).toEqual(['membership.removed']);
      expect(await actions('createdFrom=2099-01-01T00:00:00Z')).toEqual([]);
      expect(await actions('createdBefore=2020-01-01T00:00:00Z')).toEqual([]);
      const { data } = await read('action=organization.updated');
      const times = data.map(({ createdAt }: { createdAt: string }) => createdAt) as string[];
      expect(await actions(`action=organization.updated&createdFrom=${times[0]}`)).toHaveLength(
        times.filter((time) => time >= times[0]!).length,
      );
      expect(await actions(`action=organization.updated&createdBefore=${times[0]}`)).toHaveLength(
        times.filter((time) => time < times[0]!).length,
      );
    });

    it('rejects a cursor of another filter or another list', async () => {
      const { nextCursor } = await read('limit=1&action=organization.updated');
      const refused = async (path: string) => t.http.get(path).set(scene.tenant.admin.auth).expect(400);
      expect((await refused(`${base}/audit-log?cursor=${nextCursor}`)).body.code).toBe('invalid_cursor');
      expect((await refused(`${base}/api-keys?cursor=${nextCursor}`)).body.code).toBe('invalid_cursor');
    });

    it.each([
      'limit=0',
      'limit=101',
      'limit=x',
      'actorId=1',
      'createdFrom=yesterday',
      'createdFrom=0001-01-01T00:00:00%2B14:00',
      'createdBefore=9999-12-31T23:59:59-14:00',
      'cursor=made.up',
      'unknown=1',
    ])('rejects %s', async (query) => {
      await t.http.get(`${base}/audit-log?${query}`).set(scene.tenant.admin.auth).expect(400);
    });
  });

  it('has an entry for every read by an operator', async () => {
    const { tenant, operator } = await createScene();
    const reads = operations.filter(({ method, path }) => method === 'GET' && /organizations\/(\{organizationId\}|by-slug)/.test(path));
    for (const operation of reads) {
      const requestId = randomUUID();
      const answer = await send(operation, valuesOf(tenant), { ...operator.auth, 'x-request-id': requestId });
      expect([operation.id, answer.status]).toEqual([operation.id, 200]);
      const entries = await t.db.rows<Entry>('SELECT * FROM audit_log WHERE request_id = $1', [requestId]);
      expect(entries).toMatchObject([
        { action: 'operator.read', actor_id: operator.id, organization_id: tenant.organization.id, target_id: tenant.organization.id },
      ]);
    }
    const { body } = await t.http
      .get(`/v1/organizations/${tenant.organization.id}/audit-log?action=operator.read`)
      .set(tenant.admin.auth)
      .expect(200);
    expect(body.data).toHaveLength(reads.length);
  });

  it('has no entry for reads by an operator who is a member', async () => {
    const { tenant } = await createScene();
    await t.db.rows('UPDATE users SET operator = true WHERE id = $1', [tenant.member.id]);
    const before = await countEntries();
    await t.http.get(`/v1/organizations/${tenant.organization.id}`).set(tenant.member.auth).expect(200);
    expect(await countEntries()).toBe(before);
  });

  async function maintain(statement: string): Promise<void> {
    await t.db.rows(`BEGIN; SET LOCAL tenantry.audit_maintenance = 'on'; ${statement}; COMMIT`);
  }
});
