import { randomUUID } from 'node:crypto';
import { jest } from '@jest/globals';
import pg from 'pg';
import { OrganizationNotFound } from '../../src/access/access.errors.js';
import { IdempotencyRepository } from '../../src/idempotency/idempotency.repository.js';
import { IdempotencyService } from '../../src/idempotency/idempotency.service.js';
import { type Operation, readOperations } from '../support/api.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { dumpOf } from '../support/dump.js';
import { endProcesses, ready, startServer } from '../support/processes.js';
import { createPerson, createTenant, type Person, type Tenant } from '../support/tenant-world.js';
import { until, untilLocked } from '../support/until.js';

describe('idempotency keys', () => {
  let t: TestApp;
  let operations: Operation[];
  let tenant: Tenant;
  let base: string;
  beforeAll(async () => {
    t = await startTestApp();
    operations = await readOperations(t.url);
  });
  beforeEach(async () => {
    tenant = await createTenant(t.db);
    base = `/v1/organizations/${tenant.organization.id}`;
  });
  afterEach(() => endProcesses());
  afterAll(() => t.close());

  const post = (path: string, key: string, body: object, { auth }: Person = tenant.admin, { http }: Pick<TestApp, 'http'> = t) =>
    http.post(path).set(auth).set('idempotency-key', key).send(body);

  const countOf = async (table: string, name: string) =>
    (await t.db.rows<{ count: number }>(`SELECT count(*)::int FROM ${table} WHERE name = $1`, [name]))[0]!.count;

  it('are accepted by every operation that creates', () => {
    // Usage events have their own ids, which are stored permanently.
    const creating = operations.filter(({ statuses, path }) => statuses.includes(201) && !path.includes('/usage'));
    expect(creating.length).toBeGreaterThanOrEqual(4);
    for (const { id, method, headerParameters, statuses } of creating) {
      expect([id, method, headerParameters]).toEqual([id, 'POST', ['Idempotency-Key']]);
      expect(statuses).toEqual(expect.arrayContaining([409, 422]));
    }
    const taking = operations.filter(({ headerParameters }) => headerParameters.includes('Idempotency-Key'));
    expect(taking.map(({ id }) => id)).toEqual(creating.map(({ id }) => id));
  });

  it('in double quotes equal the same keys without quotes', async () => {
    const key = randomUUID();
    const first = await post('/v1/organizations', `"${key}"`, { name: 'Quoted' }).expect(201);
    const again = await post('/v1/organizations', key, { name: 'Quoted' }).expect(201);
    expect([again.body.id, again.headers['idempotent-replayed']]).toEqual([first.body.id, 'true']);
    await post('/v1/organizations', '"a\\"b"', { name: 'Escaped' }).expect(201);
    expect((await post('/v1/organizations', 'a"b', { name: 'Escaped' }).expect(201)).headers['idempotent-replayed']).toBe('true');
    await post('/v1/organizations', '""', { name: 'Empty' }).expect(400);
  });

  it('that were stored with their quotes still work', async () => {
    const key = randomUUID();
    const first = await post('/v1/organizations', key, { name: 'Stored' }).expect(201);
    await t.db.rows('UPDATE idempotency_keys SET key = $2 WHERE key = $1', [key, `"${key}"`]);
    const again = await post('/v1/organizations', `"${key}"`, { name: 'Stored' }).expect(201);
    expect([again.body.id, again.headers['idempotent-replayed']]).toEqual([first.body.id, 'true']);
  });

  it.each([
    ['createOrganization', () => '/v1/organizations', { name: 'Once' }, { name: 'Twice' }],
    [
      'createInvitation',
      () => `${base}/invitations`,
      { email: 'once@example.com', role: 'member' },
      { email: 'twice@example.com', role: 'member' },
    ],
    ['createApiKey', () => `${base}/api-keys`, { name: 'once', scopes: ['members:read'] }, { name: 'once', scopes: ['audit:read'] }],
    ['rotateApiKey', () => `${base}/api-keys/${tenant.keys.full.id}/rotate`, { overlapSeconds: 60 }, { overlapSeconds: 61 }],
  ])('let %s be repeated with one effect', async (_, path, body, other) => {
    const key = randomUUID();
    const first = await post(path(), key, body).expect(201);
    expect(first.headers['idempotent-replayed']).toBeUndefined();
    const before = await dumpOfRows();
    for (let sent = 0; sent < 3; sent += 1) {
      const again = await post(path(), key, body).expect(201);
      expect([again.text, again.headers['idempotent-replayed']]).toEqual([first.text, 'true']);
    }
    expect((await post(path(), key, other).expect(422)).body.code).toBe('idempotency_key_reused');
    expect(await dumpOfRows()).toEqual(before);
  });

  it('mark a repeated response with a header that browsers can read', async () => {
    const key = randomUUID();
    await post('/v1/organizations', key, { name: 'Seen' }).expect(201);
    const again = await post('/v1/organizations', key, { name: 'Seen' }).set('origin', 'http://localhost:3000').expect(201);
    expect(again.headers['access-control-expose-headers']).toMatch(/\bIdempotent-Replayed\b/);
  });

  it('are separate for each user, organization and route', async () => {
    const key = randomUUID();
    const neighbour = await createTenant(t.db);
    await t.db.rows('UPDATE organization_memberships SET user_id = $1 WHERE id = $2', [tenant.admin.id, neighbour.memberships.admin]);
    const body = { name: 'the same', scopes: ['members:read'] };
    const answers = [
      await post(`${base}/api-keys`, key, body).expect(201),
      await post(`${base}/api-keys`, key, body, tenant.coAdmin).expect(201),
      await post(`/v1/organizations/${neighbour.organization.id}/api-keys`, key, body).expect(201),
      await post('/v1/organizations', key, { name: 'the same' }).expect(201),
    ];
    expect(answers.map(({ headers }) => headers['idempotent-replayed'])).toEqual([undefined, undefined, undefined, undefined]);
    expect(new Set(answers.map((answer) => answer.body.id)).size).toBe(4);
  });

  it('give fifty concurrent requests to two processes one effect', async () => {
    const other = await startTestApp({}, t.db);
    const key = randomUUID();
    const name = `Fifty ${key}`;
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => post('/v1/organizations', key, { name }, tenant.admin, index % 2 === 0 ? t : other)),
    );
    await other.close();
    const created = answers.filter(({ status }) => status === 201);
    const inFlight = answers.filter(({ status }) => status === 409);
    expect(created.length + inFlight.length).toBe(50);
    expect(created.length).toBeGreaterThan(0);
    expect(new Set(created.map(({ text }) => text)).size).toBe(1);
    expect(created.filter(({ headers }) => headers['idempotent-replayed'] === undefined)).toHaveLength(1);
    for (const { body, headers } of inFlight) expect([body.code, headers['retry-after']]).toEqual(['idempotency_key_in_flight', '1']);
    expect(await countOf('organizations', name)).toBe(1);
    expect(await t.db.rows(`SELECT 1 FROM audit_log WHERE target_id = $1`, [created[0]!.body.id])).toHaveLength(1);
    const again = await post('/v1/organizations', key, { name }).expect(201);
    expect(again.text).toBe(created[0]!.text);
  });

  it('repeat a refusal too', async () => {
    const key = randomUUID();
    const body = { name: 'Late', slug: tenant.organization.slug };
    const first = await post('/v1/organizations', key, body).expect(409);
    expect(first.body.code).toBe('slug_taken');
    // It would succeed now, but the stored response is repeated.
    await t.http.delete(base).set(tenant.admin.auth).expect(204);
    const again = await post('/v1/organizations', key, body).expect(409);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect({ ...again.body, requestId: '' }).toEqual({ ...first.body, requestId: '' });
    expect(again.headers['content-type']).toMatch(/^application\/problem\+json/);
    await post('/v1/organizations', randomUUID(), body).expect(201);
  });

  it('of two users do not block each other when they are equal', async () => {
    const key = randomUUID();
    const holder = await holdAuditLog();
    const both = [tenant.admin, tenant.coAdmin].map(async (person) => post('/v1/organizations', key, { name: 'The same' }, person));
    // Neither is rejected because of the other.
    await untilLocked(t.db, 2);
    await holder.release();
    expect((await Promise.all(both)).map(({ status }) => status)).toEqual([201, 201]);
  });

  it('keep the first response when a concurrent refusal is stored later', async () => {
    const repository = t.app.get(IdempotencyRepository);
    const [service, key] = [t.app.get(IdempotencyService), randomUUID()];
    const call = {
      identity: { principal: 'user:somebody', method: 'POST', route: '/v1/things', key },
      requestHash: 'a request',
      markReplayed: () => undefined,
    };
    const tryLock = repository.tryLock.bind(repository);
    let looks = 0;
    const spy = jest.spyOn(repository, 'tryLock').mockImplementation(async (identity, db) => {
      // The refused request has released the key and is about to store its response, but another one is faster.
      if ((looks += 1) === 2) await service.once(call, async () => Promise.resolve('done'));
      return tryLock(identity, db);
    });
    try {
      await expect(service.once(call, async () => Promise.reject(new OrganizationNotFound()))).rejects.toThrow(OrganizationNotFound);
    } finally {
      spy.mockRestore();
    }
    expect(looks).toBe(3);
    expect(await service.once(call, async () => Promise.resolve('done again'))).toBe('done');
  });

  it('do not store a response of the rate limit', async () => {
    const limited = await startTestApp({ RATE_LIMIT_API: '1/3600' }, t.db);
    const key = randomUUID();
    await limited.http.get('/v1/users/me').set(tenant.admin.auth).expect(200);
    await post('/v1/organizations', key, { name: 'Patient' }, tenant.admin, limited).expect(429);
    await limited.close();
    await t.db.rows('DELETE FROM rate_limits');
    const answer = await post('/v1/organizations', key, { name: 'Patient' }).expect(201);
    expect(answer.headers['idempotent-replayed']).toBeUndefined();
  });

  it('do not store a server error', async () => {
    const key = randomUUID();
    await t.db.rows(`
      CREATE FUNCTION fail_audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no entry today'; END $$;
      CREATE TRIGGER fail_audit BEFORE INSERT ON audit_log FOR EACH ROW EXECUTE FUNCTION fail_audit()`);
    const failed = await post('/v1/organizations', key, { name: 'Unlucky' });
    await t.db.rows('DROP TRIGGER fail_audit ON audit_log; DROP FUNCTION fail_audit()');
    expect(failed.status).toBe(500);
    const answer = await post('/v1/organizations', key, { name: 'Unlucky' }).expect(201);
    expect(answer.headers['idempotent-replayed']).toBeUndefined();
    expect(await countOf('organizations', 'Unlucky')).toBe(1);
  });

  it('leave neither effect nor response when the response cannot be stored', async () => {
    const key = randomUUID();
    await t.db.rows('ALTER TABLE idempotency_keys ADD CONSTRAINT broken CHECK (false) NOT VALID');
    const failed = await post('/v1/organizations', key, { name: 'Unheard' });
    await t.db.rows('ALTER TABLE idempotency_keys DROP CONSTRAINT broken');
    expect([failed.status, await countOf('organizations', 'Unheard')]).toEqual([500, 0]);
    const answer = await post('/v1/organizations', key, { name: 'Unheard' }).expect(201);
    expect(answer.headers['idempotent-replayed']).toBeUndefined();
  });

  it.each([
    ['is longer than 255 characters', 'x'.repeat(256)],
    ['has a space', 'two words'],
    ['is empty', ''],
    ['has letters beyond ASCII', 'schl\u00fcssel'],
  ])('are rejected when one %s', async (_, key) => {
    const { body } = await post('/v1/organizations', key, { name: 'Nobody' }).expect(400);
    expect(body.errors).toEqual([{ path: 'headers.Idempotency-Key', message: expect.any(String) }]);
    expect(await countOf('organizations', 'Nobody')).toBe(0);
  });

  it('are rejected when there are two', async () => {
    const response = await fetch(`${t.url}/v1/organizations`, {
      method: 'POST',
      headers: [
        ...Object.entries({ ...tenant.admin.auth, 'content-type': 'application/json' }),
        ['idempotency-key', 'one'],
        ['idempotency-key', 'two'],
      ],
      body: JSON.stringify({ name: 'Nobody' }),
    });
    expect(response.status).toBe(400);
  });

  it('may have 255 visible ASCII characters', async () => {
    const key = `!"#~${'k'.repeat(251)}`;
    await post('/v1/organizations', key, { name: 'Long' }).expect(201);
    expect((await post('/v1/organizations', key, { name: 'Long' }).expect(201)).headers['idempotent-replayed']).toBe('true');
  });

  it('do not replace the permission check', async () => {
    const key = randomUUID();
    const body = { name: 'k', scopes: ['members:read'] };
    const path = `${base}/api-keys`;
    const { body: fresh } = await post(path, key, body, tenant.coAdmin).expect(201);
    const attempt = async () => post(path, key, body, tenant.coAdmin);

    await t.db.rows(`UPDATE organization_memberships SET role = 'member' WHERE id = $1`, [tenant.memberships.coAdmin]);
    const demoted = await attempt();
    expect([demoted.status, demoted.body.code]).toEqual([403, 'role_required']);
    await t.db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE id = $1', [tenant.memberships.coAdmin]);
    const removed = await attempt();
    expect([removed.status, removed.body.code]).toEqual([404, 'organization_not_found']);
    await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [tenant.coAdmin.id]);
    const suspended = await attempt();
    expect([suspended.status, suspended.body.code]).toEqual([403, 'user_suspended']);
    await t.db.rows('DELETE FROM sessions WHERE id = $1', [tenant.coAdmin.sessionId]);
    const signedOut = await attempt();
    expect(signedOut.status).toBe(401);
    for (const answer of [demoted, removed, suspended, signedOut]) {
      expect(answer.text).not.toContain(fresh.key);
      expect(answer.headers['idempotent-replayed']).toBeUndefined();
    }
  });

  it('store responses encrypted', async () => {
    const key = randomUUID();
    const { body } = await post(`${base}/api-keys`, key, { name: 'a telling name', scopes: ['members:read'] }).expect(201);
    const [row] = await t.db.rows<{ answer: string; request_hash: string }>('SELECT * FROM idempotency_keys WHERE key = $1', [key]);
    expect(row!.answer).toMatch(/^test\.[\w-]+$/);
    expect(JSON.stringify(row)).not.toContain('a telling name');
    expect(await dumpOf(t.db)).not.toContain(body.key);
  });

  it('survive a killed process, and the work is done once', async () => {
    const key = randomUUID();
    const name = `Killed ${key}`;
    const process = await ready(await startServer(t.db.url));
    const holder = await holdAuditLog();
    const cut = fetch(`${process.url}/v1/organizations`, {
      method: 'POST',
      headers: { ...tenant.admin.auth, 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ name }),
    }).then(
      ({ status }) => `answered ${status}`,
      () => 'cut off',
    );
    await until(holder.isWaitedFor);
    process.kill('SIGKILL');
    await process.ended;
    expect(await cut).toBe('cut off');
    // The database has not noticed the lost connection yet, so the first request still counts as in flight.
    expect((await post('/v1/organizations', key, { name })).body.code).toBe('idempotency_key_in_flight');
    await holder.release();

    let answer = await post('/v1/organizations', key, { name });
    await until(async () => {
      if (answer.status === 409) answer = await post('/v1/organizations', key, { name });
      return answer.status !== 409;
    });
    expect([answer.status, answer.headers['idempotent-replayed']]).toEqual([201, undefined]);
    expect((await post('/v1/organizations', key, { name })).text).toBe(answer.text);
    expect(await countOf('organizations', name)).toBe(1);
    expect(await t.db.rows('SELECT 1 FROM audit_log WHERE target_id = $1', [answer.body.id])).toHaveLength(1);
  });

  it('return the response to a client that disconnected before', async () => {
    const key = randomUUID();
    const name = `Hung up ${key}`;
    const holder = await holdAuditLog();
    const hangUp = new AbortController();
    const cut = fetch(`${t.url}/v1/organizations`, {
      method: 'POST',
      signal: hangUp.signal,
      headers: { ...tenant.admin.auth, 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ name }),
    }).catch(() => 'hung up');
    await until(holder.isWaitedFor);
    hangUp.abort();
    expect(await cut).toBe('hung up');
    await holder.release();
    await until(async () => (await t.db.rows('SELECT 1 FROM idempotency_keys WHERE key = $1', [key])).length === 1);
    const answer = await post('/v1/organizations', key, { name }).expect(201);
    expect(answer.headers['idempotent-replayed']).toBe('true');
    expect(await countOf('organizations', name)).toBe(1);
  });

  it('expire after a day, and are deleted', async () => {
    const operator = await createPerson(t.db, 'operator', { operator: true });
    const [old, young] = [randomUUID(), randomUUID()];
    const first = await post('/v1/organizations', old, { name: 'Day one' }).expect(201);
    await post('/v1/organizations', young, { name: 'Day two' }).expect(201);
    await t.db.rows(`UPDATE idempotency_keys SET created_at = now() - interval '23 hours 59 minutes' WHERE key = ANY ($1)`, [[old, young]]);
    expect((await post('/v1/organizations', old, { name: 'Day one' }).expect(201)).text).toBe(first.text);
    const outdate = async () =>
      t.db.rows(`UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second' WHERE key = $1`, [old]);
    await outdate();
    const next = await post('/v1/organizations', old, { name: 'Another thing' }).expect(201);
    expect(next.headers['idempotent-replayed']).toBeUndefined();
    expect(next.body.id).not.toBe(first.body.id);

    await outdate();
    await until(async () => (await t.http.post('/v1/jobs/prune_idempotency_keys/run').set(operator.auth)).status === 202);
    const left = async () => t.db.rows('SELECT key FROM idempotency_keys WHERE key = ANY ($1)', [[old, young]]);
    await until(async () => (await left()).length === 1);
    expect(await left()).toEqual([{ key: young }]);
  });

  it('are optional', async () => {
    const send = async () => t.http.post('/v1/organizations').set(tenant.admin.auth).send({ name: 'Twins' }).expect(201);
    expect((await send()).body.id).not.toBe((await send()).body.id);
  });

  /** A digest of everything that an effect may change. */
  async function dumpOfRows(): Promise<unknown> {
    return t.db.rows(`
      SELECT (SELECT count(*) FROM organizations) AS organizations, (SELECT count(*) FROM organization_memberships) AS memberships,
             (SELECT count(*) FROM invitations) AS invitations, (SELECT count(*) FROM api_keys) AS keys,
             (SELECT count(*) FROM audit_log) AS entries, (SELECT count(*) FROM outbox) AS mails,
             (SELECT md5(json_agg(k ORDER BY id)::text) FROM api_keys k) AS key_rows,
             (SELECT json_agg(i ORDER BY key)::text FROM idempotency_keys i) AS stored`);
  }

  /** Blocks every request with an audit entry until `release` is called. */
  async function holdAuditLog(): Promise<{ isWaitedFor(): Promise<boolean>; release(): Promise<void> }> {
    const client = new pg.Client({ connectionString: t.db.url });
    await client.connect();
    await client.query('BEGIN; LOCK TABLE audit_log IN EXCLUSIVE MODE');
    return {
      isWaitedFor: async () =>
        (await t.db.rows(`SELECT 1 FROM pg_locks WHERE relation = 'audit_log'::regclass AND NOT granted`)).length === 1,
      release: async () => {
        await client.query('ROLLBACK');
        await client.end();
      },
    };
  }
});
