import { ClerkApp, newAddress, newClerkId } from '../../support/clerk/clerk-app.js';
import {
  clerkEvent,
  deletedData,
  invitationData,
  membershipData,
  organizationData,
  sessionData,
  userData,
} from '../../support/clerk/clerk-events.js';
import { signUp } from '../../support/people.js';
import { addMember, auditOf, createOrganization, runJob } from '../../support/tenants.js';

const JOINED = Date.UTC(2024, 5, 1);

describe('Clerk events', () => {
  let clerk: ClerkApp;
  beforeAll(async () => {
    clerk = await ClerkApp.start();
  });
  afterAll(() => clerk.close());

  /** Creates a member of an organization by three events. */
  async function newMember(role = 'org:member', clerkOrganizationId = newClerkId('org')) {
    const [user, membershipId] = [newClerkId('user'), newClerkId('orgmem')];
    const organization = { id: clerkOrganizationId, name: 'Acme', slug: null };
    const membership = { id: membershipId, organization, user: { id: user, firstName: user }, role, createdAt: JOINED };
    await clerk.emit('organization.created', organizationData(organization));
    await clerk.emit('user.created', userData({ id: user, firstName: user }));
    await clerk.emit('organizationMembership.created', membershipData(membership));
    return { user, membership, organization, organizationId: await clerk.organizationId(clerkOrganizationId) };
  }

  describe('about users', () => {
    it('set the fields that an operator reads, with the primary address, which may not be the first', async () => {
      const id = newClerkId('user');
      const [first, primary] = [newAddress(), newAddress()];
      const data = {
        id,
        email: { email: primary.toUpperCase(), verified: true },
        otherEmails: [{ email: first, verified: true }],
        firstName: 'Ada',
        lastName: 'Lovelace',
        username: 'ada',
        imageUrl: 'https://img.example.com/ada.png',
        createdAt: JOINED,
      };
      await clerk.emit('user.created', userData(data));
      expect(await clerk.user(id)).toMatchObject({
        email: primary,
        emailVerified: true,
        name: 'Ada Lovelace',
        username: 'ada',
        imageUrl: 'https://img.example.com/ada.png',
        createdAt: new Date(JOINED).toISOString(),
      });
      const { body } = await clerk.t.http
        .get('/v1/users/me')
        .set(await clerk.as(id))
        .expect(200);
      expect(body).toMatchObject({ clerkUserId: id, email: primary });
    });

    it('may have no address, or an address that is not verified', async () => {
      const id = newClerkId('user');
      const email = newAddress();
      await clerk.emit('user.created', userData({ id }));
      expect(await clerk.user(id)).toMatchObject({ email: null, emailVerified: false, name: '' });
      await clerk.emit('user.updated', userData({ id, email: { email, verified: false } }));
      expect(await clerk.user(id)).toMatchObject({ email, emailVerified: false });
      await clerk.emit('user.updated', userData({ id, email: { email, verified: true } }));
      expect(await clerk.user(id)).toMatchObject({ email, emailVerified: true });
      // Without the primary id, no address counts.
      await clerk.emit('user.updated', {
        ...userData({ id, otherEmails: [{ email, verified: true }] }),
        primary_email_address_id: 'idn_gone',
      });
      expect(await clerk.user(id)).toMatchObject({ email: null, emailVerified: false });
    });

    it('are ordered by event time, given in milliseconds or in seconds', async () => {
      const id = newClerkId('user');
      const at = Math.floor(clerk.tick() / 1000) * 1000;
      const named = (firstName: string, timestamp: number) => clerk.event('user.updated', userData({ id, firstName }), timestamp);
      await clerk.deliver(named('Second', at));
      await clerk.deliver(named('First', (at - 1000) / 1000));
      expect(await clerk.user(id)).toMatchObject({ name: 'Second' });
      await clerk.deliver(named('Third', (at + 1000) / 1000));
      expect(await clerk.user(id)).toMatchObject({ name: 'Third' });
      await clerk.deliver(named('Between', at + 999));
      expect(await clerk.user(id)).toMatchObject({ name: 'Third' });
    });

    it('lock a banned user out at once, and let an unbanned user in again', async () => {
      const id = newClerkId('user');
      await clerk.emit('user.created', userData({ id }));
      expect(await clerk.tryAccess(id)).toEqual([200, undefined]);
      await clerk.emit('user.updated', userData({ id, banned: true }));
      expect(await clerk.tryAccess(id)).toEqual([403, 'user_suspended']);
      await clerk.emit('user.updated', userData({ id, banned: false }));
      expect(await clerk.tryAccess(id)).toEqual([200, undefined]);
    });

    it('end the sessions and memberships and erase the name of a deleted user, permanently', async () => {
      const { user, organizationId } = await newMember();
      const email = newAddress();
      await clerk.emit('user.updated', userData({ id: user, firstName: 'Gone', email: { email, verified: true } }));
      await clerk.emit('session.created', sessionData({ id: newClerkId('sess'), userId: user }));
      expect(await clerk.tryAccess(user)).toEqual([200, undefined]);
      await clerk.emit('user.deleted', deletedData('user', user, { external_id: null }));

      expect(await clerk.tryAccess(user)).toEqual([401, 'invalid_credentials']);
      expect(await clerk.tryAccess(user, 'sess_another')).toEqual([401, 'invalid_credentials']);
      expect(await clerk.user(user)).toBeUndefined();
      expect(await clerk.members(organizationId)).toEqual([]);
      const rows = await clerk.t.db.rows('SELECT name, clerk_email, email FROM users WHERE clerk_user_id = $1', [user]);
      expect(rows).toEqual([{ name: '', clerk_email: null, email: null }]);
      const live = 'SELECT 1 FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.clerk_user_id = $1 AND s.ended_at IS NULL';
      expect(await clerk.t.db.rows(live, [user])).toEqual([]);

      await clerk.emit('user.updated', userData({ id: user, firstName: 'Back' }));
      expect(await clerk.user(user)).toBeUndefined();
      // The address is available again.
      await signUp(clerk.t, { email });
    });

    it('keep a user deleted when the deletion arrives first', async () => {
      const id = newClerkId('user');
      await clerk.emit('user.deleted', deletedData('user', id));
      await clerk.emit('user.created', userData({ id, firstName: 'Late' }));
      expect(await clerk.user(id)).toBeUndefined();
      expect(await clerk.tryAccess(id)).toEqual([401, 'invalid_credentials']);
    });

    it('make the oldest member the admin of a local organization when its last admin is deleted', async () => {
      const id = newClerkId('user');
      await clerk.emit('user.created', userData({ id }));
      const auth = await clerk.as(id);
      const { body: organization } = await clerk.t.http.post('/v1/organizations').set(auth).send({ name: 'Ours' }).expect(201);
      const [older, newer] = [await signUp(clerk.t, { name: 'Older' }), await signUp(clerk.t, { name: 'Newer' })];
      await addMember(clerk.t, organization.id, older);
      await addMember(clerk.t, organization.id, newer);
      await clerk.t.db.rows(`UPDATE organization_memberships SET created_at = created_at + interval '1 hour' WHERE user_id = $1`, [
        newer.id,
      ]);
      const message = await clerk.emit('user.deleted', deletedData('user', id));
      expect(await clerk.members(organization.id)).toEqual([
        ['Older', 'admin'],
        ['Newer', 'member'],
      ]);
      expect(await auditOf(clerk.t, organization.id, 'membership.promoted')).toHaveLength(1);
      expect(await clerk.t.db.rows('SELECT action FROM audit_log WHERE request_id = $1', [message])).toEqual([{ action: 'user.deleted' }]);
    });

    it('give a moved address to its latest holder, in any order of delivery', async () => {
      for (const order of [
        [0, 1, 2, 3],
        [2, 3, 0, 1],
        [3, 1, 0, 2],
      ]) {
        const [one, two] = [newClerkId('user'), newClerkId('user')];
        const email = newAddress();
        const claim = { email, verified: true };
        const events = [
          clerk.event('user.created', userData({ id: one, email: claim })),
          clerk.event('user.updated', userData({ id: one })),
          clerk.event('user.created', userData({ id: two })),
          clerk.event('user.updated', userData({ id: two, email: claim })),
        ];
        for (const index of order) await clerk.deliver(events[index]!);
        expect([(await clerk.user(one))!.email, (await clerk.user(two))!.email]).toEqual([null, email]);
      }
    });

    it.each([
      [0, 1],
      [1, 0],
    ])('keep the later change of two events with the same time, delivered as %d before %d', async (...order) => {
      const [id, at] = [newClerkId('user'), clerk.tick()];
      const named = (type: string, firstName: string, updatedAt: number) =>
        clerk.event(type, userData({ id, firstName, createdAt: JOINED, updatedAt }), at);
      // An update outranks a creation only for the same change.
      const events = [named('user.updated', 'Earlier', at - 1), named('user.created', 'Later', at)];
      for (const index of order) await clerk.deliver(events[index]!);
      expect(await clerk.user(id)).toMatchObject({ name: 'Later' });
    });

    it.each([
      [0, 1],
      [1, 0],
    ])('give an address with two claims at the same time to the later change, delivered as %d before %d', async (...order) => {
      const [earlier, later, email, at] = [newClerkId('user'), newClerkId('user'), newAddress(), clerk.tick()];
      const claim = (type: string, id: string, updatedAt: number) =>
        clerk.event(type, userData({ id, email: { email, verified: true }, createdAt: JOINED, updatedAt }), at);
      const events = [claim('user.updated', earlier, at - 1), claim('user.created', later, at)];
      for (const index of order) await clerk.deliver(events[index]!);
      expect([(await clerk.user(earlier))!.email, (await clerk.user(later))!.email]).toEqual([null, email]);
    });

    it('give an address to the newest claimant, and back when that user is deleted', async () => {
      const [one, two] = [newClerkId('user'), newClerkId('user')];
      const email = newAddress();
      await clerk.emit('user.created', userData({ id: one, email: { email, verified: true } }));
      await clerk.emit('user.created', userData({ id: two, email: { email, verified: true } }));
      expect([(await clerk.user(one))!.email, (await clerk.user(two))!.email]).toEqual([null, email]);
      await clerk.emit('user.deleted', deletedData('user', two));
      expect(await clerk.user(one)).toMatchObject({ email, emailVerified: true });
    });

    it('do not restore the memberships of a purged user', async () => {
      const { user, membership, organizationId } = await newMember();
      await clerk.emit('user.deleted', deletedData('user', user));
      await clerk.t.db.rows(`UPDATE users SET deleted_at = now() - interval '900 days' WHERE clerk_user_id = $1`, [user]);
      await runJob(clerk.t, clerk.operator, 'purge_users');
      expect(await clerk.t.db.rows('SELECT 1 FROM users WHERE clerk_user_id = $1', [user])).toEqual([]);
      // The same membership, now with another user.
      const other = newClerkId('user');
      await clerk.emit('user.created', userData({ id: other, firstName: other }));
      await clerk.emit('organizationMembership.created', membershipData({ ...membership, user: { id: other, firstName: other } }));
      expect(await clerk.members(organizationId)).toEqual([]);
      const another = { ...membership, id: newClerkId('orgmem'), user: { id: other, firstName: other } };
      await clerk.emit('organizationMembership.created', membershipData(another));
      expect(await clerk.members(organizationId)).toEqual([[other, 'member']]);
    });

    it('do not restore a purged user', async () => {
      const id = newClerkId('user');
      await clerk.t.db.rows(`INSERT INTO purged_ids (provider, kind, external_id) VALUES ('clerk', 'user', $1)`, [id]);
      await clerk.emit('user.created', userData({ id }));
      const organization = newClerkId('org');
      await clerk.emit(
        'organizationMembership.created',
        membershipData({ id: newClerkId('orgmem'), organization: { id: organization }, user: { id } }),
      );
      await clerk.emit('session.created', sessionData({ id: newClerkId('sess'), userId: id }));
      expect(await clerk.t.db.rows('SELECT 1 FROM users WHERE clerk_user_id = $1', [id])).toEqual([]);
      expect(await clerk.tryAccess(id)).toEqual([401, 'invalid_credentials']);
    });
  });

  describe('about organizations', () => {
    it('set the fields that members read', async () => {
      const { user, organization, organizationId } = await newMember('org:admin');
      const slug = `acme-${process.pid}`;
      await clerk.emit('organization.updated', organizationData({ ...organization, name: 'Acme Inc.', slug }));
      expect(await clerk.organizationsOf(user)).toEqual([
        expect.objectContaining({ id: organizationId, name: 'Acme Inc.', slug, role: 'admin' }),
      ]);
      const { body } = await clerk.t.http
        .get(`/v1/organizations/by-slug/${slug}`)
        .set(await clerk.as(user))
        .expect(200);
      expect(body).toMatchObject({ id: organizationId, clerkOrganizationId: organization.id });
      const rename = await clerk.t.http
        .patch(`/v1/organizations/${organizationId}`)
        .set(await clerk.as(user))
        .send({ name: 'Ours' });
      expect([rename.status, rename.body.code]).toEqual([409, 'managed_by_clerk']);
    });

    it('end the memberships and invitations of a deleted organization, permanently', async () => {
      const { user, membership, organization, organizationId } = await newMember('org:admin');
      const invitation = { id: newClerkId('orginv'), organizationId: organization.id, email: newAddress() };
      await clerk.emit('organizationInvitation.created', invitationData(invitation));
      await clerk.emit('organization.deleted', deletedData('organization', organization.id, { slug: 'acme' }));
      expect(await clerk.organizationsOf(user)).toEqual([]);
      await clerk.t.http
        .get(`/v1/organizations/${organizationId}`)
        .set(await clerk.as(user))
        .expect(404);

      await clerk.emit('organization.updated', organizationData(organization));
      await clerk.emit('organizationMembership.updated', membershipData(membership));
      await clerk.emit('organizationMembership.created', membershipData({ ...membership, id: newClerkId('orgmem') }));
      const other = { ...invitation, id: newClerkId('orginv'), email: newAddress() };
      await clerk.emit('organizationInvitation.created', invitationData(other));
      expect(await clerk.organizationsOf(user)).toEqual([]);
      const statuses = 'SELECT status FROM invitations WHERE organization_id = $1';
      expect(await clerk.t.db.rows(statuses, [organizationId])).toEqual([{ status: 'revoked' }, { status: 'revoked' }]);
      expect(await clerk.t.db.rows('SELECT name, slug FROM organizations WHERE id = $1', [organizationId])).toEqual([
        { name: '', slug: null },
      ]);
    });

    it('leave a slug with the local organization that has it, and store an invalid slug only as a claim', async () => {
      const person = await signUp(clerk.t);
      const local = await createOrganization(clerk.t, person);
      const [taken, odd] = [await newMember(), await newMember()];
      await clerk.emit('organization.updated', organizationData({ ...taken.organization, slug: local.slug }));
      await clerk.emit('organization.updated', organizationData({ ...odd.organization, slug: 'Not_A_Slug' }));
      expect((await clerk.organizationsOf(taken.user))[0]).toMatchObject({ slug: null });
      expect((await clerk.organizationsOf(odd.user))[0]).toMatchObject({ slug: null });
      const { body } = await clerk.t.http.get(local.path).set(person.auth).expect(200);
      expect(body.slug).toBe(local.slug);
    });

    it('give a moved slug to its latest holder, and back when that one releases it', async () => {
      const slug = `moving-${process.pid}`;
      const [one, two] = [await newMember(), await newMember()];
      const slugs = async () => [(await clerk.organizationsOf(one.user))[0]!.slug, (await clerk.organizationsOf(two.user))[0]!.slug];
      await clerk.emit('organization.updated', organizationData({ ...one.organization, slug }));
      await clerk.emit('organization.updated', organizationData({ ...two.organization, slug }));
      expect(await slugs()).toEqual([null, slug]);
      await clerk.emit('organization.updated', organizationData({ ...two.organization, slug: null }));
      expect(await slugs()).toEqual([slug, null]);
    });
  });

  describe('about memberships', () => {
    it.each([
      ['org:admin', 'admin'],
      ['admin', 'admin'],
      ['org:member', 'member'],
      ['basic_member', 'member'],
      ['org:billing', 'member'],
      ['ORG:ADMIN', 'member'],
    ])('map the role %s to %s, and store Clerk’s role', async (key, role) => {
      const { user, membership, organizationId } = await newMember(key);
      expect((await clerk.organizationsOf(user))[0]).toMatchObject({ role });
      const rows = await clerk.t.db.rows('SELECT clerk_role FROM organization_memberships WHERE clerk_membership_id = $1', [membership.id]);
      expect(rows).toEqual([{ clerk_role: key }]);
      // The guard reads the role from the database.
      const { status } = await clerk.t.http
        .get(`/v1/organizations/${organizationId}/audit-log`)
        .set(await clerk.as(user))
        .query({ limit: 1 });
      expect(status).toBe(role === 'admin' ? 200 : 403);
    });

    it('set the role member when there is no role', async () => {
      const { user, membership } = await newMember('org:admin');
      await clerk.emit('organizationMembership.updated', { ...membershipData(membership), role: null });
      expect((await clerk.organizationsOf(user))[0]).toMatchObject({ role: 'member' });
    });

    it('change roles and end memberships with full payloads that have no deleted flag', async () => {
      const { user, membership, organizationId } = await newMember();
      await clerk.emit('organizationMembership.updated', membershipData({ ...membership, role: 'org:admin' }));
      expect(await clerk.members(organizationId)).toEqual([[user, 'admin']]);
      await clerk.emit('organizationMembership.deleted', membershipData({ ...membership, role: 'org:admin' }));
      expect(await clerk.members(organizationId)).toEqual([]);
      await clerk.t.http
        .get(`/v1/organizations/${organizationId}`)
        .set(await clerk.as(user))
        .expect(404);
      await clerk.emit('organizationMembership.updated', membershipData(membership));
      expect(await clerk.members(organizationId)).toEqual([]);
      const actions = (await auditOf(clerk.t, organizationId))
        .map(({ action }) => action)
        .filter((action) => action.startsWith('membership.'));
      expect(actions).toEqual(['membership.created', 'membership.role_changed', 'membership.removed']);
    });

    it('recognize a returning member before the end of the first membership arrives', async () => {
      const { user, membership, organizationId } = await newMember('org:admin');
      const left = clerk.event('organizationMembership.deleted', membershipData(membership));
      const again = membershipData({ ...membership, id: newClerkId('orgmem'), role: 'org:member', createdAt: JOINED + 1 });
      await clerk.emit('organizationMembership.created', again);
      expect(await clerk.members(organizationId)).toEqual([[user, 'member']]);
      await clerk.deliver(left);
      expect(await clerk.members(organizationId)).toEqual([[user, 'member']]);
    });

    it('do not treat another joining time, or none, as a returning member', async () => {
      const { user, membership, organizationId } = await newMember();
      const { created_at: _, ...timeless } = membershipData({ ...membership, role: 'org:admin' });
      await clerk.emit('organizationMembership.updated', timeless);
      expect(await clerk.members(organizationId)).toEqual([[user, 'admin']]);
      await clerk.emit('organizationMembership.updated', membershipData({ ...membership, createdAt: JOINED - 1 }));
      expect(await clerk.members(organizationId)).toEqual([[user, 'member']]);
    });

    it('create stubs of the user and the organization, until their own events arrive', async () => {
      const [user, organization] = [newClerkId('user'), newClerkId('org')];
      const embedded = {
        id: newClerkId('orgmem'),
        organization: { id: organization, name: 'Heard Inc.', slug: `heard-${process.pid}` },
        user: { id: user, firstName: 'Heard', lastName: 'Of', imageUrl: 'https://img.example.com/heard.png' },
        createdAt: JOINED,
      };
      const earlier = clerk.event('user.created', userData({ id: user, firstName: 'Told', username: 'told' }));
      const founding = clerk.event('organization.created', organizationData({ id: organization, name: 'Told Inc.', slug: null }));
      await clerk.emit('organizationMembership.created', membershipData(embedded));
      expect(await clerk.user(user)).toMatchObject({ name: 'Heard Of', imageUrl: 'https://img.example.com/heard.png', email: null });
      expect(await clerk.organizationsOf(user)).toEqual([
        expect.objectContaining({ name: 'Heard Inc.', slug: embedded.organization.slug, role: 'member' }),
      ]);
      // Older, but about the object itself.
      await clerk.deliver(earlier);
      await clerk.deliver(founding);
      expect(await clerk.user(user)).toMatchObject({ name: 'Told', username: 'told' });
      expect(await clerk.organizationsOf(user)).toEqual([expect.objectContaining({ name: 'Told Inc.', slug: null })]);
      // Later embedded data no longer changes anything.
      await clerk.emit('organizationMembership.updated', membershipData({ ...embedded, role: 'org:admin' }));
      expect(await clerk.user(user)).toMatchObject({ name: 'Told' });
      expect(await clerk.organizationsOf(user)).toEqual([expect.objectContaining({ name: 'Told Inc.', role: 'admin' })]);
    });

    it('create no live membership of a deleted user or organization', async () => {
      const { organization, organizationId } = await newMember();
      const user = newClerkId('user');
      await clerk.emit('user.deleted', deletedData('user', user));
      await clerk.emit(
        'organizationMembership.created',
        membershipData({ id: newClerkId('orgmem'), organization, user: { id: user, firstName: 'Dead' } }),
      );
      expect((await clerk.members(organizationId)).map(([name]) => name)).not.toContain('Dead');
      expect(await clerk.t.db.rows('SELECT name FROM users WHERE clerk_user_id = $1', [user])).toEqual([{ name: '' }]);
    });
  });

  describe('about invitations', () => {
    const invitationsOf = async (organizationId: string) => {
      const { body } = await clerk.t.http.get(`/v1/organizations/${organizationId}/invitations`).set(clerk.operator.auth).expect(200);
      return (body.data as { email: string; role: string; status: string }[]).map(({ email, role, status }) => ({ email, role, status }));
    };

    it('set the fields that the organization reads, and the accepting user', async () => {
      const { organization, organizationId } = await newMember();
      const [email, guest] = [newAddress(), newClerkId('user')];
      const invitation = { id: newClerkId('orginv'), organizationId: organization.id, email: email.toUpperCase(), role: 'org:admin' };
      await clerk.emit('organizationInvitation.created', invitationData(invitation));
      expect(await invitationsOf(organizationId)).toEqual([{ email, role: 'admin', status: 'pending' }]);
      const accepted = clerk.event('organizationInvitation.accepted', invitationData({ ...invitation, status: 'accepted', userId: guest }));
      await clerk.deliver(accepted);
      expect(await invitationsOf(organizationId)).toEqual([{ email, role: 'admin', status: 'accepted' }]);
      const rows = 'SELECT u.clerk_user_id FROM invitations i JOIN users u ON u.id = i.answered_by WHERE i.organization_id = $1';
      expect(await clerk.t.db.rows(rows, [organizationId])).toEqual([{ clerk_user_id: guest }]);
      await clerk.deliver(clerk.event('organizationInvitation.created', invitationData(invitation), accepted.timestamp - 1));
      expect(await invitationsOf(organizationId)).toEqual([{ email, role: 'admin', status: 'accepted' }]);
    });

    it('set the inviter from whichever event contains it, in any order', async () => {
      const [organization, inviter] = [{ id: newClerkId('org'), name: 'Acme' }, newClerkId('user')];
      await clerk.emit('organization.created', organizationData(organization));
      const organizationId = await clerk.organizationId(organization.id);
      for (const isLate of [false, true]) {
        const invitation = { id: newClerkId('orginv'), organizationId: organization.id, email: newAddress() };
        const created = clerk.event('organizationInvitation.created', { ...invitationData(invitation), inviter_id: inviter });
        // Clerk's own example has no inviter here.
        const revoked = clerk.event('organizationInvitation.revoked', invitationData({ ...invitation, status: 'revoked' }));
        for (const event of isLate ? [revoked, created] : [created, revoked]) await clerk.deliver(event);
        const [row] = await clerk.t.db.rows(
          `SELECT i.status, u.clerk_user_id FROM invitations i LEFT JOIN users u ON u.id = i.invited_by
            WHERE i.organization_id = $1 AND i.clerk_invitation_id = $2`,
          [organizationId, invitation.id],
        );
        expect(row).toEqual({ status: 'revoked', clerk_user_id: inviter });
      }
    });

    it('leave only the newest of several invitations for one address open', async () => {
      const { organization, organizationId } = await newMember();
      const email = newAddress();
      const at = (createdAt: number) => invitationData({ id: newClerkId('orginv'), organizationId: organization.id, email, createdAt });
      await clerk.emit('organizationInvitation.created', at(JOINED + 2));
      await clerk.emit('organizationInvitation.created', at(JOINED + 1));
      await clerk.emit('organizationInvitation.created', at(JOINED + 3));
      expect((await invitationsOf(organizationId)).map(({ status }) => status)).toEqual(['pending', 'revoked', 'revoked']);
    });

    it('do not treat an invitation with an earlier time, or none, as newer', async () => {
      const { organization, organizationId } = await newMember();
      const invitation = { id: newClerkId('orginv'), organizationId: organization.id, email: newAddress(), createdAt: JOINED };
      await clerk.emit('organizationInvitation.created', invitationData(invitation));
      const { created_at: _, ...timeless } = invitationData(invitation);
      const early = clerk.event('organizationInvitation.created', timeless, JOINED);
      await clerk.deliver(early);
      await clerk.emit('organizationInvitation.created', invitationData({ ...invitation, createdAt: JOINED - 1 }));
      expect((await invitationsOf(organizationId)).map(({ status }) => status)).toEqual(['pending']);
    });

    it('create invitations that can be accepted at Clerk only', async () => {
      const { organization, organizationId } = await newMember();
      const person = await signUp(clerk.t);
      await clerk.t.db.rows('UPDATE users SET email_verified = true, email_verified_at = now() WHERE id = $1', [person.id]);
      await clerk.emit(
        'organizationInvitation.created',
        invitationData({ id: newClerkId('orginv'), organizationId: organization.id, email: person.email }),
      );
      const [{ id }] = (await clerk.t.db.rows('SELECT id FROM invitations WHERE organization_id = $1', [organizationId])) as [
        { id: string },
      ];
      const answer = await clerk.t.http.post(`/v1/invitations/${id}/accept`).set(person.auth);
      expect([answer.status, answer.body.code]).toEqual([409, 'managed_by_clerk']);
    });
  });

  describe('about sessions', () => {
    it('list a session until it ends', async () => {
      const [user, sess] = [newClerkId('user'), newClerkId('sess')];
      const data = { id: sess, userId: user, createdAt: JOINED };
      await clerk.emit('user.created', userData({ id: user }));
      await clerk.emit('session.created', sessionData(data));
      expect(await clerk.sessions(user)).toEqual([
        expect.objectContaining({ ipAddress: '203.0.113.7', userAgent: 'Mozilla/5.0', createdAt: new Date(JOINED).toISOString() }),
      ]);
      expect(await clerk.tryAccess(user, sess)).toEqual([200, undefined]);
      await clerk.emit('session.ended', sessionData({ ...data, status: 'ended' }));
      expect(await clerk.sessions(user)).toEqual([]);
    });

    it.each(['session.ended', 'session.removed', 'session.revoked'])('%s rejects the tokens at once and permanently', async (type) => {
      const [user, sess] = [newClerkId('user'), newClerkId('sess')];
      const data = { id: sess, userId: user };
      await clerk.emit('user.created', userData({ id: user }));
      expect(await clerk.tryAccess(user, sess)).toEqual([200, undefined]);
      await clerk.emit(type, sessionData({ ...data, status: type.split('.')[1] }));
      expect(await clerk.tryAccess(user, sess)).toEqual([401, 'invalid_credentials']);
      await clerk.emit('session.created', sessionData(data));
      expect(await clerk.tryAccess(user, sess)).toEqual([401, 'invalid_credentials']);
      expect(await clerk.tryAccess(user, newClerkId('sess'))).toEqual([200, undefined]);
    });

    it('end a session once: a second end does not move the time', async () => {
      const [user, sess] = [newClerkId('user'), newClerkId('sess')];
      const data = { id: sess, userId: user };
      await clerk.emit('user.created', userData({ id: user }));
      await clerk.emit('session.created', sessionData(data));
      await clerk.emit('session.ended', sessionData({ ...data, status: 'ended' }));
      await clerk.t.db.rows(`UPDATE sessions SET ended_at = ended_at - interval '1 day' WHERE clerk_session_id = $1`, [sess]);
      const ends = () => clerk.t.db.rows('SELECT ended_at, expires_at FROM sessions WHERE clerk_session_id = $1', [sess]);
      const first = await ends();
      expect(first).toEqual([{ ended_at: expect.any(Date), expires_at: expect.any(Date) }]);
      await clerk.emit('session.removed', sessionData({ ...data, status: 'removed' }));
      expect(await ends()).toEqual(first);
      const { id } = (await clerk.user(user))!;
      await clerk.t.http.delete(`/v1/users/${id}/sessions`).set(clerk.operator.auth).expect(200, { revoked: 0 });
      expect(await ends()).toEqual(first);
    });

    it('reject a session when its end arrives before the session and its user', async () => {
      const [user, sess] = [newClerkId('user'), newClerkId('sess')];
      await clerk.emit('session.revoked', sessionData({ id: sess, userId: user, status: 'revoked' }));
      expect(await clerk.tryAccess(user, sess)).toEqual([401, 'invalid_credentials']);
      expect(await clerk.tryAccess(user, newClerkId('sess'))).toEqual([200, undefined]);
    });

    it.each(['expired', 'abandoned', 'replaced'])(
      'treat a session with the status %s as ended, whatever the event type',
      async (status) => {
        const [user, sess] = [newClerkId('user'), newClerkId('sess')];
        await clerk.emit('session.created', sessionData({ id: sess, userId: user, status }));
        expect(await clerk.tryAccess(user, sess)).toEqual([401, 'invalid_credentials']);
      },
    );

    it('do not create a session while a task is pending', async () => {
      const [user, sess] = [newClerkId('user'), newClerkId('sess')];
      await clerk.emit('user.created', userData({ id: user }));
      await clerk.emit('session.pending', sessionData({ id: sess, userId: user, status: 'pending' }));
      await clerk.emit('session.created', sessionData({ id: sess, userId: user, status: 'pending' }));
      expect(await clerk.sessions(user)).toEqual([]);
      await clerk.emit('session.created', sessionData({ id: sess, userId: user }));
      expect(await clerk.sessions(user)).toHaveLength(1);
    });
  });

  it('are ignored from another instance, and applied when no instance is named', async () => {
    const [foreign, nameless] = [newClerkId('user'), newClerkId('user')];
    const message = await clerk.deliver(clerkEvent('user.created', userData({ id: foreign }), { instanceId: 'ins_development' }));
    const { instance_id: _, ...event } = clerk.event('user.created', userData({ id: nameless }));
    await clerk.deliver(event);
    expect(await clerk.user(foreign)).toBeUndefined();
    expect(await clerk.user(nameless)).toBeDefined();
    expect(await clerk.t.db.rows('SELECT status FROM webhook_events WHERE message_id = $1', [message])).toEqual([{ status: 'ignored' }]);
  });
});
