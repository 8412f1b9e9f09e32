import { startTestApp, type TestApp } from './support/app.js';
import { signUp, type SignedInPerson } from './support/people.js';

describe('an Idempotency-Key', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp();
    ada = await signUp(t);
  });
  afterAll(() => t.close());

  const create = (key: string, body: object, who = ada) =>
    t.http.post('/v1/organizations').set(who.auth).set('idempotency-key', key).send(body);
  const count = async (name: string) => (await t.db.rows('SELECT id FROM organizations WHERE name = $1', [name])).length;

  it('does once what is sent thirty times at once, and answers each the same or to wait', async () => {
    const answers = await Promise.all(Array.from({ length: 30 }, () => create('race', { name: 'Raced' })));
    const done = answers.filter(({ status }) => status === 201);
    expect(new Set(done.map(({ body }) => (body as { id: string }).id)).size).toBe(1);
    for (const { status, body, headers } of answers.filter((answer) => answer.status !== 201)) {
      expect({ status, code: body.code, retryAfter: headers['retry-after'] }).toEqual({
        status: 409,
        code: 'idempotency_key_in_flight',
        retryAfter: '1',
      });
    }
    expect(done.filter(({ headers }) => headers['idempotent-replayed'] === undefined)).toHaveLength(1);
    expect(await count('Raced')).toBe(1);
    const again = await create('race', { name: 'Raced' }).expect(201);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.body).toEqual(done[0]!.body);
  });

  it('is refused with another body, and is somebody else’s own', async () => {
    await create('reused', { name: 'First' }).expect(201);
    expect((await create('reused', { name: 'Second' }).expect(422)).body.code).toBe('idempotency_key_reused');
    const other = await signUp(t);
    await create('reused', { name: 'Second' }, other).expect(201);
  });

  it('answers a refusal again although its reason is gone', async () => {
    const { body: holder } = await create('holder', { name: 'Holder', slug: 'wanted' }).expect(201);
    const refused = await create('wanting', { name: 'Wanting', slug: 'wanted' }).expect(409);
    await t.http.delete(`/v1/organizations/${holder.id}`).set(ada.auth).expect(204);
    const again = await create('wanting', { name: 'Wanting', slug: 'wanted' }).expect(409);
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.body).toEqual({ ...refused.body, requestId: again.body.requestId });
    expect(await count('Wanting')).toBe(0);
  });

  it('leaves neither effect nor answer when the answer cannot be stored, and works afterwards', async () => {
    await t.db.rows('ALTER TABLE idempotency_keys ADD CONSTRAINT broken CHECK (false) NOT VALID');
    try {
      await create('broken', { name: 'Broken' }).expect(500);
    } finally {
      await t.db.rows('ALTER TABLE idempotency_keys DROP CONSTRAINT broken');
    }
    expect(await count('Broken')).toBe(0);
    const done = await create('broken', { name: 'Broken' }).expect(201);
    expect(done.headers['idempotent-replayed']).toBeUndefined();
  });

  it('stores answers encrypted: a new API key is replayed and stands in no table', async () => {
    const { body: organization } = await create('org', { name: 'Keys' }).expect(201);
    const make = () =>
      t.http
        .post(`/v1/organizations/${organization.id}/api-keys`)
        .set(ada.auth)
        .set('idempotency-key', 'key')
        .send({ name: 'Reporting', scopes: ['audit:read'] })
        .expect(201);
    const { body: first } = await make();
    expect((await make()).body.key).toBe(first.key);
    const stored = await t.db.rows<{ row: string }>(
      'SELECT k::text AS row FROM idempotency_keys k UNION ALL SELECT a::text FROM api_keys a UNION ALL SELECT l::text FROM audit_log l',
    );
    expect(stored.filter(({ row }) => row.includes(first.key))).toEqual([]);
  });
});
