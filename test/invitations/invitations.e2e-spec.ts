import { createHash } from 'node:crypto';
import { v7 } from 'uuid';
import { startTestApp, type TestApp } from '../support/app.js';
import { linkIn, startMailServer } from '../support/mails.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import {
  addMember,
  allPages,
  auditOf,
  bytesOf,
  createOrganization,
  membershipOf,
  type Role,
  runJob,
  verifyEmail,
} from '../support/tenants.js';

const ACCEPT_URL = 'https://app.example.com/join?from=mail';

describe('invitations', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  let ada: SignedInPerson;
  let bob: SignedInPerson;
  let outsider: SignedInPerson;
  let operator: SignedInPerson;
  beforeAll(async () => {
    mail = await startMailServer();
    t = await startTestApp({ SMTP_URL: mail.url, TRUSTED_ORIGINS: 'https://app.example.com' });
    [ada, bob, outsider, operator] = await Promise.all([signUp(t), signUp(t), signUp(t), signUpOperator(t)]);
    await verifyEmail(t, ada, bob, outsider);
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  /** A new user with a verified address. */
  async function verifiedPerson(): Promise<SignedInPerson> {
    const person = await signUp(t);
    await verifyEmail(t, person);
    return person;
  }

  /** A new organization of Ada with an invitation. */
  async function inviting(email: string, body: { role?: Role; acceptUrl?: string } = {}) {
    const organization = await createOrganization(t, ada);
    const path = `${organization.path}/invitations`;
    const { body: invitation } = await t.http
      .post(path)
      .set(ada.auth)
      .send({ email, role: 'member', ...body })
      .expect(201);
    return { organization, path, invitation: invitation as { id: string; status: string; expiresAt: string } };
  }

  /** The token in the next mail to an address. */
  async function tokenFor(email: string): Promise<string> {
    const { text } = await mail.next(email, /invited/);
    return /\n\n([\w-]{32})\n/.exec(text.replaceAll('\r', ''))![1]!;
  }

  const accept = (person: SignedInPerson, id: string) => t.http.post(`/v1/invitations/${id}/accept`).set(person.auth);
  const decline = (person: SignedInPerson, id: string) => t.http.post(`/v1/invitations/${id}/decline`).set(person.auth);
  const acceptToken = (person: SignedInPerson, token: string) => t.http.post('/v1/invitations/accept').set(person.auth).send({ token });
  const outcome = ({ status, body }: { status: number; body: { code?: string } }) => `${status} ${body.code ?? ''}`.trim();

  async function expire(id: string): Promise<void> {
    await t.db.rows(`UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = $1`, [id]);
  }

  describe('creating', () => {
    it('returns the invitation without its token, and writes one audit entry', async () => {
      const { organization, invitation } = await inviting('Grace@Example.com ', { role: 'admin' });
      expect(invitation).toEqual({
        id: expect.any(String),
        organizationId: organization.id,
        email: 'grace@example.com',
        role: 'admin',
        status: 'pending',
        invitedBy: ada.id,
        expiresAt: expect.any(String),
        createdAt: expect.any(String),
      });
      const days = (Date.parse(invitation.expiresAt) - Date.now()) / 86_400_000;
      expect(days).toBeGreaterThan(6.9);
      expect(days).toBeLessThanOrEqual(7);
      expect(await auditOf(t, organization.id, 'invitation.created')).toEqual([
        expect.objectContaining({
          actor_id: ada.id,
          target_id: invitation.id,
          changes: { email: { after: 'grace@example.com' }, role: { after: 'admin' } },
        }),
      ]);
    });

    it('mails a link to the given page with the token', async () => {
      const carl = await verifiedPerson();
      const { invitation } = await inviting(carl.email, { acceptUrl: ACCEPT_URL });
      const sent = await mail.next(carl.email, /invited/);
      expect(sent.subject).toMatch(/^You are invited to "Org /);
      const link = linkIn(sent);
      expect(`${link.origin}${link.pathname}`).toBe('https://app.example.com/join');
      expect(link.searchParams.get('from')).toBe('mail');
      const { body } = await acceptToken(carl, link.searchParams.get('token')!).expect(200);
      expect(body.id).toBe(invitation.id);
    });

    it('mails the token itself without a page', async () => {
      const carl = await verifiedPerson();
      const { invitation } = await inviting(carl.email);
      const { body } = await acceptToken(carl, await tokenFor(carl.email)).expect(200);
      expect(body.id).toBe(invitation.id);
    });

    it('stores the token as a hash and the mail encrypted', async () => {
      const carl = await verifiedPerson();
      const { invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const [row] = await t.db.rows<{ token: string }>('SELECT token FROM invitations WHERE id = $1', [invitation.id]);
      expect(row!.token).toBe(createHash('sha256').update(token).digest('base64url'));
      const text = `SELECT count(*)::int AS count FROM %s r WHERE r::text LIKE '%' || $1 || '%'`;
      for (const table of ['outbox', 'invitations', 'audit_log', 'idempotency_keys']) {
        expect([table, await t.db.rows(text.replace('%s', table), [token])]).toEqual([table, [{ count: 0 }]]);
      }
      expect(await t.db.rows(`SELECT count(*)::int AS count FROM outbox r WHERE r::text LIKE '%' || $1 || '%'`, [carl.email])).toEqual([
        { count: 0 },
      ]);
    });

    it.each([
      'https://evil.example/join',
      'https://app.example.com.evil.example/join',
      'https://app.example.com@evil.example/',
      '//evil.example',
      'javascript:alert(1)',
      'http://app.example.com/join',
      'https://',
    ])('rejects %s as a page, and creates no invitation', async (acceptUrl) => {
      const { path } = await createOrganization(t, ada);
      const answer = await t.http.post(`${path}/invitations`).set(ada.auth).send({ email: 'x@example.com', role: 'member', acceptUrl });
      expect(outcome(answer)).toBe('403 untrusted_redirect');
      const { body } = await t.http.get(`${path}/invitations`).set(ada.auth).expect(200);
      expect(body.data).toEqual([]);
    });

    it.each([
      [{ role: 'member' }, 'body.email'],
      [{ email: 'x@example.com' }, 'body.role'],
      [{ email: 'x@example.com', role: 'owner' }, 'body.role'],
      [{ email: 'x@example.com', role: 'Admin' }, 'body.role'],
      [{ email: 'x@example.com', role: ['admin'] }, 'body.role'],
      [{ email: 'x@example.com', role: null }, 'body.role'],
      [{ email: 'not an address', role: 'member' }, 'body.email'],
      [{ email: 'a@b@c.example', role: 'member' }, 'body.email'],
      [{ email: ['x@example.com'], role: 'member' }, 'body.email'],
      [{ email: `${'x'.repeat(250)}@example.com`, role: 'member' }, 'body.email'],
      [{ email: 'x@example.com\r\nBcc: y@example.com', role: 'member' }, 'body.email'],
      [{ email: 'x@example.com', role: 'member', acceptUrl: null }, 'body.acceptUrl'],
      [{ email: 'x@example.com', role: 'member', acceptUrl: 7 }, 'body.acceptUrl'],
      [{ email: 'x@example.com', role: 'member', userId: v7() }, 'body.userId'],
    ])('rejects %j and names %s', async (given, path) => {
      const { path: base } = await createOrganization(t, ada);
      const { body } = await t.http.post(`${base}/invitations`).set(ada.auth).send(given).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(body.errors.map((error: { path: string }) => error.path)).toContain(path);
    });

    it('rejects a second pending invitation for an address, also in 30 concurrent requests', async () => {
      const { organization, path } = await inviting('twice@example.com');
      const invite = (email: string) => t.http.post(path).set(ada.auth).send({ email, role: 'admin' });
      expect(outcome(await invite('TWICE@example.com'))).toBe('409 invitation_pending');
      const answers = await Promise.all(Array.from({ length: 30 }, () => invite('raced@example.com')));
      expect(answers.map(outcome).sort()).toEqual(['201', ...Array(29).fill('409 invitation_pending')]);
      const mails = mail.mails.filter(({ to }) => to === 'raced@example.com').length;
      expect(mails).toBeLessThanOrEqual(1);
      expect(await auditOf(t, organization.id, 'invitation.created')).toHaveLength(2);
    });

    it('invites an address again after the previous invitation expired, with or without the job', async () => {
      const { path, invitation } = await inviting('again@example.com');
      await expire(invitation.id);
      const again = await t.http.post(path).set(ada.auth).send({ email: 'again@example.com', role: 'member' }).expect(201);
      const { body } = await t.http.get(path).set(ada.auth).expect(200);
      expect(body.data.map(({ id, status }: { id: string; status: string }) => [id, status])).toEqual([
        [again.body.id, 'pending'],
        [invitation.id, 'expired'],
      ]);
    });

    it('rejects the address of a member, but not of a member who has not verified it', async () => {
      const { id, path } = await createOrganization(t, ada);
      const claimer = await signUp(t);
      await addMember(t, id, bob);
      await addMember(t, id, claimer);
      const invite = (email: string) => t.http.post(`${path}/invitations`).set(ada.auth).send({ email, role: 'member' });
      expect(outcome(await invite(bob.email.toUpperCase()))).toBe('409 already_member');
      expect(outcome(await invite(claimer.email))).toBe('201');
    });
  });

  describe('access', () => {
    it('to manage them is for admins only', async () => {
      const { organization, path, invitation } = await inviting('who@example.com');
      await addMember(t, organization.id, bob);
      const routes = () => [
        t.http.post(path).send({ email: 'y@example.com', role: 'member' }),
        t.http.get(path),
        t.http.post(`${path}/${invitation.id}/resend`).send({}),
        t.http.delete(`${path}/${invitation.id}`),
      ];
      expect((await Promise.all(routes())).map(outcome)).toEqual(Array(4).fill('401 signed_out'));
      expect((await Promise.all(routes().map((route) => route.set(bob.auth)))).map(outcome)).toEqual(Array(4).fill('403 role_required'));
      const theirs = await Promise.all(routes().map((route) => route.set(outsider.auth)));
      expect(theirs.map(outcome)).toEqual(Array(4).fill('404 organization_not_found'));
      const adas = [];
      // In this order, because a revoked invitation cannot be resent.
      for (const route of routes()) adas.push(outcome(await route.set(ada.auth)));
      expect(adas).toEqual(['201', '200', '200', '204']);
    });

    it('to answer them is for the invited only, and others get 404', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      for (const person of [outsider, ada]) {
        const theirs = [await accept(person, invitation.id), await decline(person, invitation.id), await acceptToken(person, token)];
        const unknown = [await accept(person, v7()), await decline(person, v7()), await acceptToken(person, 'x'.repeat(32))];
        expect(theirs.map(outcome)).toEqual(Array(3).fill('404 invitation_not_found'));
        expect(theirs.map(bytesOf)).toEqual(unknown.map(bytesOf));
      }
      expect(await membershipOf(t, organization.id, outsider)).toBeUndefined();
      const signedOut = [
        await t.http.get('/v1/invitations'),
        await t.http.post(`/v1/invitations/${invitation.id}/accept`),
        await t.http.post(`/v1/invitations/${invitation.id}/decline`),
        await t.http.post('/v1/invitations/accept').send({ token }),
      ];
      expect(signedOut.map(outcome)).toEqual(Array(4).fill('401 signed_out'));
    });

    it('to answer them requires a verified address', async () => {
      const carl = await signUp(t);
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const { body } = await t.http.get('/v1/invitations').set(carl.auth).expect(200);
      expect(body).toEqual({ data: [], nextCursor: null });
      expect(outcome(await accept(carl, invitation.id))).toBe('404 invitation_not_found');
      expect(outcome(await decline(carl, invitation.id))).toBe('404 invitation_not_found');
      expect(outcome(await acceptToken(carl, token))).toBe('403 email_not_verified');
      expect(await membershipOf(t, organization.id, carl)).toBeUndefined();
      await verifyEmail(t, carl);
      expect(outcome(await acceptToken(carl, token))).toBe('200');
    });

    it.each([{}, { token: '' }, { token: 'x'.repeat(201) }, { token: 7 }, { token: 'x', id: v7() }])(
      'needs a valid body, unlike %j',
      async (body) => {
        expect(outcome(await t.http.post('/v1/invitations/accept').set(bob.auth).send(body))).toBe('400 invalid_request');
      },
    );

    it('needs a valid id', async () => {
      const { path } = await createOrganization(t, ada);
      const answers = [
        await accept(bob, 'abc'),
        await decline(bob, 'abc'),
        await t.http.delete(`${path}/invitations/abc`).set(ada.auth),
        await t.http.post(`${path}/invitations/abc/resend`).set(ada.auth).send({}),
      ];
      expect(answers.map(outcome)).toEqual(Array(4).fill('400 invalid_request'));
    });
  });

  describe('listing', () => {
    it('returns the invitations of an organization, newest first, by status and in complete pages', async () => {
      const { path: base, id } = await createOrganization(t, ada);
      const path = `${base}/invitations`;
      const carl = await verifiedPerson();
      const made: Record<string, string> = {};
      for (const name of ['pending', 'revoked', 'declined', 'expired', 'due', 'accepted']) {
        const email = ['declined', 'accepted'].includes(name) ? carl.email : `${name}@example.com`;
        made[name] = (await t.http.post(path).set(ada.auth).send({ email, role: 'member' }).expect(201)).body.id;
        if (name === 'revoked') await t.http.delete(`${path}/${made[name]}`).set(ada.auth).expect(204);
        if (name === 'declined') await decline(carl, made[name]!).expect(200);
        if (name === 'accepted') await accept(carl, made[name]!).expect(200);
        if (name === 'expired') {
          await expire(made[name]!);
          await runJob(t, operator, 'expire_invitations');
        }
        // Past its date, but the job has not run.
        if (name === 'due') await expire(made[name]!);
      }
      const names = Object.keys(made).toReversed();
      for (const limit of [1, 2, 100]) {
        const all = await allPages<{ id: string }>(t, ada, path, limit);
        expect(all.map((one) => names.find((name) => made[name] === one.id))).toEqual(names);
      }
      const statusOf: Record<string, string[]> = { pending: ['pending'], expired: ['due', 'expired'] };
      for (const status of ['pending', 'accepted', 'declined', 'revoked', 'expired']) {
        const some = await allPages<{ id: string; status: string; organizationId: string }>(t, ada, `${path}?status=${status}`, 1);
        expect(some.map((one) => names.find((name) => made[name] === one.id))).toEqual(statusOf[status] ?? [status]);
        for (const one of some) expect(one).toMatchObject({ status, organizationId: id });
      }
    });

    it('rejects an unknown status, an invalid limit and a cursor of another list', async () => {
      const { path } = await inviting('one@example.com');
      await t.http.post(path).set(ada.auth).send({ email: 'two@example.com', role: 'member' }).expect(201);
      for (const query of ['status=open', 'limit=0', 'limit=101', 'status=pending&status=expired', 'email=x'])
        expect([query, outcome(await t.http.get(`${path}?${query}`).set(ada.auth))]).toEqual([query, '400 invalid_request']);
      const { body } = await t.http.get(`${path}?limit=1`).set(ada.auth).expect(200);
      const other = await createOrganization(t, ada);
      for (const wrong of [
        `${path}?status=pending`,
        `${other.path}/invitations?limit=1`,
        `${other.path}/audit-log?limit=1`,
        '/v1/invitations?limit=1',
      ])
        expect(outcome(await t.http.get(`${wrong}&cursor=${body.nextCursor}`).set(ada.auth))).toBe('400 invalid_cursor');
    });

    it('returns the invited user’s acceptable invitations with their organizations, in complete pages', async () => {
      const carl = await verifiedPerson();
      const open: string[] = [];
      const created = [];
      for (let n = 0; n < 5; n += 1) created.unshift(await inviting(carl.email, { role: n % 2 === 0 ? 'admin' : 'member' }));
      open.push(...created.map(({ invitation }) => invitation.id));
      const gone = [
        await inviting(carl.email),
        await inviting(carl.email),
        await inviting(carl.email),
        await inviting(carl.email),
      ] as const;
      await t.http.delete(`${gone[0].path}/${gone[0].invitation.id}`).set(ada.auth).expect(204);
      await expire(gone[1].invitation.id);
      await decline(carl, gone[2].invitation.id).expect(200);
      await t.http.delete(gone[3].organization.path).set(ada.auth).expect(204);
      await inviting(bob.email);

      const all = await allPages<{ id: string }>(t, carl, '/v1/invitations', 2);
      expect(all.map(({ id }) => id)).toEqual(open);
      const [first] = created;
      expect(all[0]).toEqual({
        id: first!.invitation.id,
        organization: { id: first!.organization.id, name: first!.organization.name, slug: first!.organization.slug, imageUrl: null },
        role: 'admin',
        status: 'pending',
        expiresAt: first!.invitation.expiresAt,
        createdAt: expect.any(String),
      });
      const page = await t.http.get('/v1/invitations?limit=1').set(carl.auth).expect(200);
      const foreign = await t.http.get(`/v1/invitations?limit=1&cursor=${page.body.nextCursor}`).set(bob.auth);
      expect(outcome(foreign)).toBe('400 invalid_cursor');
      expect(outcome(await t.http.get('/v1/invitations?limit=0').set(carl.auth))).toBe('400 invalid_request');
    });
  });

  describe('resending and revoking', () => {
    it('invalidates the old token, mails a new one and restarts the time limit', async () => {
      const carl = await verifiedPerson();
      const { organization, path, invitation } = await inviting(carl.email);
      const old = await tokenFor(carl.email);
      await t.db.rows(`UPDATE invitations SET expires_at = now() + interval '1 hour' WHERE id = $1`, [invitation.id]);
      const { body } = await t.http.post(`${path}/${invitation.id}/resend`).set(ada.auth).send({ acceptUrl: ACCEPT_URL }).expect(200);
      expect(body).toMatchObject({ id: invitation.id, status: 'pending' });
      expect(Date.parse(body.expiresAt)).toBeGreaterThan(Date.now() + 6 * 86_400_000);
      const fresh = linkIn(await mail.next(carl.email, /invited/)).searchParams.get('token')!;
      expect(outcome(await acceptToken(carl, old))).toBe('404 invitation_not_found');
      expect(outcome(await acceptToken(carl, fresh))).toBe('200');
      expect((await auditOf(t, organization.id)).map(({ action }) => action)).toEqual([
        'organization.created',
        'invitation.created',
        'invitation.resent',
        'invitation.accepted',
      ]);
    });

    it('leaves one valid token after 20 concurrent resends', async () => {
      const carl = await verifiedPerson();
      const { path, invitation } = await inviting(carl.email);
      const tokens = [await tokenFor(carl.email)];
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => t.http.post(`${path}/${invitation.id}/resend`).set(ada.auth).send({})),
      );
      expect(answers.map(outcome)).toEqual(Array(20).fill('200'));
      for (let n = 0; n < 20; n += 1) tokens.push(await tokenFor(carl.email));
      expect(new Set(tokens).size).toBe(21);
      const hashes = tokens.map((token) => createHash('sha256').update(token).digest('base64url'));
      expect(await t.db.rows('SELECT id FROM invitations WHERE token = ANY ($1)', [hashes])).toHaveLength(1);
    });

    it('rejects an untrusted page, and keeps the old token valid', async () => {
      const carl = await verifiedPerson();
      const { path, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const resend = t.http.post(`${path}/${invitation.id}/resend`).set(ada.auth);
      expect(outcome(await resend.send({ acceptUrl: 'https://evil.example' }))).toBe('403 untrusted_redirect');
      expect(outcome(await t.http.post(`${path}/${invitation.id}/resend`).set(ada.auth).send({ role: 'admin' }))).toBe(
        '400 invalid_request',
      );
      expect(outcome(await acceptToken(carl, token))).toBe('200');
    });

    it('invalidates a revoked invitation', async () => {
      const carl = await verifiedPerson();
      const { organization, path, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      await t.http.delete(`${path}/${invitation.id}`).set(ada.auth).expect(204);
      expect(outcome(await acceptToken(carl, token))).toBe('410 invitation_gone');
      expect(outcome(await accept(carl, invitation.id))).toBe('410 invitation_gone');
      expect(outcome(await decline(carl, invitation.id))).toBe('410 invitation_gone');
      expect(await membershipOf(t, organization.id, carl)).toBeUndefined();
      expect(await auditOf(t, organization.id, 'invitation.revoked')).toHaveLength(1);
    });

    it.each(['accepted', 'declined', 'revoked', 'expired by the job', 'expired by its date'])(
      'refuses an invitation that is %s',
      async (state) => {
        const carl = await verifiedPerson();
        const { path, invitation } = await inviting(carl.email);
        if (state === 'accepted') await accept(carl, invitation.id).expect(200);
        if (state === 'declined') await decline(carl, invitation.id).expect(200);
        if (state === 'revoked') await t.http.delete(`${path}/${invitation.id}`).set(ada.auth).expect(204);
        if (state.startsWith('expired')) await expire(invitation.id);
        if (state === 'expired by the job') await runJob(t, operator, 'expire_invitations');
        const resent = await t.http.post(`${path}/${invitation.id}/resend`).set(ada.auth).send({});
        const revoked = await t.http.delete(`${path}/${invitation.id}`).set(ada.auth);
        expect([resent, revoked].map(outcome)).toEqual(Array(2).fill('409 invitation_not_pending'));
      },
    );

    it('does not find an invitation of another organization', async () => {
      const one = await inviting('one@example.com');
      const other = await inviting('other@example.com');
      for (const id of [other.invitation.id, v7()]) {
        const resent = await t.http.post(`${one.path}/${id}/resend`).set(ada.auth).send({});
        const revoked = await t.http.delete(`${one.path}/${id}`).set(ada.auth);
        expect([resent, revoked].map(outcome)).toEqual(Array(2).fill('404 invitation_not_found'));
      }
      const inUpperCase = `${one.organization.path.replace(one.organization.id, one.organization.id.toUpperCase())}/invitations`;
      expect(outcome(await t.http.delete(`${inUpperCase}/${one.invitation.id.toUpperCase()}`).set(ada.auth))).toBe('204');
    });
  });

  describe('expiring', () => {
    it('marks overdue invitations with a job, and no others', async () => {
      const due = await inviting('due@example.com');
      const open = await inviting('open@example.com');
      const carl = await verifiedPerson();
      const spent = await inviting(carl.email);
      await accept(carl, spent.invitation.id).expect(200);
      await expire(due.invitation.id);
      await expire(spent.invitation.id);
      await runJob(t, operator, 'expire_invitations');
      const statuses = await t.db.rows('SELECT id, status FROM invitations WHERE id = ANY ($1)', [
        [due, open, spent].map(({ invitation }) => invitation.id),
      ]);
      expect(statuses).toEqual(
        expect.arrayContaining([
          { id: due.invitation.id, status: 'expired' },
          { id: open.invitation.id, status: 'pending' },
          { id: spent.invitation.id, status: 'accepted' },
        ]),
      );
    });

    it('has the same effect for the invited with or without the job', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      await expire(invitation.id);
      const tryAll = async () => [await accept(carl, invitation.id), await decline(carl, invitation.id), await acceptToken(carl, token)];
      const before = await tryAll();
      await runJob(t, operator, 'expire_invitations');
      const after = await tryAll();
      expect(before.map(outcome)).toEqual(Array(3).fill('410 invitation_gone'));
      expect(after.map(bytesOf)).toEqual(before.map(bytesOf));
      expect(await membershipOf(t, organization.id, carl)).toBeUndefined();
    });
  });

  describe('accepting and declining', () => {
    it.each(['admin', 'member'] as const)('makes the invited user a member with the role %s', async (role) => {
      const carl = await verifiedPerson();
      const { organization, path, invitation } = await inviting(carl.email, { role });
      const { body } = await accept(carl, invitation.id).expect(200);
      expect(body).toEqual({
        id: invitation.id,
        organization: { id: organization.id, name: organization.name, slug: organization.slug, imageUrl: null },
        role,
        status: 'accepted',
        expiresAt: invitation.expiresAt,
        createdAt: expect.any(String),
      });
      expect((await membershipOf(t, organization.id, carl))!.role).toBe(role);
      const listed = await t.http.get(`${path}?status=accepted`).set(ada.auth).expect(200);
      expect(listed.body.data.map(({ id }: { id: string }) => id)).toEqual([invitation.id]);
      expect(await auditOf(t, organization.id, 'invitation.accepted')).toEqual([
        expect.objectContaining({
          actor_id: carl.id,
          target_id: invitation.id,
          changes: { userId: { after: carl.id }, role: { after: role } },
        }),
      ]);
    });

    it('returns the same response to a member who accepts again, and 410 after a removal', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const first = await accept(carl, invitation.id).expect(200);
      const again = () => Promise.all([accept(carl, invitation.id), acceptToken(carl, token), accept(carl, invitation.id.toUpperCase())]);
      for (const { status, text } of await again()) expect([status, text]).toEqual([200, first.text]);
      const membership = await membershipOf(t, organization.id, carl);
      await t.http.delete(`${organization.path}/memberships/${membership!.id}`).set(ada.auth).expect(204);
      expect((await again()).map(outcome)).toEqual(Array(3).fill('410 invitation_gone'));
      expect(await membershipOf(t, organization.id, carl)).toBeUndefined();
      await t.http.get(organization.path).set(carl.auth).expect(404);
      expect(await auditOf(t, organization.id, 'invitation.accepted')).toHaveLength(1);
    });

    it('declines once, repeats the response, and cannot be accepted afterwards', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const first = await decline(carl, invitation.id).expect(200);
      expect(first.body).toMatchObject({ id: invitation.id, status: 'declined' });
      expect((await decline(carl, invitation.id).expect(200)).text).toBe(first.text);
      expect([await accept(carl, invitation.id), await acceptToken(carl, token)].map(outcome)).toEqual(
        Array(2).fill('410 invitation_gone'),
      );
      expect(await membershipOf(t, organization.id, carl)).toBeUndefined();
      expect(await auditOf(t, organization.id, 'invitation.declined')).toHaveLength(1);
    });

    it('cannot be declined after it was accepted', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      await accept(carl, invitation.id).expect(200);
      expect(outcome(await decline(carl, invitation.id))).toBe('410 invitation_gone');
      expect(await membershipOf(t, organization.id, carl)).toBeDefined();
    });

    it('creates one membership and one audit entry from fifty concurrent requests', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => (index % 2 === 0 ? accept(carl, invitation.id) : acceptToken(carl, token))),
      );
      expect(answers.map(outcome)).toEqual(Array(50).fill('200'));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      const text = 'SELECT id FROM organization_memberships WHERE organization_id = $1 AND user_id = $2';
      expect(await t.db.rows(text, [organization.id, carl.id])).toHaveLength(1);
      expect(await auditOf(t, organization.id, 'invitation.accepted')).toHaveLength(1);
    });

    it('has one outcome when acceptance, decline and revocation race', async () => {
      for (let round = 0; round < 6; round += 1) {
        const carl = await verifiedPerson();
        const { organization, path, invitation } = await inviting(carl.email);
        const answers = await Promise.all([
          accept(carl, invitation.id),
          decline(carl, invitation.id),
          t.http.delete(`${path}/${invitation.id}`).set(ada.auth),
        ]);
        expect(answers.filter(({ status }) => status < 300)).toHaveLength(1);
        expect(answers.filter(({ status }) => status >= 500)).toEqual([]);
        const joined = (await membershipOf(t, organization.id, carl)) !== undefined;
        expect(joined).toBe(answers[0].status === 200);
        expect(await auditOf(t, organization.id)).toHaveLength(3);
      }
    });

    it('is used up for a user who verifies the address later', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      await acceptToken(carl, token).expect(200);
      const laterOwner = await verifiedPerson();
      await t.db.rows('UPDATE users SET email = $2 WHERE id = $1', [carl.id, `former-${carl.email}`]);
      await t.db.rows('UPDATE users SET email = $2 WHERE id = $1', [laterOwner.id, carl.email]);
      expect([await acceptToken(laterOwner, token), await accept(laterOwner, invitation.id)].map(outcome)).toEqual(
        Array(2).fill('410 invitation_gone'),
      );
      expect(await membershipOf(t, organization.id, laterOwner)).toBeUndefined();
      expect(outcome(await acceptToken(carl, token))).toBe('404 invitation_not_found');
      expect(await membershipOf(t, organization.id, carl)).toBeDefined();
    });

    it('keeps the existing role of a member', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email, { role: 'admin' });
      const before = await addMember(t, organization.id, carl, 'member');
      await accept(carl, invitation.id).expect(200);
      expect(await membershipOf(t, organization.id, carl)).toEqual({ id: before, role: 'member' });
    });

    it('finds no invitation of a deleted organization, and finds it again after a restore', async () => {
      const carl = await verifiedPerson();
      const { organization, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      await t.http.delete(organization.path).set(ada.auth).expect(204);
      const answers = [await accept(carl, invitation.id), await decline(carl, invitation.id), await acceptToken(carl, token)];
      expect(answers.map(outcome)).toEqual(Array(3).fill('404 invitation_not_found'));
      await t.http.post(`${organization.path}/restore`).set(operator.auth).expect(200);
      expect(outcome(await acceptToken(carl, token))).toBe('200');
    });
  });

  describe('invitations of Clerk', () => {
    it('are readable and not writable, also when only the organization belongs to Clerk', async () => {
      const carl = await verifiedPerson();
      const { organization, path, invitation } = await inviting(carl.email);
      const token = await tokenFor(carl.email);
      const tryAll = async () => [
        await t.http.post(`${path}/${invitation.id}/resend`).set(ada.auth).send({}),
        await t.http.delete(`${path}/${invitation.id}`).set(ada.auth),
        await accept(carl, invitation.id),
        await decline(carl, invitation.id),
        await acceptToken(carl, token),
      ];
      await t.db.rows('UPDATE invitations SET clerk_invitation_id = $2 WHERE id = $1', [invitation.id, `orginv_${invitation.id}`]);
      const answers = await tryAll();
      await t.db.rows('UPDATE invitations SET clerk_invitation_id = NULL WHERE id = $1', [invitation.id]);
      await t.db.rows('UPDATE organizations SET clerk_organization_id = $2 WHERE id = $1', [organization.id, `org_${organization.id}`]);
      answers.push(...(await tryAll()), await t.http.post(path).set(ada.auth).send({ email: 'new@example.com', role: 'member' }));
      expect(answers.map(outcome)).toEqual(Array(11).fill('409 managed_by_clerk'));
      // For others the invitation does not exist.
      expect(outcome(await accept(outsider, invitation.id))).toBe('404 invitation_not_found');
      await t.http.get(path).set(ada.auth).expect(200);
      expect(await membershipOf(t, organization.id, carl)).toBeUndefined();
    });
  });
});
