import { v7 } from 'uuid';
import { startTestApp, type TestApp } from '../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { addMember, allPages, auditOf, bytesOf, createOrganization, membershipOf, runJob, verifyEmail } from '../support/tenants.js';
import { untilLocked } from '../support/until.js';

interface Problem {
  code: string;
  errors?: { path: string; message: string }[];
}

/** The free slug that an error suggests. */
function suggestionIn({ errors }: Problem): string {
  expect(errors).toEqual([{ path: 'body.slug', message: expect.stringMatching(/^"[a-z0-9-]+" is free$/) }]);
  return /"(.+)"/.exec(errors![0]!.message)![1]!;
}

describe('organizations', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  let bob: SignedInPerson;
  let outsider: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    t = await startTestApp({ PURGE_AFTER_DAYS: '30' });
    [ada, bob, outsider, operator] = await Promise.all([signUp(t), signUp(t), signUp(t), signUpOperator(t)]);
  });
  afterAll(() => t.close());

  describe('creating', () => {
    it('makes the creator the admin, and writes an audit entry', async () => {
      const { body } = await t.http
        .post('/v1/organizations')
        .set(ada.auth)
        .send({ name: '  Acmé Inc. ', imageUrl: 'https://example.com/a.png' })
        .expect(201);
      expect(body).toEqual({
        id: expect.any(String),
        name: 'Acmé Inc.',
        slug: 'acme-inc',
        imageUrl: 'https://example.com/a.png',
        clerkOrganizationId: null,
        role: 'admin',
        createdAt: expect.any(String),
        updatedAt: expect.any(String),
      });
      expect((await membershipOf(t, body.id, ada))!.role).toBe('admin');
      expect(await auditOf(t, body.id)).toEqual([
        {
          action: 'organization.created',
          actor_id: ada.id,
          actor_kind: 'user',
          target_id: body.id,
          changes: {
            name: { after: 'Acmé Inc.' },
            slug: { after: 'acme-inc' },
            imageUrl: { after: 'https://example.com/a.png' },
          },
        },
      ]);
    });

    it('requires a session', async () => {
      const { body } = await t.http.post('/v1/organizations').send({ name: 'Acme' }).expect(401);
      expect(body.code).toBe('signed_out');
    });

    it.each([
      [{}, 'body.name'],
      [{ name: '' }, 'body.name'],
      [{ name: '   ' }, 'body.name'],
      [{ name: 'x'.repeat(201) }, 'body.name'],
      [{ name: 7 }, 'body.name'],
      [{ name: null }, 'body.name'],
      [{ name: 'a\0b' }, 'body.name'],
      [{ name: 'Acme', slug: null }, 'body.slug'],
      [{ name: 'Acme', slug: 'x' }, 'body.slug'],
      [{ name: 'Acme', slug: 'x'.repeat(101) }, 'body.slug'],
      [{ name: 'Acme', slug: '🚀🚀🚀' }, 'body.slug'],
      [{ name: 'Acme', slug: '../..' }, 'body.slug'],
      [{ name: 'Acme', slug: ['a', 'b'] }, 'body.slug'],
      [{ name: 'Acme', imageUrl: 'http://example.com/a.png' }, 'body.imageUrl'],
      [{ name: 'Acme', imageUrl: 'javascript:alert(1)' }, 'body.imageUrl'],
      [{ name: 'Acme', clerkOrganizationId: 'org_1' }, 'body.clerkOrganizationId'],
    ])('rejects %j and names %s', async (given, path) => {
      const { body } = await t.http.post('/v1/organizations').set(ada.auth).send(given).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(body.errors.map((error: { path: string }) => error.path)).toContain(path);
    });

    it.each([
      ['Grüße & Co.', 'grusse-co'],
      ['a.b/c', 'a-b-c'],
      ['  UPPER  ', 'upper'],
    ])('normalizes the slug %j to %j', async (slug, normalised) => {
      expect((await createOrganization(t, ada, { slug })).slug).toBe(normalised);
    });

    it('generates a slug for a name without usable characters', async () => {
      expect((await createOrganization(t, ada, { name: '🚀🚀' })).slug).toMatch(/^organization-[a-z0-9]{6}$/);
    });

    it('derives another slug when the name is reserved', async () => {
      expect((await createOrganization(t, ada, { name: 'Admin' })).slug).toBe('admin-2');
    });

    it('rejects a reserved slug and suggests a free one', async () => {
      const { body } = await t.http.post('/v1/organizations').set(ada.auth).send({ name: 'x', slug: 'Support' }).expect(409);
      expect(body.code).toBe('slug_reserved');
      await createOrganization(t, ada, { slug: suggestionIn(body) });
    });

    it('rejects a taken slug and suggests a free one each time', async () => {
      await createOrganization(t, ada, { slug: 'popular' });
      const suggested = new Set<string>();
      for (let round = 0; round < 12; round += 1) {
        const { body } = await t.http.post('/v1/organizations').set(bob.auth).send({ name: 'x', slug: 'popular' }).expect(409);
        expect(body.code).toBe('slug_taken');
        const suggestion = suggestionIn(body);
        expect((await createOrganization(t, bob, { slug: suggestion })).slug).toBe(suggestion);
        suggested.add(suggestion);
      }
      expect(suggested.size).toBe(12);
    });

    it('gives a slug to one of 50 concurrent requests, and a suggestion to each of the others', async () => {
      const wanted = { name: 'Raced', slug: 'raced' };
      const answers = await Promise.all(Array.from({ length: 50 }, () => t.http.post('/v1/organizations').set(ada.auth).send(wanted)));
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(1);
      const refused = answers.filter(({ status }) => status !== 201);
      expect(refused.map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(49).fill('409 slug_taken'));
      for (const { body } of refused) expect(suggestionIn(body)).toMatch(/^raced-/);
      await createOrganization(t, ada, { slug: suggestionIn(refused[0]!.body) });
    });

    it('answers every request that loses a slug to another process', async () => {
      const holder = await t.db.pool.connect();
      try {
        await holder.query('BEGIN');
        await holder.query(`INSERT INTO organizations (id, name, slug) VALUES ($1, 'Other process', 'contested')`, [v7()]);
        const losers = Array.from({ length: 30 }, async () =>
          t.http.post('/v1/organizations').set(ada.auth).send({ name: 'x', slug: 'contested' }),
        );
        const answers = Promise.all(losers);
        await untilLocked(t.db, 10);
        await holder.query('COMMIT');
        expect((await answers).map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(30).fill('409 slug_taken'));
      } finally {
        holder.release();
      }
    });

    it('gives 50 concurrent creations with one name different slugs', async () => {
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => t.http.post('/v1/organizations').set(ada.auth).send({ name: 'Same Name' })),
      );
      expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(201));
      expect(new Set(answers.map(({ body }) => body.slug)).size).toBe(50);
    });

    it('normalizes to the form that the database checks', async () => {
      const [{ form }] = (await t.db.rows<{ form: string }>(
        `SELECT pg_get_constraintdef(oid) AS form FROM pg_constraint WHERE conname = 'organizations_slug_form'`,
      )) as [{ form: string }];
      expect(form).toContain('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$');
    });
  });

  describe('reading', () => {
    it('returns an organization to a member, without the member’s role', async () => {
      const { id, path } = await createOrganization(t, ada);
      await addMember(t, id, bob);
      for (const { auth } of [ada, bob]) {
        const { body } = await t.http.get(path).set(auth).expect(200);
        expect(body).toMatchObject({ id, clerkOrganizationId: null });
      }
      await t.http.get(path.toUpperCase().replace('/V1/ORGANIZATIONS', '/v1/organizations')).set(ada.auth).expect(200);
    });

    it('requires a session on every route', async () => {
      const { path } = await createOrganization(t, ada);
      const answers = await Promise.all([
        t.http.get(path),
        t.http.patch(path).send({ name: 'x' }),
        t.http.delete(path),
        t.http.get('/v1/organizations'),
        t.http.get('/v1/organizations/by-slug/acme-inc'),
        t.http.post(`${path}/restore`),
      ]);
      expect(answers.map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(6).fill('401 signed_out'));
    });

    it('returns an outsider the same bytes on every route as for an unknown organization', async () => {
      const { id } = await createOrganization(t, ada);
      const routes = (organizationId: string) => {
        const base = `/v1/organizations/${organizationId}`;
        const [m, i] = [`${base}/memberships`, `${base}/invitations`];
        const http = t.http;
        return [
          http.get(base),
          http.patch(base).send({ name: 'Stolen' }),
          http.delete(base),
          http.get(m),
          http.patch(`${m}/${v7()}`).send({ role: 'admin' }),
          http.delete(`${m}/${v7()}`),
          http.post(i).send({ email: 'x@example.com', role: 'member' }),
          http.get(i),
          http.delete(`${i}/${v7()}`),
          http.post(`${i}/${v7()}/resend`).send({}),
        ];
      };
      const theirs = await Promise.all(routes(id).map((request) => request.set(outsider.auth)));
      const unknown = await Promise.all(routes(v7()).map((request) => request.set(outsider.auth)));
      expect(theirs.map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(10).fill('404 organization_not_found'));
      expect(theirs.map(bytesOf)).toEqual(unknown.map(bytesOf));
    });

    it.each(['abc', '123', 'by-slug', '01980a3e-7c1d-7f6a-b1c2-3d4e5f60718', '%F0%9F%9A%80'])('rejects %s as an id', async (id) => {
      const { body } = await t.http.get(`/v1/organizations/${id}`).set(ada.auth).expect(400);
      expect(body).toMatchObject({ code: 'invalid_request', errors: [{ path: 'params.organizationId' }] });
    });
  });

  describe('reading by slug', () => {
    it('returns an organization to a member, with the member’s role', async () => {
      const { id, slug } = await createOrganization(t, ada);
      await addMember(t, id, bob);
      const { body } = await t.http.get(`/v1/organizations/by-slug/${slug}`).set(bob.auth).expect(200);
      expect(body).toMatchObject({ id, slug, role: 'member' });
    });

    it('returns an outsider the same bytes as for an unknown slug', async () => {
      const { slug } = await createOrganization(t, ada);
      const theirs = await t.http.get(`/v1/organizations/by-slug/${slug}`).set(outsider.auth).expect(404);
      const unknown = await t.http.get('/v1/organizations/by-slug/no-such-slug').set(outsider.auth).expect(404);
      expect(bytesOf(theirs)).toBe(bytesOf(unknown));
    });

    it.each(['a.b', '..%2F..%2Fetc', 'a%2Fb', '%F0%9F%9A%80', 'x'.repeat(49), '%25', "'%20OR%20true--", '-'])(
      'finds nothing at %s',
      async (slug) => {
        const { body } = await t.http.get(`/v1/organizations/by-slug/${slug}`).set(ada.auth).expect(404);
        expect(body.code).toBe('organization_not_found');
      },
    );

    it('rejects a slug with NUL or invalid UTF-8', async () => {
      const nul = await t.http.get('/v1/organizations/by-slug/a%00b').set(ada.auth);
      expect([nul.status, nul.body.code]).toEqual([404, 'route_not_found']);
      const broken = await t.http.get('/v1/organizations/by-slug/%ff').set(ada.auth);
      expect([broken.status, broken.body.code]).toEqual([404, 'route_not_found']);
    });

    it('lets an operator read it without a role, and writes an audit entry', async () => {
      const { id, slug } = await createOrganization(t, ada);
      const { body } = await t.http.get(`/v1/organizations/by-slug/${slug}`).set(operator.auth).expect(200);
      expect(body).toMatchObject({ id, role: null });
      expect(await auditOf(t, id, 'operator.read')).toEqual([expect.objectContaining({ actor_id: operator.id, target_id: id })]);
    });
  });

  describe('listing the own organizations', () => {
    it('returns exactly the caller’s organizations, newest first, in complete pages', async () => {
      const carl = await signUp(t);
      const made: string[] = [];
      for (let n = 0; n < 7; n += 1) made.unshift((await createOrganization(t, n % 2 === 0 ? carl : ada)).id);
      for (const id of made) if ((await membershipOf(t, id, carl)) === undefined) await addMember(t, id, carl);
      // Equal times are ordered by id.
      await t.db.rows(`UPDATE organizations SET created_at = date_trunc('second', created_at) WHERE id = ANY ($1)`, [made]);
      const left = await createOrganization(t, ada);
      const ended = await addMember(t, left.id, carl);
      await t.http.delete(`${left.path}/memberships/${ended}`).set(carl.auth).expect(204);
      const deleted = await createOrganization(t, carl);
      await t.http.delete(deleted.path).set(carl.auth).expect(204);

      const all = await allPages<{ id: string; role: string }>(t, carl, '/v1/organizations', 2);
      expect(all.map(({ id }) => id).sort()).toEqual(made.slice().sort());
      const [{ ids }] = (await t.db.rows<{ ids: string[] }>(
        'SELECT array_agg(id ORDER BY created_at DESC, id DESC) AS ids FROM organizations WHERE id = ANY ($1)',
        [made],
      )) as [{ ids: string[] }];
      expect(all.map(({ id }) => id)).toEqual(ids);
      expect(new Set(all.map(({ role }) => role))).toEqual(new Set(['admin', 'member']));
    });

    it('rejects a cursor of another user or another list, and a changed one', async () => {
      const { path } = await createOrganization(t, ada);
      await createOrganization(t, ada);
      const { body } = await t.http.get('/v1/organizations?limit=1').set(ada.auth).expect(200);
      const cursor: string = body.nextCursor;
      const [position, signature] = cursor.split('.') as [string, string];
      const spelledOtherwise = `${cursor.slice(0, -1)}${sameBits(cursor.at(-1)!)}`;
      const wrong = [
        `${cursor}x`,
        `${cursor}!`,
        `${cursor}.x`,
        `${cursor}=`,
        `x${cursor}`,
        `${position}.`,
        `.${signature}`,
        position,
        spelledOtherwise,
        'x',
      ];
      for (const one of wrong) {
        const answer = await t.http.get('/v1/organizations').query({ limit: 1, cursor: one }).set(ada.auth);
        expect([one, answer.status, answer.body.code]).toEqual([one, 400, 'invalid_cursor']);
      }
      await t.http.get('/v1/organizations').query({ cursor }).set(bob.auth).expect(400);
      await t.http.get(`${path}/memberships`).query({ cursor }).set(ada.auth).expect(400);
      await t.http.get('/v1/sessions').query({ cursor }).set(ada.auth).expect(400);
      await t.http.get('/v1/organizations').query({ limit: 2, cursor }).set(ada.auth).expect(200);
    });

    it.each(['0', '101', '-1', '1.5', 'x', ''])('rejects %j as a limit', async (limit) => {
      const { body } = await t.http.get('/v1/organizations').query({ limit }).set(ada.auth).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(new Set(body.errors.map((error: { path: string }) => error.path))).toEqual(new Set(['query.limit']));
    });
  });

  describe('changing', () => {
    it('changes the given fields, keeps the others, and writes the difference to the audit log', async () => {
      const { id, path, slug } = await createOrganization(t, ada, { imageUrl: 'https://example.com/a.png' });
      const { body } = await t.http.patch(path).set(ada.auth).send({ name: 'New' }).expect(200);
      expect(body).toMatchObject({ id, name: 'New', slug, imageUrl: 'https://example.com/a.png' });
      const cleared = await t.http
        .patch(path)
        .set(ada.auth)
        .send({ imageUrl: null, slug: `${slug}--X` })
        .expect(200);
      expect(cleared.body).toMatchObject({ name: 'New', slug: `${slug}-x`, imageUrl: null });
      const entries = await auditOf(t, id, 'organization.updated');
      expect(entries.map(({ changes }) => changes)).toEqual([
        { name: { before: expect.any(String), after: 'New' } },
        { slug: { before: slug, after: `${slug}-x` }, imageUrl: { before: 'https://example.com/a.png', after: null } },
      ]);
    });

    it('treats an empty body and the own slug as no change', async () => {
      const { path, slug, name } = await createOrganization(t, ada);
      const { body } = await t.http.patch(path).set(ada.auth).send({}).expect(200);
      expect(body).toMatchObject({ slug, name });
      await t.http.patch(path).set(ada.auth).send({ slug }).expect(200);
    });

    it.each([{ name: '' }, { name: null }, { slug: null }, { slug: '..' }, { imageUrl: 'ftp://x' }, { deletedAt: null }, { id: v7() }])(
      'rejects %j',
      async (given) => {
        const { path } = await createOrganization(t, ada);
        const { body } = await t.http.patch(path).set(ada.auth).send(given).expect(400);
        expect(body.code).toBe('invalid_request');
      },
    );

    it('refuses a member without the admin role', async () => {
      const { id, path } = await createOrganization(t, ada);
      await addMember(t, id, bob);
      const answers = [await t.http.patch(path).set(bob.auth).send({ name: 'x' }), await t.http.delete(path).set(bob.auth)];
      expect(answers.map(({ status, body }) => `${status} ${body.code}`)).toEqual(['403 role_required', '403 role_required']);
    });

    it('refuses an operator without a membership', async () => {
      const { path } = await createOrganization(t, ada);
      await t.http.get(path).set(operator.auth).expect(200);
      await t.http.patch(path).set(operator.auth).send({ name: 'x' }).expect(404);
      await t.http.delete(path).set(operator.auth).expect(404);
    });

    it('rejects a reserved or taken slug and suggests a free one', async () => {
      const { path } = await createOrganization(t, ada);
      const { slug } = await createOrganization(t, bob);
      const reserved = await t.http.patch(path).set(ada.auth).send({ slug: 'api' }).expect(409);
      expect(reserved.body.code).toBe('slug_reserved');
      const taken = await t.http.patch(path).set(ada.auth).send({ slug }).expect(409);
      expect(taken.body.code).toBe('slug_taken');
      await t.http
        .patch(path)
        .set(ada.auth)
        .send({ slug: suggestionIn(taken.body) })
        .expect(200);
    });

    it('gives a slug to one of 20 concurrent organizations, and a suggestion to each of the others', async () => {
      const paths: string[] = [];
      for (let n = 0; n < 20; n += 1) paths.push((await createOrganization(t, ada)).path);
      const answers = await Promise.all(paths.map((path) => t.http.patch(path).set(ada.auth).send({ slug: 'everybodys' })));
      expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
      const refused = answers.filter(({ status }) => status !== 200);
      expect(refused.map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(19).fill('409 slug_taken'));
      for (const { body } of refused) suggestionIn(body);
    });
  });

  describe('deleting and restoring', () => {
    it('hides it from its members at once, frees its slug and keeps its row', async () => {
      const { id, path, slug } = await createOrganization(t, ada);
      await addMember(t, id, bob);
      await t.http.delete(path).set(ada.auth).expect(204);
      for (const { auth } of [ada, bob]) {
        await t.http.get(path).set(auth).expect(404);
        await t.http.get(`/v1/organizations/by-slug/${slug}`).set(auth).expect(404);
      }
      await t.http.delete(path).set(ada.auth).expect(404);
      await t.http.get(path).set(operator.auth).expect(404);
      expect((await createOrganization(t, bob, { slug })).slug).toBe(slug);
      expect(await t.db.rows('SELECT slug FROM organizations WHERE id = $1 AND deleted_at IS NOT NULL', [id])).toEqual([{ slug }]);
      expect((await auditOf(t, id)).map(({ action }) => action)).toEqual(['organization.created', 'organization.deleted']);
    });

    it('restores it with its members and slug for an operator', async () => {
      const { id, path, slug } = await createOrganization(t, ada);
      await addMember(t, id, bob);
      await t.http.delete(path).set(ada.auth).expect(204);
      const { body } = await t.http.post(`${path}/restore`).set(operator.auth).expect(200);
      expect(body).toMatchObject({ id, slug });
      await t.http.get(path).set(bob.auth).expect(200);
      expect((await membershipOf(t, id, ada))!.role).toBe('admin');
      // A second restore changes and writes nothing.
      await t.http.post(`${path}/restore`).set(operator.auth).expect(200);
      expect(await auditOf(t, id, 'organization.restored')).toHaveLength(1);
    });

    it('restores it with another slug when its own was taken meanwhile', async () => {
      const { path, slug } = await createOrganization(t, ada, { slug: 'missed' });
      await t.http.delete(path).set(ada.auth).expect(204);
      await createOrganization(t, bob, { slug });
      const { body } = await t.http.post(`${path}/restore`).set(operator.auth).expect(200);
      expect(body.slug).toBe('missed-2');
    });

    it('restores it while others take its slugs concurrently', async () => {
      const deleted: string[] = [];
      for (let n = 0; n < 8; n += 1) {
        const { path } = await createOrganization(t, ada, { slug: 'in-demand' });
        await t.http.delete(path).set(ada.auth).expect(204);
        deleted.push(path);
      }
      const [restored, created] = await Promise.all([
        Promise.all(deleted.map((path) => t.http.post(`${path}/restore`).set(operator.auth))),
        Promise.all(Array.from({ length: 8 }, () => t.http.post('/v1/organizations').set(bob.auth).send({ name: 'In demand' }))),
      ]);
      expect(restored.map(({ status }) => status)).toEqual(Array(8).fill(200));
      expect(created.map(({ status }) => status)).toEqual(Array(8).fill(201));
      expect(new Set([...restored, ...created].map(({ body }) => body.slug)).size).toBe(16);
    });

    it('restores it with an admin when all its admins have deleted their accounts meanwhile', async () => {
      const carl = await signUp(t);
      const { id, path } = await createOrganization(t, carl);
      await addMember(t, id, ada);
      await addMember(t, id, bob);
      await t.http.delete(path).set(carl.auth).expect(204);
      await t.http.delete('/v1/users/me').set(carl.auth).expect(204);
      await t.http.post(`${path}/restore`).set(operator.auth).expect(200);
      expect([(await membershipOf(t, id, ada))!.role, (await membershipOf(t, id, bob))!.role]).toEqual(['admin', 'member']);
      expect(await auditOf(t, id, 'membership.promoted')).toHaveLength(1);
    });

    it('restores it with an admin while its admin deletes their account concurrently', async () => {
      for (let round = 0; round < 8; round += 1) {
        const carl = await signUp(t);
        const { id, path } = await createOrganization(t, carl);
        await addMember(t, id, bob);
        await t.http.delete(path).set(carl.auth).expect(204);
        const [restored, deleted] = await Promise.all([
          t.http.post(`${path}/restore`).set(operator.auth),
          t.http.delete('/v1/users/me').set(carl.auth),
        ]);
        expect(restored.status).toBe(200);
        expect([204, 409]).toContain(deleted.status);
        expect(await liveAdmins(id)).toBe(1);
      }
    });

    it('allows a restore by operators only', async () => {
      const { path } = await createOrganization(t, ada);
      await t.http.delete(path).set(ada.auth).expect(204);
      const { body } = await t.http.post(`${path}/restore`).set(ada.auth).expect(403);
      expect(body.code).toBe('operator_only');
      await t.http.post(`/v1/organizations/${v7()}/restore`).set(operator.auth).expect(404);
      await t.http.post('/v1/organizations/abc/restore').set(operator.auth).expect(400);
    });

    it('purges it after the retention time with all its rows, and keeps its Clerk ids', async () => {
      const old = await createOrganization(t, ada);
      const fresh = await createOrganization(t, ada);
      const live = await createOrganization(t, ada);
      const bobs = await addMember(t, old.id, bob);
      await verifyEmail(t, ada, outsider);
      await t.http.post(`${old.path}/invitations`).set(ada.auth).send({ email: 'late@example.com', role: 'member' }).expect(201);
      await t.http
        .post(`${old.path}/api-keys`)
        .set(ada.auth)
        .send({ name: 'k', scopes: ['members:read'] })
        .expect(201);
      await t.http.delete(`${old.path}/memberships/${bobs}`).set(bob.auth).expect(204);
      for (const { path } of [old, fresh]) await t.http.delete(path).set(ada.auth).expect(204);
      await t.db.rows(`UPDATE organizations SET deleted_at = now() - interval '31 days', clerk_organization_id = 'org_old' WHERE id = $1`, [
        old.id,
      ]);
      await t.db.rows(
        `UPDATE organizations SET deleted_at = now() - interval '29 days', clerk_organization_id = 'org_fresh' WHERE id = $1`,
        [fresh.id],
      );
      // The ended membership of a former member has a Clerk id too.
      await t.db.rows(`UPDATE organization_memberships SET clerk_membership_id = 'orgmem_old' WHERE id = $1`, [bobs]);
      await t.db.rows(`UPDATE invitations SET clerk_invitation_id = 'orginv_old' WHERE organization_id = $1`, [old.id]);

      await runJob(t, operator, 'purge_organizations');
      const rowsOf = (table: string) => t.db.rows(`SELECT DISTINCT organization_id FROM ${table} WHERE organization_id = $1`, [old.id]);
      expect(await t.db.rows('SELECT id FROM organizations WHERE id = $1', [old.id])).toEqual([]);
      expect(await Promise.all(['organization_memberships', 'invitations', 'api_keys'].map(rowsOf))).toEqual([[], [], []]);
      expect(await t.db.rows(`SELECT kind, external_id FROM purged_ids ORDER BY kind`)).toEqual([
        { kind: 'invitation', external_id: 'orginv_old' },
        { kind: 'membership', external_id: 'orgmem_old' },
        { kind: 'organization', external_id: 'org_old' },
      ]);
      expect((await auditOf(t, old.id)).length).toBeGreaterThan(0);
      expect(await t.db.rows('SELECT id FROM organizations WHERE id = ANY ($1) ORDER BY id', [[fresh.id, live.id]])).toHaveLength(2);
      await t.http.post(`${old.path}/restore`).set(operator.auth).expect(404);
    });

    it('cannot be restored once its purge has begun', async () => {
      const { id, path } = await createOrganization(t, ada);
      await t.http.delete(path).set(ada.auth).expect(204);
      await t.db.rows('UPDATE organizations SET purge_started_at = now() WHERE id = $1', [id]);
      await t.http.post(`${path}/restore`).set(operator.auth).expect(404);
      await t.db.rows('UPDATE organizations SET purge_started_at = NULL WHERE id = $1', [id]);
      await t.http.post(`${path}/restore`).set(operator.auth).expect(200);
    });

    it('purges an organization with more members and invitations than a statement has parameters', async () => {
      const { id, path } = await createOrganization(t, ada);
      await t.http.delete(path).set(ada.auth).expect(204);
      await t.db.rows(
        `INSERT INTO organization_memberships (id, organization_id, user_id, role, clerk_membership_id, deleted_at)
         SELECT gen_random_uuid(), $1, $2, 'member', 'orgmem_many_' || n, now() FROM generate_series(1, 22000) n`,
        [id, ada.id],
      );
      await t.db.rows(
        `INSERT INTO invitations (id, organization_id, email, role, status, expires_at, clerk_invitation_id)
         SELECT gen_random_uuid(), $1, n || '@example.com', 'member', 'revoked', now(), 'orginv_many_' || n FROM generate_series(1, 22000) n`,
        [id],
      );
      await t.db.rows(`UPDATE organizations SET deleted_at = now() - interval '31 days' WHERE id = $1`, [id]);
      expect(await runJob(t, operator, 'purge_organizations')).toBe(1);
      expect(await t.db.rows('SELECT FROM organizations WHERE id = $1', [id])).toEqual([]);
      expect(
        await t.db.rows(
          `SELECT kind, count(*)::int AS ids FROM purged_ids WHERE external_id LIKE '%\\_many\\_%' GROUP BY kind ORDER BY kind`,
        ),
      ).toEqual([
        { kind: 'invitation', ids: 22000 },
        { kind: 'membership', ids: 22000 },
      ]);
    });
  });

  describe('organizations of Clerk', () => {
    it('are readable and not writable', async () => {
      const { id, path } = await createOrganization(t, ada);
      await t.db.rows('UPDATE organizations SET clerk_organization_id = $2, slug = NULL WHERE id = $1', [id, `org_${id}`]);
      const { body } = await t.http.get(path).set(ada.auth).expect(200);
      expect(body).toMatchObject({ clerkOrganizationId: `org_${id}`, slug: null });
      const answers = [
        await t.http.patch(path).set(ada.auth).send({ name: 'x' }),
        await t.http.patch(path).set(ada.auth).send({ slug: 'mine-now' }),
        await t.http.delete(path).set(ada.auth),
      ];
      await t.db.rows('UPDATE organizations SET deleted_at = now() WHERE id = $1', [id]);
      answers.push(await t.http.post(`${path}/restore`).set(operator.auth));
      expect(answers.map(({ status, body: problem }) => `${status} ${problem.code}`)).toEqual(Array(4).fill('409 managed_by_clerk'));
      expect(await auditOf(t, id)).toHaveLength(1);
    });
  });

  async function liveAdmins(organizationId: string): Promise<number> {
    const [row] = await t.db.rows<{ count: number }>(
      `SELECT count(*)::int AS count FROM organization_memberships m JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL
        WHERE m.organization_id = $1 AND m.role = 'admin' AND m.deleted_at IS NULL`,
      [organizationId],
    );
    return row!.count;
  }
});

/** Another base64url letter with the same two leading bits, because a decoder ignores the other bits of the last letter. */
function sameBits(letter: string): string {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  return letters[letters.indexOf(letter) ^ 1]!;
}
