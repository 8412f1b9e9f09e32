import { createHash } from 'node:crypto';
import { declaredScopes } from '../../src/access/scopes.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { dumpOf } from '../support/dump.js';
import { until } from '../support/until.js';
import { addMember, createKey, createPerson, createTenant, type Tenant } from '../support/tenant-world.js';

interface FreshKey {
  id: string;
  key: string;
  prefix: string;
  scopes: string[];
  expiresAt: string | null;
}

describe('API keys', () => {
  /** Two processes on one database. */
  let t: TestApp;
  let elsewhere: TestApp;
  let tenant: Tenant;
  let base: string;
  beforeAll(async () => {
    t = await startTestApp();
    elsewhere = await startTestApp({}, t.db);
  });
  beforeEach(async () => {
    tenant = await createTenant(t.db);
    base = `/v1/organizations/${tenant.organization.id}`;
  });
  afterAll(async () => {
    await elsewhere.close();
    await t.close();
  });

  async function make(body: object = {}): Promise<FreshKey> {
    const request = { name: 'A key', scopes: ['members:read'], ...body };
    return (await t.http.post(`${base}/api-keys`).set(tenant.admin.auth).send(request).expect(201)).body as FreshKey;
  }

  async function rotate(id: string, overlapSeconds?: number): Promise<FreshKey> {
    const body = overlapSeconds === undefined ? {} : { overlapSeconds };
    return (await t.http.post(`${base}/api-keys/${id}/rotate`).set(tenant.admin.auth).send(body).expect(201)).body as FreshKey;
  }

  /** The status of a request with the key at both processes. */
  async function statusesOf(key: string): Promise<number[]> {
    const answers = await Promise.all([t, elsewhere].map(({ http }) => http.get(`${base}/memberships`).set('x-api-key', key)));
    return answers.map(({ status }) => status);
  }

  it('start with the product and the environment', async () => {
    const { key, prefix } = await make();
    expect(key).toMatch(/^tnt_test_[0-9A-Za-z]{40}$/);
    expect(key.startsWith(prefix)).toBe(true);
    expect(prefix).toMatch(/^tnt_test_[0-9A-Za-z]{6}$/);

    const production = await startTestApp({ NODE_ENV: 'production', PUBLIC_URL: 'https://api.example.com' }, t.db);
    const answer = await production.http
      .post(`${base}/api-keys`)
      .set(tenant.admin.auth)
      .send({ name: 'Live', scopes: ['members:read'] })
      .expect(201);
    await production.close();
    expect((answer.body as FreshKey).key).toMatch(/^tnt_live_[0-9A-Za-z]{40}$/);
  });

  it('are shown once and stored as a hash', async () => {
    const { id, key } = await make();
    const { key: successor } = await rotate(id);
    const list = await t.http.get(`${base}/api-keys`).set(tenant.admin.auth).expect(200);
    expect(list.text).toContain(id);
    const log = await t.http.get(`${base}/audit-log`).set(tenant.admin.auth).expect(200);
    const dump = await dumpOf(t.db);
    for (const secret of [key, successor]) {
      const hidden = secret.slice('tnt_test_'.length + 6);
      for (const text of [list.text, log.text, dump]) expect(text).not.toContain(hidden);
      expect(dump).toContain(createHash('sha256').update(secret).digest('base64url'));
      expect(list.text + log.text).not.toContain(createHash('sha256').update(secret).digest('base64url'));
    }
  });

  it('allow exactly their scopes', async () => {
    const routes: Record<string, string> = {
      'organization:read': base,
      'members:read': `${base}/memberships`,
      'audit:read': `${base}/audit-log`,
    };
    for (const [scope, route] of Object.entries(routes)) {
      const { key } = await make({ scopes: [scope] });
      for (const other of Object.values(routes)) {
        const answer = await t.http.get(other).set('x-api-key', key);
        expect([scope, other, answer.status]).toEqual([scope, other, other === route ? 200 : 403]);
        if (other !== route) expect(answer.body.code).toBe('scope_required');
      }
    }
  });

  it('work in their organization only, and other organizations look unknown', async () => {
    const neighbour = await createTenant(t.db);
    const { key } = await make({ scopes: declaredScopes() });
    const theirs = await t.http.get(`/v1/organizations/${neighbour.organization.id}/memberships`).set('x-api-key', key).expect(404);
    const unknown = await t.http
      .get('/v1/organizations/0198a000-0000-7000-8000-000000000000/memberships')
      .set('x-api-key', key)
      .expect(404);
    expect({ ...theirs.body, requestId: '' }).toEqual({ ...unknown.body, requestId: '' });
    await t.http.get(`${base}/memberships`).set('x-api-key', key).expect(200);
    await t.http
      .get(`${base.toUpperCase().replace('/V1/ORGANIZATIONS', '/v1/organizations')}/memberships`)
      .set('x-api-key', key)
      .expect(200);
  });

  it.each([
    ['an unknown scope', { scopes: ['members:write'] }, 'body.scopes'],
    ['no scopes', { scopes: [] }, 'body.scopes'],
    ['scopes that are not a list', { scopes: 'members:read' }, 'body.scopes'],
    ['an expiry in the past', { expiresAt: '2020-01-01T00:00:00Z' }, 'body.expiresAt'],
    ['an expiry that is not a time', { expiresAt: 'tomorrow' }, 'body.expiresAt'],
    ['a blank name', { name: '  ' }, 'body.name'],
    ['an unknown field', { organizationId: '0198a000-0000-7000-8000-000000000000' }, 'body.organizationId'],
  ])('are not created with %s', async (_, body, path) => {
    const request = { name: 'A key', scopes: ['members:read'], ...body };
    const answer = await t.http.post(`${base}/api-keys`).set(tenant.admin.auth).send(request).expect(400);
    expect(answer.body.errors.map((error: { path: string }) => error.path)).toContain(path);
  });

  it('count a repeated scope once', async () => {
    expect((await make({ scopes: ['members:read', 'members:read'] })).scopes).toEqual(['members:read']);
  });

  it('are rejected by every process from the next request on after they are revoked', async () => {
    const { id, key } = await make();
    expect(await statusesOf(key)).toEqual([200, 200]);
    await t.http.delete(`${base}/api-keys/${id}`).set(tenant.admin.auth).expect(204);
    expect(await statusesOf(key)).toEqual([401, 401]);
    await t.http.delete(`${base}/api-keys/${id}`).set(tenant.admin.auth).expect(404);
    await t.http.post(`${base}/api-keys/${id}/rotate`).set(tenant.admin.auth).send({}).expect(404);
  });

  it('are rejected by every process after they expire', async () => {
    const { id, key } = await make({ expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    expect(await statusesOf(key)).toEqual([200, 200]);
    await t.db.rows(`UPDATE api_keys SET expires_at = now() WHERE id = $1`, [id]);
    expect(await statusesOf(key)).toEqual([401, 401]);
  });

  it('are not found for rotation or revocation after they expire', async () => {
    const { id } = await make({ expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
    await t.db.rows(`UPDATE api_keys SET expires_at = now() WHERE id = $1`, [id]);
    const answers = [
      await t.http.post(`${base}/api-keys/${id}/rotate`).set(tenant.admin.auth).send({ overlapSeconds: 3600 }),
      await t.http.delete(`${base}/api-keys/${id}`).set(tenant.admin.auth),
    ];
    for (const { status, body } of answers) expect([status, body.code]).toEqual([404, 'api_key_not_found']);
  });

  it('overlap after a rotation for the requested time', async () => {
    const old = await make({ expiresAt: '2099-01-01T00:00:00Z', scopes: ['members:read', 'audit:read'] });
    const fresh = await rotate(old.id, 3600);
    expect(fresh).toMatchObject({ scopes: old.scopes, expiresAt: old.expiresAt });
    expect(fresh.key).not.toBe(old.key);
    expect([await statusesOf(old.key), await statusesOf(fresh.key)]).toEqual([
      [200, 200],
      [200, 200],
    ]);
    const [ends] = await t.db.rows<{ seconds: number }>(
      'SELECT extract(epoch FROM revoked_at - now())::float8 AS seconds FROM api_keys WHERE id = $1',
      [old.id],
    );
    expect(ends!.seconds).toBeGreaterThan(3500);
    expect(ends!.seconds).toBeLessThanOrEqual(3600);

    await t.db.rows(`UPDATE api_keys SET revoked_at = now() WHERE id = $1`, [old.id]);
    expect([await statusesOf(old.key), await statusesOf(fresh.key)]).toEqual([
      [401, 401],
      [200, 200],
    ]);
  });

  it('end at once after a rotation without an overlap', async () => {
    const old = await make();
    const fresh = await rotate(old.id, 0);
    expect([await statusesOf(old.key), await statusesOf(fresh.key)]).toEqual([
      [401, 401],
      [200, 200],
    ]);
  });

  it('can be rotated again during the overlap, which does not extend the overlap', async () => {
    const old = await make();
    await rotate(old.id, 60);
    expect((await rotate(old.id, 3600)).expiresAt).toBeNull();
    const [ends] = await t.db.rows<{ seconds: number }>(
      'SELECT extract(epoch FROM revoked_at - now())::float8 AS seconds FROM api_keys WHERE id = $1',
      [old.id],
    );
    expect(ends!.seconds).toBeLessThanOrEqual(60);
  });

  it('do not live longer after a rotation', async () => {
    const soon = new Date(Date.now() + 60_000).toISOString();
    const old = await make({ expiresAt: soon });
    await rotate(old.id, 3600);
    const { body } = await t.http.get(`${base}/api-keys`).set(tenant.admin.auth).expect(200);
    expect(body.data.find(({ id }: FreshKey) => id === old.id).expiresAt).toBe(soon);
  });

  it.each([-1, 604_801, 1.5, '60'])('are not rotated with an overlap of %p', async (overlapSeconds) => {
    const { id } = await make();
    await t.http.post(`${base}/api-keys/${id}/rotate`).set(tenant.admin.auth).send({ overlapSeconds }).expect(400);
  });

  it('have their last use recorded at most once a minute', async () => {
    const { id, key } = await make();
    const row = async () =>
      (
        await t.db.rows<{ xmin: string; last_used_at: Date | null }>('SELECT xmin::text, last_used_at FROM api_keys WHERE id = $1', [id])
      )[0]!;
    expect((await row()).last_used_at).toBeNull();
    expect(await statusesOf(key)).toEqual([200, 200]);
    const first = await until(async () => {
      const now = await row();
      return now.last_used_at !== null && now;
    });
    await Promise.all(Array.from({ length: 25 }, async () => statusesOf(key)));
    expect(await row()).toEqual(first);

    await t.db.rows(`UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = $1`, [id]);
    const old = await row();
    // For a moment after it has recorded a use, a process ignores others of the same key.
    await until(async () => {
      expect(await statusesOf(key)).toEqual([200, 200]);
      return (await row()).last_used_at!.getTime() > old.last_used_at!.getTime();
    });
  });

  it('stop working when their organization is deleted, and work again after a restore', async () => {
    const operator = await createPerson(t.db, 'operator', { operator: true });
    const { key } = await make();
    const revoked = await make();
    await t.http.delete(`${base}/api-keys/${revoked.id}`).set(tenant.admin.auth).expect(204);
    await t.http.delete(base).set(tenant.admin.auth).expect(204);
    expect(await statusesOf(key)).toEqual([401, 401]);
    await t.http.post(`${base}/restore`).set(operator.auth).expect(200);
    expect([await statusesOf(key), await statusesOf(revoked.key)]).toEqual([
      [200, 200],
      [401, 401],
    ]);
  });

  it('still work after their creator deletes the account', async () => {
    const { id, key } = await make();
    await t.http.delete('/v1/users/me').set(tenant.admin.auth).expect(204);
    expect(await statusesOf(key)).toEqual([200, 200]);
    const { body } = await t.http.get(`${base}/api-keys`).set(tenant.coAdmin.auth).expect(200);
    expect(body.data.find((one: FreshKey) => one.id === id)).toMatchObject({ createdBy: tenant.admin.id });
  });

  it.each([
    ['GET', '/v1/users/me'],
    ['POST', '/v1/organizations'],
    ['GET', '/v1/organizations'],
    ['GET', '/v1/sessions'],
    ['GET', '/v1/users'],
  ])('get 403 for %s %s, which needs a user', async (method, path) => {
    const key = await createKey(t.db, tenant, declaredScopes());
    const answer = await (method === 'GET' ? t.http.get(path) : t.http.post(path).send({ name: 'x' })).set(key.auth).expect(403);
    expect(answer.body.code).toBe('session_required');
  });

  it('cannot create, rotate or revoke keys', async () => {
    const { id, key } = await make({ scopes: declaredScopes() });
    const calls = [
      t.http.post(`${base}/api-keys`).send({ name: 'k', scopes: ['members:read'] }),
      t.http.post(`${base}/api-keys/${id}/rotate`).send({}),
      t.http.delete(`${base}/api-keys/${id}`),
      t.http.get(`${base}/api-keys`),
    ];
    for (const one of calls) expect((await one.set('x-api-key', key)).body.code).toBe('session_required');
    expect(await statusesOf(key)).toEqual([200, 200]);
  });

  it('are rejected together with a session token, and no cookie is used when they are invalid', async () => {
    const { key } = await make();
    const both = await t.http.get(`${base}/memberships`).set('x-api-key', key).set(tenant.admin.auth).expect(400);
    expect(both.body.code).toBe('ambiguous_credentials');
    await t.http.get(`${base}/memberships`).set('x-api-key', 'tnt_test_wrong').set('cookie', tenant.admin.cookie).expect(401);
    await t.http.get(`${base}/memberships`).set('x-api-key', '').set('cookie', tenant.admin.cookie).expect(401);
    await t.http.get(`${base}/memberships`).set('authorization', `Bearer ${key}`).expect(401);
  });

  it('share one rate limit in an organization, over all processes', async () => {
    const neighbour = await createTenant(t.db);
    await addMember(t.db, neighbour, tenant.admin);
    const limited = await Promise.all([t, t].map(async () => startTestApp({ RATE_LIMIT_API: '5/3600' }, t.db)));
    const [one, two] = [await make(), await make()];
    const statuses: number[] = [];
    for (const [index, { key }] of [one, two, one, two, one, two].entries()) {
      statuses.push((await limited[index % 2]!.http.get(`${base}/memberships`).set('x-api-key', key)).status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200, 429]);
    const other = await limited[0]!.http.get(`/v1/organizations/${neighbour.organization.id}/memberships`).set(neighbour.keys.full.auth);
    expect(other.status).toBe(200);
    await Promise.all(limited.map(async (app) => app.close()));
  });

  it('use nothing of the rate limit when they are revoked or expired', async () => {
    const limited = await startTestApp({ RATE_LIMIT_API: '5/3600' }, t.db);
    for (const { auth } of [tenant.keys.revoked, tenant.keys.expired]) {
      for (let sent = 0; sent < 3; sent += 1) await limited.http.get(`${base}/memberships`).set(auth);
    }
    const alive = await limited.http.get(`${base}/memberships`).set(tenant.keys.full.auth).expect(200);
    expect(alive.headers['ratelimit']).toContain('r=4');
    await limited.close();
  });

  it('are listed newest first, page by page, with revoked and expired ones', async () => {
    const made = [await make(), await make()];
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const { body } = await t.http.get(`${base}/api-keys?limit=2${query}`).set(tenant.admin.auth).expect(200);
      seen.push(...body.data.map(({ id }: FreshKey) => id));
      cursor = body.nextCursor;
    } while (cursor !== null);
    expect(seen.slice(0, 2)).toEqual(made.map(({ id }) => id).toReversed());
    expect(seen.toSorted()).toEqual([...made, ...Object.values(tenant.keys)].map(({ id }) => id).toSorted());
  });
});
