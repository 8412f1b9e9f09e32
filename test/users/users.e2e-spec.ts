import { startTestApp, type TestApp } from '../support/app.js';
import { eventually } from '../support/load.js';
import { PASSWORD, signIn, signUp, signUpOperator, type SignedInPerson } from '../support/people.js';

interface UserBody {
  id: string;
  email: string | null;
  name: string;
  createdAt: string;
}

const UNKNOWN = '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182';

describe('users', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp();
    person = await signUp(t);
    operator = await signUpOperator(t);
  });
  afterAll(() => t.close());

  const get = (path: string, as: SignedInPerson = person) => t.http.get(path).set(as.auth);
  const patch = (body: object, as: SignedInPerson = person) => t.http.patch('/v1/users/me').set(as.auth).send(body);

  it('requires a session on every route', async () => {
    for (const [method, path] of [
      ['get', '/v1/users/me'],
      ['patch', '/v1/users/me'],
      ['delete', '/v1/users/me'],
      ['get', '/v1/users'],
      ['get', `/v1/users/${UNKNOWN}`],
      ['post', `/v1/users/${UNKNOWN}/suspend`],
      ['post', `/v1/users/${UNKNOWN}/unsuspend`],
      ['get', `/v1/users/${UNKNOWN}/sessions`],
      ['delete', `/v1/users/${UNKNOWN}/sessions`],
    ] as const)
      expect((await t.http[method](path).expect(401)).body.code).toBe('signed_out');
  });

  describe('the profile', () => {
    it('is returned with exactly the documented fields', async () => {
      const { body } = await get('/v1/users/me').expect(200);
      expect(body).toEqual({
        id: person.id,
        email: person.email,
        emailVerified: false,
        name: person.name,
        username: null,
        imageUrl: null,
        clerkUserId: null,
        operator: false,
        suspendedAt: null,
        createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        updatedAt: expect.stringMatching(/Z$/),
      });
    });

    it('keeps omitted fields and removes null fields in an update', async () => {
      await patch({ name: 'Ada', username: 'ada', imageUrl: 'https://example.com/ada.png' }).expect(200);
      expect((await patch({ name: 'Ada Lovelace' }).expect(200)).body).toMatchObject({
        name: 'Ada Lovelace',
        username: 'ada',
        imageUrl: 'https://example.com/ada.png',
      });
      expect((await patch({ username: null, imageUrl: null }).expect(200)).body).toMatchObject({
        name: 'Ada Lovelace',
        username: null,
        imageUrl: null,
      });
      expect((await get('/v1/users/me')).body).toMatchObject({ name: 'Ada Lovelace', username: null, imageUrl: null });
      expect((await patch({ name: null }).expect(400)).body.errors[0].path).toBe('body.name');
    });

    it('is unchanged after an empty update', async () => {
      const before = (await get('/v1/users/me')).body as UserBody;
      expect((await patch({}).expect(200)).body).toEqual(before);
    });

    it.each([
      '  Grace Hopper\t',
      'Zoë',
      '李雷',
      'Ḽơᶉëᶆ',
      '👩‍👩‍👧‍👦',
      'مرحبا',
      "Robert'); DROP TABLE users;--",
      '<b>x</b>',
      '%_\\',
      'x'.repeat(200),
      '😀'.repeat(200),
    ])('accepts the name %j and trims it', async (name) => {
      expect((await patch({ name }).expect(200)).body.name).toBe(name.trim());
      expect((await get('/v1/users/me')).body.name).toBe(name.trim());
    });

    it.each([
      ['name', ''],
      ['name', '   '],
      ['name', 'x'.repeat(201)],
      ['name', 1],
      ['name', true],
      ['name', ['x']],
      ['name', { first: 'x' }],
      ['username', ''],
      ['username', 'a b'],
      ['username', '.a'],
      ['username', 'é'],
      ['username', 'a\nb'],
      ['username', 'x'.repeat(64)],
      ['username', 1],
      ['imageUrl', ''],
      ['imageUrl', 'http://example.com/x.png'],
      ['imageUrl', 'javascript:alert(1)'],
      ['imageUrl', 'data:image/png;base64,AA'],
      ['imageUrl', 'example.com/x.png'],
      ['imageUrl', `https://example.com/${'x'.repeat(2000)}`],
      ['imageUrl', 1],
      ['email', 'new@example.com'],
      ['operator', true],
      ['id', UNKNOWN],
    ])('rejects %s %j and names the field', async (field, value) => {
      const before = (await get('/v1/users/me')).body as UserBody;
      const { body } = await patch({ [field]: value }).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(new Set(body.errors.map(({ path }: { path: string }) => path))).toEqual(new Set([`body.${field}`]));
      expect((await get('/v1/users/me')).body).toEqual(before);
    });

    it('is read-only and not deletable for a user of Clerk', async () => {
      const clerk = await signUp(t);
      await t.db.rows('UPDATE users SET clerk_user_id = $2 WHERE id = $1', [clerk.id, 'user_owned']);
      expect((await patch({ name: 'Mine' }, clerk).expect(409)).body.code).toBe('managed_by_clerk');
      expect((await t.http.delete('/v1/users/me').set(clerk.auth).expect(409)).body.code).toBe('managed_by_clerk');
      expect((await get('/v1/users/me', clerk).expect(200)).body.clerkUserId).toBe('user_owned');
    });
  });

  describe('a single user', () => {
    it('is visible to themself and to operators, with an id in any case', async () => {
      expect((await get(`/v1/users/${person.id}`).expect(200)).body.id).toBe(person.id);
      expect((await get(`/v1/users/${person.id.toUpperCase()}`).expect(200)).body.id).toBe(person.id);
      expect((await get(`/v1/users/${person.id}`, operator).expect(200)).body.email).toBe(person.email);
    });

    it('is not found by anyone else, like an unknown user', async () => {
      const [hidden, unknown] = await Promise.all([get(`/v1/users/${operator.id}`), get(`/v1/users/${UNKNOWN}`)]);
      const shape = ({ status, text, body, headers }: typeof hidden) => ({
        status,
        text: text.replace(body.requestId, ''),
        headers: Object.keys(headers).toSorted(),
      });
      expect(shape(hidden)).toEqual(shape(unknown));
      expect(hidden.status).toBe(404);
      expect(hidden.body.code).toBe('user_not_found');
      await get(`/v1/users/${UNKNOWN}`, operator).expect(404);
    });
  });

  describe('suspension', () => {
    it('locks a user out at once, keeps its first time, and can be undone', async () => {
      const target = await signUp(t);
      const suspend = () => t.http.post(`/v1/users/${target.id}/suspend`).set(operator.auth);
      const { body } = await suspend().expect(200);
      expect(body.suspendedAt).toEqual(expect.stringMatching(/Z$/));
      expect((await suspend().expect(200)).body.suspendedAt).toBe(body.suspendedAt);
      expect((await get('/v1/users/me', target).expect(403)).body.code).toBe('user_suspended');
      const refused = await t.http.post('/v1/auth/sign-in/email').send({ email: target.email, password: PASSWORD });
      expect([refused.status, refused.body.code]).toEqual([403, 'user_suspended']);
      const unsuspend = () => t.http.post(`/v1/users/${target.id}/unsuspend`).set(operator.auth);
      expect((await unsuspend().expect(200)).body.suspendedAt).toBeNull();
      expect((await unsuspend().expect(200)).body.suspendedAt).toBeNull();
      await get('/v1/users/me', target).expect(200);
    });

    it('of oneself is refused, with an id in any case', async () => {
      for (const id of [operator.id, operator.id.toUpperCase()])
        expect((await t.http.post(`/v1/users/${id}/suspend`).set(operator.auth).expect(409)).body.code).toBe('cannot_suspend_self');
      await get('/v1/users/me', operator).expect(200);
    });

    it('is 404 for an unknown or deleted user, and 400 for an invalid id', async () => {
      const deleted = await signUp(t);
      await t.http.delete('/v1/users/me').set(deleted.auth).expect(204);
      for (const action of ['suspend', 'unsuspend']) {
        await t.http.post(`/v1/users/${UNKNOWN}/${action}`).set(operator.auth).expect(404);
        await t.http.post(`/v1/users/${deleted.id}/${action}`).set(operator.auth).expect(404);
        await t.http.post(`/v1/users/abc/${action}`).set(operator.auth).expect(400);
      }
    });
  });

  describe('deletion', () => {
    it('ends every access at once and frees the email', async () => {
      const deleted = await signUp(t);
      const second = await signIn(t, deleted);
      await t.http.delete('/v1/users/me').set(deleted.auth).expect(204);
      for (const headers of [deleted.auth, second.auth, { cookie: deleted.cookie }])
        await t.http.get('/v1/users/me').set(headers).expect(401);
      await t.http.post('/v1/auth/sign-in/email').send({ email: deleted.email, password: PASSWORD }).expect(401);
      const [row] = await t.db.rows(
        'SELECT email, email_verified, email_verified_at, deleted_at IS NOT NULL AS deleted FROM users WHERE id = $1',
        [deleted.id],
      );
      expect(row).toEqual({ email: null, email_verified: false, email_verified_at: null, deleted: true });
      for (const table of ['sessions', 'accounts'])
        expect(await t.db.rows(`SELECT id FROM ${table} WHERE user_id = $1`, [deleted.id])).toEqual([]);
      await get(`/v1/users/${deleted.id}`, operator).expect(404);
      const again = await signUp(t, { email: deleted.email });
      expect(again.id).not.toBe(deleted.id);
    });

    it('takes effect once in concurrent requests', async () => {
      const deleted = await signUp(t);
      const statuses = (await Promise.all(Array.from({ length: 8 }, () => t.http.delete('/v1/users/me').set(deleted.auth)))).map(
        ({ status }) => status,
      );
      expect(statuses.filter((status) => status === 204).length).toBeGreaterThanOrEqual(1);
      expect(statuses.filter((status) => ![204, 401, 404].includes(status))).toEqual([]);
    });

    it('is followed by a purge after the retention time, which keeps only the provider’s id', async () => {
      const [old, young] = [await signUp(t), await signUp(t)];
      for (const { id } of [old, young]) await t.db.rows(`UPDATE users SET clerk_user_id = 'user_' || id WHERE id = $1`, [id]);
      const deleteSince = (id: string, age: string) =>
        t.db.rows(`UPDATE users SET deleted_at = now() - $2::interval, email = NULL WHERE id = $1`, [id, age]);
      await deleteSince(old.id, '30 days 1 minute');
      await deleteSince(young.id, '29 days 23 hours');
      await t.http.post('/v1/jobs/purge_users/run').set(operator.auth).expect(202);
      await eventually('the old one is gone', async () => (await t.db.rows('SELECT id FROM users WHERE id = $1', [old.id])).length === 0);
      for (const table of ['sessions', 'accounts']) {
        expect(await t.db.rows(`SELECT id FROM ${table} WHERE user_id = $1`, [old.id])).toEqual([]);
        expect(await t.db.rows(`SELECT id FROM ${table} WHERE user_id = $1`, [young.id])).toHaveLength(1);
      }
      expect(await t.db.rows('SELECT id FROM users WHERE id = $1', [young.id])).toHaveLength(1);
      expect(await t.db.rows(`SELECT provider, kind, external_id FROM purged_ids`)).toEqual([
        { provider: 'clerk', kind: 'user', external_id: `user_${old.id}` },
      ]);
    });
  });

  describe('the list', () => {
    const list = async (query: string): Promise<UserBody[]> => (await get(`/v1/users?${query}`, operator).expect(200)).body.data;
    const search = async (text: string) => (await list(`limit=100&search=${encodeURIComponent(text)}`)).map(({ name }) => name);

    it('filters by email, Clerk id and creation time, alone and together', async () => {
      await t.db.rows(
        `INSERT INTO users (id, email, name, clerk_user_id, created_at)
         SELECT gen_random_uuid(), 'filter-' || n || '@example.net', 'Filter ' || n, 'user_filter_' || n, timestamptz '2020-01-01T00:00:00Z' + n * interval '1 day'
           FROM generate_series(0, 9) n`,
      );
      const names = async (query: string) => (await list(query)).map(({ name }) => name);
      expect(await names('email=filter-3@example.net')).toEqual(['Filter 3']);
      expect(await names('email=%20FILTER-3@Example.net%20')).toEqual(['Filter 3']);
      expect(await names('email=filter-3@example.ne')).toEqual([]);
      expect(await names('clerkUserId=user_filter_4')).toEqual(['Filter 4']);
      expect(await names('clerkUserId=user_filter_')).toEqual([]);
      expect(await names('createdBefore=2020-01-03T00:00:00Z')).toEqual(['Filter 1', 'Filter 0']);
      expect(await names('createdFrom=2020-01-03&createdBefore=2020-01-05T00:00:00.000Z')).toEqual(['Filter 3', 'Filter 2']);
      expect(await names('createdFrom=2020-01-03T02:00:00%2B02:00&createdBefore=2020-01-04')).toEqual(['Filter 2']);
      expect(await names('createdBefore=2020-01-03&email=filter-3@example.net')).toEqual([]);
    });

    it('omits deleted users', async () => {
      const deleted = await signUp(t, { name: 'Deleted Zebra' });
      expect(await search('zebra')).toEqual(['Deleted Zebra']);
      await t.http.delete('/v1/users/me').set(deleted.auth).expect(204);
      expect(await search('zebra')).toEqual([]);
    });

    it('finds the beginnings of words in name, username and email', async () => {
      await signUp(t, { name: 'Žofie Quixote-Müller', email: 'zofie.quix+news@sub-domain.example.org' });
      for (const text of [
        'quixote',
        'QUIX',
        'müll',
        'Žof quix',
        'quix žof',
        'zofie.quix',
        'sub-domain',
        'news',
        'zofie.quix+news@sub-domain.example.org',
      ])
        expect({ text, found: await search(text) }).toEqual({ text, found: ['Žofie Quixote-Müller'] });
      for (const text of ['ixote', 'quix nobody', 'quixotee']) expect({ text, found: await search(text) }).toEqual({ text, found: [] });
    });

    it('treats special characters as separators, never as operators', async () => {
      await signUp(t, { name: "Conan O'Special" });
      for (const text of [
        "o'special",
        'o"special',
        'conan & special',
        'conan | nothing-like-it',
        '!conan',
        'conan:*',
        '(conan',
        'conan)',
        'conan <-> special',
        'conan\\',
        'special%',
        'special_',
        "conan'--",
      ]) {
        const expected = text.includes('nothing') ? [] : ["Conan O'Special"];
        expect({ text, found: await search(text) }).toEqual({ text, found: expected });
      }
      for (const text of ["'", '"', '\\', '%', '_', ':', '&', '|', '!', '(', ')', '<->', ':*', '* & !', ' ', '😀', '. , ;'])
        expect({ text, found: await search(text) }).toEqual({ text, found: [] });
    });

    it.each([
      'limit=0',
      'limit=101',
      'limit=-1',
      'limit=abc',
      'limit=1.5',
      'limit=',
      'limit=1e9',
      'limit=NaN',
      'limit=Infinity',
      'limit=1&limit=2',
      'limit[]=1',
      'email=nobody',
      'email=',
      'email[]=a@example.com',
      'email=a@example.com&email=b@example.com',
      'email[a]=b',
      'createdFrom=abc',
      'createdFrom=1',
      'createdFrom=2020',
      'createdFrom=',
      'createdFrom=2020-13-01',
      'createdFrom=2020-01-01T00:00:00',
      'createdFrom=0000-01-01',
      'createdFrom=%2B275760-09-13T00:00:00Z',
      'createdBefore=-000001-01-01T00:00:00Z',
      'createdFrom=2020-01-01&createdFrom=2021-01-01',
      'search=a&search=b',
      `search=${'x'.repeat(201)}`,
      'search=%00',
      'clerkUserId=%00',
      `clerkUserId=${'x'.repeat(201)}`,
      'offset=1',
      'page=2',
      'sort=name',
    ])('rejects ?%s and names the parameter', async (query) => {
      const { body } = await get(`/v1/users?${query}`, operator).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(body.errors[0].path).toMatch(new RegExp(`^query\\.${/^\w+/.exec(query)![0]}`));
    });

    it('accepts parameters at their limits', async () => {
      for (const query of ['limit=1', 'limit=100', 'createdFrom=1970-01-01', 'createdBefore=9999-12-31T23:59:59.999Z', 'search='])
        await get(`/v1/users?${query}`, operator).expect(200);
    });

    it('returns every user once, newest first, while rows come and go', async () => {
      // Many share one creation time, so that the id decides the order.
      await t.db.rows(
        `INSERT INTO users (id, name, created_at)
         SELECT gen_random_uuid(), 'Page ' || n, timestamptz '2019-01-01T00:00:00Z' + (n / 10) * interval '1 ms' FROM generate_series(1, 95) n`,
      );
      const expected = await t.db.rows<{ id: string }>(`SELECT id FROM users WHERE name LIKE 'Page %' ORDER BY created_at DESC, id DESC`);
      const seen: UserBody[] = [];
      let cursor: string | null = null;
      do {
        const query: string = `limit=7&createdBefore=2019-06-01${cursor === null ? '' : `&cursor=${cursor}`}`;
        const { body } = await get(`/v1/users?${query}`, operator).expect(200);
        expect(body.data.length).toBeLessThanOrEqual(7);
        seen.push(...body.data);
        cursor = body.nextCursor;
        await t.db.rows(`INSERT INTO users (id, name, created_at) VALUES (gen_random_uuid(), 'Newcomer', '2019-02-01')`);
      } while (cursor !== null);
      expect(seen.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
    });

    it('returns no empty last page when the length is a multiple of the limit', async () => {
      const { body } = await get('/v1/users?limit=5&createdFrom=2020-01-01&createdBefore=2020-01-06', operator).expect(200);
      expect([body.data.length, body.nextCursor]).toEqual([5, null]);
    });

    it('rejects a cursor of another list or other filters, and a changed or invented one', async () => {
      const { nextCursor } = (await get('/v1/users?limit=1&createdFrom=2018-01-01', operator).expect(200)).body as { nextCursor: string };
      const filters = 'limit=1&createdFrom=2018-01-01';
      await get(`/v1/users?${filters}&cursor=${nextCursor}`, operator).expect(200);
      // The order of the parameters and the page size do not matter.
      await get(`/v1/users?cursor=${nextCursor}&createdFrom=2018-01-01T00:00:00Z&limit=50`, operator).expect(200);
      const [body, signature] = nextCursor.split('.') as [string, string];
      const forged = Buffer.from(JSON.stringify(['2020-01-01T00:00:00.000Z', UNKNOWN])).toString('base64url');
      for (const cursor of [
        'abc',
        '.',
        '..',
        'a.b',
        '%00',
        '',
        body,
        `${body}.`,
        `.${signature}`,
        `${forged}.${signature}`,
        `${nextCursor}x`,
        `${nextCursor}.x`,
        `${nextCursor}=`,
        'x'.repeat(900),
      ]) {
        const answer = await get(`/v1/users?${filters}&cursor=${cursor}`, operator).expect(400);
        if (cursor !== '%00') expect({ cursor, code: answer.body.code }).toEqual({ cursor, code: 'invalid_cursor' });
      }
      for (const other of ['limit=1', 'limit=1&createdFrom=2018-01-02', `${filters}&search=a`])
        expect((await get(`/v1/users?${other}&cursor=${nextCursor}`, operator).expect(400)).body.code).toBe('invalid_cursor');
      expect((await get(`/v1/sessions?cursor=${nextCursor}`, operator).expect(400)).body.code).toBe('invalid_cursor');
      expect((await get(`/v1/users?${filters}&cursor=${'x'.repeat(1001)}`, operator).expect(400)).body.code).toBe('invalid_request');
    });
  });

  describe('the sessions of a user, for an operator', () => {
    it('are listed and ended', async () => {
      const target = await signUp(t);
      await signIn(t, target);
      const { body } = await get(`/v1/users/${target.id}/sessions`, operator).expect(200);
      expect(body.data.map(({ current }: { current: boolean }) => current)).toEqual([false, false]);
      expect((await t.http.delete(`/v1/users/${target.id}/sessions`).set(operator.auth).expect(200)).body).toEqual({ revoked: 2 });
      await get('/v1/users/me', target).expect(401);
      expect((await t.http.delete(`/v1/users/${target.id}/sessions`).set(operator.auth).expect(200)).body).toEqual({ revoked: 0 });
      await get(`/v1/users/abc/sessions`, operator).expect(400);
      expect((await get(`/v1/users/${target.id}/sessions?cursor=x`, operator).expect(400)).body.code).toBe('invalid_cursor');
      await t.http.delete('/v1/users/abc/sessions').set(operator.auth).expect(400);
    });
  });
});
