import { sql } from 'drizzle-orm';
import { v7 } from 'uuid';
import { DATABASE, type Database } from '../../src/platform/database/database.js';
import { SYSTEM } from '../../src/access/principal.js';
import { MembershipEnds } from '../../src/memberships/membership-ends.service.js';
import { MembershipsRepository } from '../../src/memberships/memberships.repository.js';
import { MembershipsService } from '../../src/memberships/memberships.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import {
  addMember,
  allPages,
  auditOf,
  bytesOf,
  createOrganization,
  insertUsers,
  membershipOf,
  type Role,
  verifyEmail,
} from '../support/tenants.js';

interface Listed {
  id: string;
  role: Role;
  createdAt: string;
  user: { id: string; name: string; email: string | null; imageUrl: string | null };
}

describe('memberships', () => {
  let t: TestApp;
  let ada: SignedInPerson;
  let bob: SignedInPerson;
  let outsider: SignedInPerson;
  beforeAll(async () => {
    // A larger pool than the default, so that races happen in the database and not in the pool's queue.
    // An answer 503 explains itself in the log.
    t = await startTestApp({ DATABASE_POOL_SIZE: '30', LOG_LEVEL: 'error' });
    [ada, bob, outsider] = await Promise.all([signUp(t), signUp(t), signUp(t)]);
    await verifyEmail(t, ada);
  });
  afterAll(() => t.close());

  /** An organization of Ada with Bob as a member. */
  async function organizationWithBob() {
    const organization = await createOrganization(t, ada);
    const bobs = await addMember(t, organization.id, bob);
    const adas = (await membershipOf(t, organization.id, ada))!.id;
    return { ...organization, list: `${organization.path}/memberships`, adas, bobs };
  }

  describe('listing', () => {
    it('returns all members to a member, without secrets', async () => {
      const { id, list, adas, bobs } = await organizationWithBob();
      const { body } = await t.http.get(list).set(bob.auth).expect(200);
      const entry = (membership: string, person: SignedInPerson, role: string) => ({
        id: membership,
        organizationId: id,
        role,
        user: { id: person.id, name: person.name, email: person.email, imageUrl: null },
        createdAt: expect.any(String),
        updatedAt: expect.any(String),
      });
      expect(body).toEqual({ data: [entry(adas, ada, 'admin'), entry(bobs, bob, 'member')], nextCursor: null });
    });

    it('requires a session, and treats an outsider like an unknown organization', async () => {
      const { list } = await organizationWithBob();
      await t.http.get(list).expect(401);
      const theirs = await t.http.get(list).set(outsider.auth).expect(404);
      const unknown = await t.http.get(`/v1/organizations/${v7()}/memberships`).set(outsider.auth).expect(404);
      expect(bytesOf(theirs)).toBe(bytesOf(unknown));
    });

    it.each([
      ['role=owner', 'query.role'],
      ['role=ADMIN', 'query.role'],
      ['role=admin&role=member', 'query.role'],
      ['sort=email', 'query.sort'],
      ['sort=', 'query.sort'],
      ['limit=0', 'query.limit'],
      ['limit=101', 'query.limit'],
      ['offset=10', 'query.offset'],
      [`search=${'x'.repeat(201)}`, 'query.search'],
      ['search=a%00b', 'query.search'],
    ])('rejects ?%s', async (query, path) => {
      const { list } = await organizationWithBob();
      const { body } = await t.http.get(`${list}?${query}`).set(ada.auth).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(body.errors.map((error: { path: string }) => error.path)).toContain(path);
    });

    describe('of many members', () => {
      const names = ['Zoë', 'zoe', 'Ångström', 'Émile', 'Emile', '李雷', '🚀', 'Ada', 'Ada', 'Ada', "O'Neil", '%_\\', 'ß', 'ss', '', 'Ⅷ'];
      let path: string;
      let list: string;
      let organizationId: string;
      beforeAll(async () => {
        ({ id: organizationId, path } = await createOrganization(t, ada));
        list = `${path}/memberships`;
        const ids = await insertUsers(
          t,
          names.map((name, index) => ({ name, email: `reader${index}@${index % 2 === 0 ? 'even' : 'odd'}.example` })),
        );
        for (const [index, id] of ids.entries()) await addMember(t, organizationId, { id }, index % 4 === 0 ? 'admin' : 'member');
        // Equal times and random ids, so that only the id decides the order.
        await t.db.rows(
          `UPDATE organization_memberships SET created_at = '2026-01-01T00:00:00.123Z', id = md5(id::text)::uuid WHERE organization_id = $1`,
          [organizationId],
        );
        const [first] = ids;
        await t.db.rows('UPDATE users SET name = $2 WHERE id = $1', [first, 'Renamed Zoë']);
      });

      it.each(['joined', 'name'])('returns all members by %s with any page size', async (sort) => {
        const expected = await t.db.rows<{ id: string }>(
          `SELECT m.id FROM organization_memberships m JOIN users u ON u.id = m.user_id
            WHERE m.organization_id = $1 AND m.deleted_at IS NULL ORDER BY ${sort === 'name' ? 'u.name' : 'm.created_at'}, m.id`,
          [organizationId],
        );
        expect(expected).toHaveLength(names.length + 1);
        for (const limit of [1, 3, 100]) {
          const all = await allPages<Listed>(t, ada, `${list}?sort=${sort}`, limit);
          expect(all.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
        }
      });

      it.each(['joined', 'name'] as const)('orders equal members by id when sorted by %s, also without an index', async (sort) => {
        const found = await t.app.get<Database>(DATABASE).transaction(async (tx) => {
          await tx.execute(sql`SET LOCAL enable_indexscan = off`);
          await tx.execute(sql`SET LOCAL enable_bitmapscan = off`);
          return t.app.get(MembershipsRepository).list(organizationId, {}, { sort, limit: 100 }, tx);
        });
        const by = (one: (typeof found)[number]) => `${sort === 'name' ? one.userName : one.createdAt.toISOString()} ${one.id}`;
        const equals = found.filter((one) => sort === 'joined' || one.userName === 'Ada').map(by);
        expect(equals.length).toBeGreaterThanOrEqual(3);
        expect(equals).toEqual(equals.toSorted());
      });

      it('shows users under their current name', async () => {
        const all = await allPages<Listed>(t, ada, `${list}?sort=name`, 5);
        expect(all.map(({ user }) => user.name)).toContain('Renamed Zoë');
        expect(all.filter(({ user }) => user.name === 'Zoë')).toEqual([]);
      });

      it.each(['admin', 'member'])('filters by the role %s', async (role) => {
        const all = await allPages<Listed>(t, ada, list, 100);
        const some = await allPages<Listed>(t, ada, `${list}?role=${role}`, 2);
        expect(some).toEqual(all.filter((member) => member.role === role));
        expect(some.length).toBeGreaterThan(2);
        const byName = await allPages<Listed>(t, ada, `${list}?role=${role}&sort=name`, 2);
        expect(byName.map(({ id }) => id).sort()).toEqual(some.map(({ id }) => id).sort());
      });

      it.each([
        ['ada', ['Ada', 'Ada', 'Ada']],
        ['ADA', ['Ada', 'Ada', 'Ada']],
        ['neil', ["O'Neil"]],
        ['renam zoë', ['Renamed Zoë']],
        ['ångs', ['Ångström']],
        ['李', ['李雷']],
        ['reader2', ['Ångström']],
        ['reader2@even.example', ['Ångström']],
        ['ada odd', ['Ada', 'Ada']],
        ['nobody', []],
        ['%', []],
        ['', []],
        ["'; DROP TABLE users --", []],
        ['a & !b | (c', []],
        [':*', []],
      ])('finds by the search %j %j', async (search, found) => {
        const query = `search=${encodeURIComponent(search)}`;
        const all = await allPages<Listed>(t, ada, `${list}?sort=name&${query}`, 1);
        const own = all.filter(({ user }) => user.id !== ada.id);
        expect(own.map(({ user }) => user.name)).toEqual(found);
      });

      it('combines search and role', async () => {
        const all = await allPages<Listed>(t, ada, `${list}?search=example&role=admin`, 3);
        expect(all.length).toBeGreaterThan(3);
        expect(new Set(all.map(({ role }) => role))).toEqual(new Set(['admin']));
      });

      it('rejects a cursor of another sort, filter, search or organization, and a changed one', async () => {
        const { body } = await t.http.get(`${list}?sort=name&role=member&search=example&limit=1`).set(ada.auth).expect(200);
        const cursor = encodeURIComponent(body.nextCursor);
        const other = await createOrganization(t, ada);
        const wrong = [
          `${list}?sort=joined&role=member&search=example`,
          `${list}?role=member&search=example`,
          `${list}?sort=name&role=admin&search=example`,
          `${list}?sort=name&search=example`,
          `${list}?sort=name&role=member&search=exampl`,
          `${list}?sort=name&role=member`,
          `${other.path}/memberships?sort=name&role=member&search=example`,
          `${path}/invitations?limit=1`,
        ];
        for (const one of wrong) {
          const answer = await t.http.get(`${one}&cursor=${cursor}`).set(ada.auth);
          expect([one, answer.status, answer.body.code]).toEqual([one, 400, 'invalid_cursor']);
        }
        const changed = Buffer.from(JSON.stringify(['A', v7()])).toString('base64url');
        await t.http
          .get(`${list}?sort=name&role=member&search=example&cursor=${changed}.${cursor.split('.')[1]}`)
          .set(ada.auth)
          .expect(400);
        // The order of the parameters does not matter.
        await t.http.get(`${list}?search=example&cursor=${cursor}&role=member&sort=name&limit=3`).set(ada.auth).expect(200);
      });

      it('returns an empty page after the end', async () => {
        const all = await allPages<Listed>(t, ada, `${list}?sort=name`, 100);
        const { body } = await t.http
          .get(`${list}?limit=${all.length - 1}&sort=name`)
          .set(ada.auth)
          .expect(200);
        const last = all.at(-1)!.id;
        await t.db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE id = $1', [last]);
        try {
          const beyond = `${list}?limit=1&sort=name&cursor=${encodeURIComponent(body.nextCursor)}`;
          expect((await t.http.get(beyond).set(ada.auth).expect(200)).body).toEqual({ data: [], nextCursor: null });
        } finally {
          await t.db.rows('UPDATE organization_memberships SET deleted_at = NULL WHERE id = $1', [last]);
        }
      });

      it.each(['joined', 'name'])('returns every remaining member once by %s while others join and leave', async (sort) => {
        const stayers = new Set((await allPages<Listed>(t, ada, list, 100)).map(({ id }) => id));
        const passers: string[] = [];
        let running = true;
        const churn = (async () => {
          for (let n = 0; running && n < 500; n += 1) {
            const [id] = await insertUsers(t, [{ name: names[n % names.length]! }]);
            passers.push(await addMember(t, organizationId, { id: id! }));
            if (n % 2 === 0) await t.db.rows('UPDATE organization_memberships SET deleted_at = now() WHERE id = $1', [passers.at(-1)]);
          }
        })();
        try {
          for (let round = 0; round < 5; round += 1) {
            const seen = (await allPages<Listed>(t, ada, `${list}?sort=${sort}`, 3)).map(({ id }) => id);
            expect(new Set(seen).size).toBe(seen.length);
            expect(seen.filter((id) => stayers.has(id))).toHaveLength(stayers.size);
          }
        } finally {
          running = false;
          await churn;
          await t.db.rows('DELETE FROM organization_memberships WHERE id = ANY ($1)', [passers]);
        }
        expect(passers.length).toBeGreaterThan(0);
      });
    });

    it('shows the new name of a user who is renamed while joining', async () => {
      const { id } = await createOrganization(t, ada);
      const people = await insertUsers(
        t,
        Array.from({ length: 40 }, () => ({ name: 'Before' })),
      );
      await Promise.all(
        people.flatMap((person) => [
          addMember(t, id, { id: person }),
          t.db.rows(`UPDATE users SET name = 'After' WHERE id = $1`, [person]),
        ]),
      );
      const text = 'SELECT DISTINCT user_name FROM organization_memberships WHERE organization_id = $1 AND user_id <> $2';
      expect(await t.db.rows(text, [id, ada.id])).toEqual([{ user_name: 'After' }]);
    });
  });

  describe('changing a role', () => {
    it('promotes and demotes at once, and writes one audit entry for each change', async () => {
      const { id, path, list, bobs } = await organizationWithBob();
      await t.http.patch(path).set(bob.auth).send({ name: 'x' }).expect(403);
      const before = await t.http.get(list).set(ada.auth).expect(200);
      const { body } = await t.http.patch(`${list}/${bobs}`).set(ada.auth).send({ role: 'admin' }).expect(200);
      expect(body).toMatchObject({ id: bobs, organizationId: id, role: 'admin', user: { id: bob.id } });
      const stored = await t.http.get(`${list}?role=admin`).set(ada.auth).expect(200);
      expect(stored.body.data).toContainEqual(body);
      expect(body.updatedAt > before.body.data[1].updatedAt).toBe(true);
      await t.http.patch(path).set(bob.auth).send({ name: 'x' }).expect(200);
      await t.http.patch(`${list}/${bobs}`).set(ada.auth).send({ role: 'admin' }).expect(200);
      await t.http.patch(`${list}/${bobs}`).set(bob.auth).send({ role: 'member' }).expect(200);
      await t.http.patch(path).set(bob.auth).send({ name: 'y' }).expect(403);
      expect((await auditOf(t, id, 'membership.role_changed')).map(({ actor_id, changes }) => [actor_id, changes])).toEqual([
        [ada.id, { role: { before: 'member', after: 'admin' } }],
        [bob.id, { role: { before: 'admin', after: 'member' } }],
      ]);
    });

    it.each([{}, { role: 'owner' }, { role: null }, { role: ['admin'] }, { role: 'admin', userId: v7() }])('rejects %j', async (given) => {
      const { list, bobs } = await organizationWithBob();
      const { body } = await t.http.patch(`${list}/${bobs}`).set(ada.auth).send(given).expect(400);
      expect(body.code).toBe('invalid_request');
    });

    it('requires a session and the admin role, and treats an outsider like an unknown organization', async () => {
      const { list, adas, bobs } = await organizationWithBob();
      await t.http.patch(`${list}/${bobs}`).send({ role: 'admin' }).expect(401);
      const { body } = await t.http.patch(`${list}/${bobs}`).set(bob.auth).send({ role: 'admin' }).expect(403);
      expect(body.code).toBe('role_required');
      await t.http.patch(`${list}/${adas}`).set(outsider.auth).send({ role: 'member' }).expect(404);
    });

    it('does not find a membership of another organization, an ended one or an unknown one', async () => {
      const one = await organizationWithBob();
      const other = await organizationWithBob();
      await t.http.delete(`${one.list}/${one.bobs}`).set(bob.auth).expect(204);
      for (const id of [other.bobs, one.bobs, v7()]) {
        const changed = await t.http.patch(`${one.list}/${id}`).set(ada.auth).send({ role: 'admin' });
        const removed = await t.http.delete(`${one.list}/${id}`).set(ada.auth);
        for (const { status, body } of [changed, removed]) expect([status, body.code]).toEqual([404, 'membership_not_found']);
      }
      await t.http.patch(`${one.list}/abc`).set(ada.auth).send({ role: 'admin' }).expect(400);
      await t.http.delete(`${one.list}/abc`).set(ada.auth).expect(400);
    });
  });

  describe('removing and leaving', () => {
    it('locks the removed member out at once and keeps a tombstone', async () => {
      const { id, path, list, bobs } = await organizationWithBob();
      await t.http.delete(`${list}/${bobs}`).set(ada.auth).expect(204);
      await t.http.get(path).set(bob.auth).expect(404);
      expect(await t.db.rows('SELECT role FROM organization_memberships WHERE id = $1 AND deleted_at IS NOT NULL', [bobs])).toHaveLength(1);
      expect(await auditOf(t, id, 'membership.removed')).toEqual([
        expect.objectContaining({ actor_id: ada.id, target_id: bobs, changes: { userId: { before: bob.id }, role: { before: 'member' } } }),
      ]);
    });

    it('lets a member leave, but not remove others', async () => {
      const { id, list, adas, bobs } = await organizationWithBob();
      const carl = await signUp(t);
      const carls = await addMember(t, id, carl);
      for (const other of [adas, carls]) {
        const { body } = await t.http.delete(`${list}/${other}`).set(bob.auth).expect(403);
        expect(body.code).toBe('role_required');
      }
      await t.http.delete(`${list}/${bobs}`).expect(401);
      await t.http.delete(`${list}/${bobs}`).set(bob.auth).expect(204);
      await t.http.get(list).set(bob.auth).expect(404);
      expect(await auditOf(t, id, 'membership.left')).toEqual([expect.objectContaining({ actor_id: bob.id, target_id: bobs })]);
    });

    it('creates a new row when a former member joins again', async () => {
      const { id, list, bobs } = await organizationWithBob();
      await t.http.delete(`${list}/${bobs}`).set(ada.auth).expect(204);
      const again = await addMember(t, id, bob, 'admin');
      const rows = await t.db.rows<{ id: string; ended: boolean }>(
        'SELECT id, deleted_at IS NOT NULL AS ended FROM organization_memberships WHERE organization_id = $1 AND user_id = $2 ORDER BY id',
        [id, bob.id],
      );
      expect(rows).toEqual([
        { id: bobs, ended: true },
        { id: again, ended: false },
      ]);
      const { body } = await t.http.get(`${list}?limit=100`).set(bob.auth).expect(200);
      expect(body.data.filter(({ user }: Listed) => user.id === bob.id)).toHaveLength(1);
    });

    it('creates one membership from 50 concurrent additions', async () => {
      const { id } = await createOrganization(t, ada);
      const memberships = t.app.get(MembershipsService);
      const db = t.app.get<Database>(DATABASE);
      const added = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          db.transaction((tx) => memberships.add({ organizationId: id, userId: bob.id, role: index % 2 === 0 ? 'member' : 'admin' }, tx)),
        ),
      );
      expect(added.filter((membership) => membership !== undefined)).toHaveLength(1);
      const text = 'SELECT id FROM organization_memberships WHERE organization_id = $1 AND user_id = $2';
      expect(await t.db.rows(text, [id, bob.id])).toHaveLength(1);
      await expect(addMember(t, id, bob)).rejects.toMatchObject({ code: '23505', constraint: 'organization_memberships_live_key' });
    });
  });

  describe('the last admin', () => {
    it('cannot be demoted, removed, leave or delete their account', async () => {
      const carl = await signUp(t);
      const { id, path } = await createOrganization(t, carl);
      await addMember(t, id, bob);
      const carls = (await membershipOf(t, id, carl))!.id;
      const answers = [
        await t.http.patch(`${path}/memberships/${carls}`).set(carl.auth).send({ role: 'member' }),
        await t.http.delete(`${path}/memberships/${carls}`).set(carl.auth),
        await t.http.delete('/v1/users/me').set(carl.auth),
      ];
      expect(answers.map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(3).fill('409 last_admin'));
      await t.http.get('/v1/users/me').set(carl.auth).expect(200);
      expect(await liveAdmins(id)).toBe(1);
      // Nothing was changed.
      expect((await auditOf(t, id)).map(({ action }) => action)).toEqual(['organization.created']);
    });

    it('may delete their account when every organization of theirs has another admin or is deleted', async () => {
      const carl = await signUp(t);
      const shared = await createOrganization(t, carl);
      await addMember(t, shared.id, bob, 'admin');
      const gone = await createOrganization(t, carl);
      const joined = await createOrganization(t, ada);
      await addMember(t, joined.id, carl);
      await t.http.delete(gone.path).set(carl.auth).expect(204);
      await t.http.delete('/v1/users/me').set(carl.auth).expect(204);
      const left = await t.db.rows('SELECT id FROM organization_memberships WHERE user_id = $1 AND deleted_at IS NULL', [carl.id]);
      expect(left).toEqual([]);
    });

    it('remains through 100 concurrent demotions, removals, departures and deletions in every mix', async () => {
      const outcomes: Record<string, number> = {};
      const mixes = [['demote'], ['remove'], ['leave'], ['delete'], ['demote', 'remove', 'leave'], ['demote', 'remove', 'leave', 'delete']];
      for (const [round, mix] of [...mixes, ...mixes.slice(-2)].entries()) {
        const admins = [await signUp(t), await signUp(t)] as const;
        const { id, path } = await createOrganization(t, admins[0]);
        await addMember(t, id, admins[1], 'admin');
        const members = await Promise.all(admins.map(async (admin) => (await membershipOf(t, id, admin))!.id));
        const requests = Array.from({ length: 100 }, (_, index) => {
          const self = (index + round) % 2;
          const { auth } = admins[self]!;
          const [own, others] = [`${path}/memberships/${members[self]}`, `${path}/memberships/${members[1 - self]}`];
          const kind = mix[Math.floor(index / 2) % mix.length]!;
          if (kind === 'demote')
            return t.http
              .patch(index % 4 < 2 ? own : others)
              .set(auth)
              .send({ role: 'member' });
          if (kind === 'remove') return t.http.delete(others).set(auth);
          if (kind === 'leave') return t.http.delete(own).set(auth);
          return t.http.delete('/v1/users/me').set(auth);
        });
        for (const { status, body } of await Promise.all(requests)) {
          const outcome = `${status} ${(body as { code?: string }).code ?? ''}`.trim();
          outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
        }
        expect([mix, await liveAdmins(id)]).toEqual([mix, 1]);
      }
      const known = [
        '200',
        '204',
        '401 invalid_credentials',
        '403 role_required',
        '404 membership_not_found',
        '404 organization_not_found',
        '409 last_admin',
      ];
      expect(Object.keys(outcomes).filter((outcome) => !known.includes(outcome))).toEqual([]);
      expect(outcomes['409 last_admin']).toBeGreaterThan(0);
      expect(await deadlocks()).toBe(0);
    }, 120_000);

    it('remains in each of several organizations when both admins delete their accounts concurrently', async () => {
      for (let round = 0; round < 5; round += 1) {
        const [one, two] = [await signUp(t), await signUp(t)];
        const ids: string[] = [];
        for (let n = 0; n < 4; n += 1) {
          const { id } = await createOrganization(t, n % 2 === 0 ? one : two);
          await addMember(t, id, n % 2 === 0 ? two : one, 'admin');
          ids.push(id);
        }
        const answers = await Promise.all([one, two, one, two].map(({ auth }) => t.http.delete('/v1/users/me').set(auth)));
        expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
        const text = 'SELECT id FROM users WHERE id = ANY ($1) AND deleted_at IS NOT NULL';
        expect(await t.db.rows(text, [[one.id, two.id]])).toHaveLength(1);
        expect(await Promise.all(ids.map(liveAdmins))).toEqual([1, 1, 1, 1]);
      }
    });

    it('is never a user who deletes their account while accepting an invitation or creating an organization', async () => {
      for (let round = 0; round < 10; round += 1) {
        const carl = await signUp(t);
        await verifyEmail(t, carl);
        const { id, path } = await createOrganization(t, ada);
        const { body } = await t.http.post(`${path}/invitations`).set(ada.auth).send({ email: carl.email, role: 'admin' }).expect(201);
        const answers = await Promise.all([
          t.http.post(`/v1/invitations/${body.id}/accept`).set(carl.auth),
          t.http.post('/v1/organizations').set(carl.auth).send({ name: 'Short-lived' }),
          t.http.delete('/v1/users/me').set(carl.auth),
        ]);
        expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
        const dead = await t.db.rows(
          `SELECT m.id FROM organization_memberships m JOIN users u ON u.id = m.user_id
            WHERE u.id = $1 AND u.deleted_at IS NOT NULL AND m.deleted_at IS NULL`,
          [carl.id],
        );
        expect(dead).toEqual([]);
        const adas = (await membershipOf(t, id, ada))!.id;
        const left = await t.http.delete(`${path}/memberships/${adas}`).set(ada.auth);
        expect(await liveAdmins(id)).toBeGreaterThan(0);
        expect([204, 409]).toContain(left.status);
      }
    });

    it('is replaced by the oldest member when a provider deletes the user, with an audit entry', async () => {
      const carl = await signUp(t);
      const lost = await createOrganization(t, carl);
      const oldest = await addMember(t, lost.id, bob);
      await addMember(t, lost.id, ada);
      const kept = await createOrganization(t, carl);
      await addMember(t, kept.id, bob);
      await addMember(t, kept.id, ada, 'admin');
      const empty = await createOrganization(t, carl);
      const clerks = await createOrganization(t, carl);
      await addMember(t, clerks.id, bob);
      await t.db.rows('UPDATE organizations SET clerk_organization_id = $2 WHERE id = $1', [clerks.id, `org_${clerks.id}`]);

      const ends = t.app.get(MembershipEnds);
      await t.app.get<Database>(DATABASE).transaction((tx) => ends.endAllOfDeletedUser(carl.id, SYSTEM, tx));

      expect((await membershipOf(t, lost.id, bob))!.role).toBe('admin');
      expect((await membershipOf(t, lost.id, ada))!.role).toBe('member');
      expect((await membershipOf(t, kept.id, bob))!.role).toBe('member');
      expect((await membershipOf(t, clerks.id, bob))!.role).toBe('member');
      for (const { id } of [lost, kept, empty, clerks]) expect(await membershipOf(t, id, carl)).toBeUndefined();
      expect(await auditOf(t, lost.id, 'membership.promoted')).toEqual([
        {
          action: 'membership.promoted',
          actor_kind: 'system',
          actor_id: null,
          target_id: oldest,
          changes: { role: { before: 'member', after: 'admin' } },
        },
      ]);
      expect(await auditOf(t, kept.id, 'membership.promoted')).toEqual([]);
    });

    it('is also replaced when a provider deletes both admins concurrently', async () => {
      const ends = t.app.get(MembershipEnds);
      const db = t.app.get<Database>(DATABASE);
      for (let round = 0; round < 10; round += 1) {
        const [one, two] = (await insertUsers(t, [{ name: 'One' }, { name: 'Two' }])) as [string, string];
        const { id, path } = await createOrganization(t, ada);
        await addMember(t, id, bob);
        for (const user of [one, two]) await addMember(t, id, { id: user }, 'admin');
        await t.http
          .delete(`${path}/memberships/${(await membershipOf(t, id, ada))!.id}`)
          .set(ada.auth)
          .expect(204);
        await Promise.all([one, two].map((user) => db.transaction((tx) => ends.endAllOfDeletedUser(user, SYSTEM, tx))));
        expect((await membershipOf(t, id, bob))!.role).toBe('admin');
        expect(await auditOf(t, id, 'membership.promoted')).toHaveLength(1);
      }
    });
  });

  describe('fellow members', () => {
    it('see an unchanged profile after an empty update', async () => {
      const { body: before } = await t.http.get('/v1/users/me').set(ada.auth).expect(200);
      const { body: after } = await t.http.patch('/v1/users/me').set(ada.auth).send({}).expect(200);
      expect({ ...after, updatedAt: null }).toEqual({ ...before, updatedAt: null });
    });

    it('can read each other until one leaves or the organization is deleted', async () => {
      const [one, two] = [await signUp(t), await signUp(t)];
      const read = async (reader: SignedInPerson, other: { id: string }) => t.http.get(`/v1/users/${other.id}`).set(reader.auth);
      expect((await read(one, two)).status).toBe(404);
      const first = await createOrganization(t, one);
      const twos = await addMember(t, first.id, two);
      for (const answer of [await read(one, two), await read(two, one)]) {
        expect(answer.status).toBe(200);
      }
      const theirs = await read(outsider, one);
      const unknown = await read(outsider, { id: v7() });
      expect([theirs.status, theirs.body.code]).toEqual([404, 'user_not_found']);
      expect(bytesOf(theirs)).toBe(bytesOf(unknown));
      await t.http.delete(`${first.path}/memberships/${twos}`).set(two.auth).expect(204);
      for (const answer of [await read(one, two), await read(two, one)]) expect(answer.status).toBe(404);

      const second = await createOrganization(t, two);
      await addMember(t, second.id, one);
      expect((await read(one, two)).status).toBe(200);
      await t.http.delete(second.path).set(two.auth).expect(204);
      expect((await read(one, two)).status).toBe(404);
      expect((await read(await signUpOperator(t), two)).status).toBe(200);
    });
  });

  describe('memberships of Clerk', () => {
    it('are readable and not writable, also when only the organization belongs to Clerk', async () => {
      const { id, path, list, adas, bobs } = await organizationWithBob();
      const tryAll = async () => [
        await t.http.patch(`${list}/${bobs}`).set(ada.auth).send({ role: 'admin' }),
        await t.http.delete(`${list}/${bobs}`).set(ada.auth),
        await t.http.delete(`${list}/${bobs}`).set(bob.auth),
      ];
      await t.db.rows('UPDATE organization_memberships SET clerk_membership_id = $2 WHERE id = $1', [bobs, `orgmem_${bobs}`]);
      const byMembership = await tryAll();
      await t.db.rows('UPDATE organization_memberships SET clerk_membership_id = NULL WHERE id = $1', [bobs]);
      await t.db.rows('UPDATE organizations SET clerk_organization_id = $2 WHERE id = $1', [id, `org_${id}`]);
      const byOrganization = [...(await tryAll()), await t.http.delete(`${list}/${adas}`).set(ada.auth)];
      const refused = [...byMembership, ...byOrganization].map(({ status, body }) => `${status} ${body.code}`);
      expect(refused).toEqual(Array(7).fill('409 managed_by_clerk'));
      await t.http.get(list).set(bob.auth).expect(200);
      await t.http.get(path).set(bob.auth).expect(200);
      expect((await auditOf(t, id)).map(({ action }) => action)).toEqual(['organization.created']);
    });

    it('belong to users who cannot change their profile or address or delete their account here', async () => {
      const carl = await signUp(t);
      await t.db.rows('UPDATE users SET clerk_user_id = $2 WHERE id = $1', [carl.id, `user_${carl.id}`]);
      const answers = [
        await t.http.patch('/v1/users/me').set(carl.auth).send({ name: 'x' }),
        await t.http.delete('/v1/users/me').set(carl.auth),
        await t.http.post('/v1/auth/change-email').set(carl.auth).send({ newEmail: 'new@example.com' }),
      ];
      expect(answers.map(({ status, body }) => `${status} ${body.code}`)).toEqual(Array(3).fill('409 managed_by_clerk'));
      await t.http.get('/v1/users/me').set(carl.auth).expect(200);
    });
  });

  /** The number of admins who can still sign in. */
  async function liveAdmins(organizationId: string): Promise<number> {
    const [row] = await t.db.rows<{ count: number }>(
      `SELECT count(*)::int AS count FROM organization_memberships m JOIN users u ON u.id = m.user_id AND u.deleted_at IS NULL
        WHERE m.organization_id = $1 AND m.role = 'admin' AND m.deleted_at IS NULL`,
      [organizationId],
    );
    return row!.count;
  }

  async function deadlocks(): Promise<number> {
    const [row] = await t.db.rows<{ count: number }>(
      'SELECT deadlocks::int AS count FROM pg_stat_database WHERE datname = current_database()',
    );
    return row!.count;
  }
});
