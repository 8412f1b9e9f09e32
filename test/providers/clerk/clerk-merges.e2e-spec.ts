import { ClerkApp, newAddress, newClerkId } from '../../support/clerk/clerk-app.js';
import { deletedData, membershipData, organizationData, userData } from '../../support/clerk/clerk-events.js';
import { PASSWORD, signIn, type SignedInPerson, signUp } from '../../support/people.js';
import { addMember, createOrganization, verifyEmail } from '../../support/tenants.js';
import { untilLocked } from '../../support/until.js';

const HOUR = 3_600_000;

describe('a Clerk user and a local one with the same address', () => {
  let clerk: ClerkApp;
  beforeAll(async () => {
    clerk = await ClerkApp.start();
  });
  afterAll(() => clerk.close());

  /** Signs a user up here who verified the address two hours ago, before any Clerk event. */
  async function newLocal(given: { verified: boolean } = { verified: true }): Promise<SignedInPerson> {
    const person = await signUp(clerk.t, { email: newAddress(), name: 'Local' });
    await clerk.t.db.rows(`UPDATE users SET created_at = created_at - interval '2 hours' WHERE id = $1`, [person.id]);
    if (!given.verified) return person;
    await verifyEmail(clerk.t, person);
    await clerk.t.db.rows(`UPDATE users SET email_verified_at = now() - interval '2 hours' WHERE id = $1`, [person.id]);
    return person;
  }

  const claimOf = (id: string, { email }: { email: string }, verified = true) =>
    userData({ id, firstName: 'Clerk', email: { email, verified } });
  const me = async (person: SignedInPerson) => clerk.t.http.get('/v1/users/me').set(person.auth);
  const rowOf = async ({ id }: { id: string }) =>
    (
      await clerk.t.db.rows<{ email: string | null; deleted_at: Date | null }>('SELECT email, deleted_at FROM users WHERE id = $1', [id])
    )[0];

  describe('when both have verified it', () => {
    it('are merged, with the accounts, sessions and memberships of the local user', async () => {
      const local = await newLocal();
      const organization = await createOrganization(clerk.t, local);
      const id = newClerkId('user');
      const message = await clerk.emit('user.created', claimOf(id, local));
      const user = (await clerk.user(id))!;
      expect(user).toMatchObject({ email: local.email, emailVerified: true, name: 'Clerk' });

      // The session and the password still work.
      expect((await me(local)).body).toMatchObject({ id: user.id, clerkUserId: id, email: local.email });
      expect((await signIn(clerk.t, local)).id).toBe(user.id);
      const { body: accounts } = await clerk.t.http
        .get('/v1/users/me/accounts')
        .set(await clerk.as(id))
        .expect(200);
      expect(accounts.data ?? accounts).toEqual([expect.objectContaining({ provider: 'credential' })]);
      expect(await clerk.organizationsOf(id)).toEqual([expect.objectContaining({ id: organization.id, role: 'admin' })]);
      expect(await clerk.members(organization.id)).toEqual([['Clerk', 'admin']]);

      expect(await rowOf(local)).toMatchObject({ email: null, deleted_at: expect.any(Date) });
      await clerk.t.http.get(`/v1/users/${local.id}`).set(clerk.operator.auth).expect(404);
      const audit = await clerk.t.db.rows(`SELECT target_id FROM audit_log WHERE action = 'user.merged' AND request_id = $1`, [message]);
      expect(audit).toEqual([{ target_id: user.id }]);
    });

    it('have one working password, also after a second local user is merged', async () => {
      const [local, other] = [await newLocal(), await newLocal()];
      const id = newClerkId('user');
      await clerk.emit('user.created', claimOf(id, local));
      await clerk.emit('user.updated', claimOf(id, other));
      const { id: userId } = (await clerk.user(id))!;
      expect((await me(other)).body).toMatchObject({ id: userId, email: other.email });
      const again = await signIn(clerk.t, other);
      expect(again.id).toBe(userId);
      const change = { currentPassword: PASSWORD, newPassword: `${PASSWORD} 2` };
      await clerk.t.http.post('/v1/auth/change-password').set(again.auth).send(change).expect(409);
      const passwords = `SELECT 1 FROM accounts WHERE user_id = $1 AND provider = 'credential'`;
      expect(await clerk.t.db.rows(passwords, [userId])).toHaveLength(2);
      expect(await clerk.t.db.rows(`${passwords} AND provider_account_id = user_id::text`, [userId])).toHaveLength(1);
    });

    it('are merged when the Clerk user was known before without an address', async () => {
      const local = await newLocal();
      const id = newClerkId('user');
      expect(await clerk.tryAccess(id)).toEqual([200, undefined]);
      const before = (await clerk.user(id))!;
      await clerk.emit('user.updated', claimOf(id, local, false));
      expect((await me(local)).body).toMatchObject({ id: local.id, email: local.email });
      await clerk.emit('user.updated', claimOf(id, local));
      expect((await me(local)).body).toMatchObject({ id: before.id });
    });

    it('keep the stronger of two roles in one organization', async () => {
      const [local, founder] = [await newLocal(), await newLocal()];
      const organization = await createOrganization(clerk.t, founder);
      const id = newClerkId('user');
      await clerk.emit('user.created', userData({ id, firstName: 'Clerk' }));
      await addMember(clerk.t, organization.id, (await clerk.user(id))!, 'member');
      await addMember(clerk.t, organization.id, local, 'admin');
      await clerk.emit('user.updated', claimOf(id, local));
      expect((await clerk.members(organization.id)).toSorted()).toEqual([
        ['Clerk', 'admin'],
        ['Local', 'admin'],
      ]);
    });

    it.each(['admin', 'member'] as const)('keep the older of two memberships as %s', async (role) => {
      for (const older of ['local', 'clerk'] as const) {
        const [local, founder] = [await newLocal(), await newLocal()];
        const organization = await createOrganization(clerk.t, founder);
        const id = newClerkId('user');
        await clerk.emit('user.created', userData({ id, firstName: 'Clerk' }));
        const user = (await clerk.user(id))!;
        const ids = {
          clerk: await addMember(clerk.t, organization.id, user, role),
          local: await addMember(clerk.t, organization.id, local, role),
        };
        await clerk.t.db.rows(`UPDATE organization_memberships SET created_at = created_at - interval '1 hour' WHERE id = $1`, [
          ids[older],
        ]);
        await clerk.emit('user.updated', claimOf(id, local));
        const live = 'SELECT id FROM organization_memberships WHERE organization_id = $1 AND user_id = $2 AND deleted_at IS NULL';
        expect(await clerk.t.db.rows(live, [organization.id, user.id])).toEqual([{ id: ids[older] }]);
      }
    });

    it('leave an admin when the remaining user is demoted at the same time', async () => {
      const local = await newLocal();
      const organization = await createOrganization(clerk.t, local);
      const id = newClerkId('user');
      await clerk.emit('user.created', userData({ id, firstName: 'Clerk' }));
      const membership = await addMember(clerk.t, organization.id, (await clerk.user(id))!, 'admin');
      await clerk.t.db.rows(`UPDATE organization_memberships SET created_at = created_at - interval '1 hour' WHERE id = $1`, [membership]);
      expect(await clerk.tryAccess(id)).toEqual([200, undefined]);
      const holder = await clerk.t.db.pool.connect();
      // Both transactions wait for the audit log before their last write.
      await holder.query('BEGIN; LOCK TABLE audit_log IN EXCLUSIVE MODE');
      const merging = clerk.emit('user.updated', claimOf(id, local));
      await untilLocked(clerk.t.db);
      const demoting = clerk.t.http
        .patch(`/v1/organizations/${organization.id}/memberships/${membership}`)
        .set(await clerk.as(id))
        .send({ role: 'member' })
        .then(({ status, body }) => [status, body.code as string]);
      await untilLocked(clerk.t.db, 2);
      await holder.query('ROLLBACK');
      holder.release();
      await merging;
      expect(await demoting).toEqual([409, 'last_admin']);
      expect(await clerk.members(organization.id)).toEqual([['Clerk', 'admin']]);
    });

    it('stay suspended when an operator suspended the local user', async () => {
      const local = await newLocal();
      await clerk.t.http.post(`/v1/users/${local.id}/suspend`).set(clerk.operator.auth).expect(200);
      const id = newClerkId('user');
      await clerk.emit('user.created', claimOf(id, local));
      expect(await clerk.tryAccess(id)).toEqual([403, 'user_suspended']);
    });

    it('are merged by an old event only if the local user had verified the address before it', async () => {
      const [before, since] = [await newLocal(), await newLocal()];
      await clerk.t.db.rows('UPDATE users SET email_verified_at = now() WHERE id = $1', [since.id]);
      for (const local of [before, since]) {
        const id = newClerkId('user');
        const old = clerk.event('user.created', claimOf(id, local));
        await clerk.emit('user.updated', userData({ id, firstName: 'Clerk' }));
        await clerk.deliver(old);
        const isMerged = local === before;
        expect((await me(local)).body.id === (await clerk.user(id))!.id).toBe(isMerged);
        expect((await clerk.user(id))!.email).toBeNull();
      }
      expect((await me(since)).body).toMatchObject({ id: since.id, email: since.email });
    });

    it('are both deleted when the Clerk user was already deleted', async () => {
      const local = await newLocal();
      const organization = await createOrganization(clerk.t, local);
      const successor = await signUp(clerk.t, { name: 'Heir' });
      await addMember(clerk.t, organization.id, successor);
      const id = newClerkId('user');
      const created = clerk.event('user.created', claimOf(id, local));
      await clerk.emit('user.deleted', deletedData('user', id));
      expect((await me(local)).status).toBe(200);
      await clerk.deliver(created);
      expect((await me(local)).status).toBe(401);
      await clerk.t.http.post('/v1/auth/sign-in/email').send({ email: local.email, password: PASSWORD }).expect(401);
      expect(await clerk.members(organization.id)).toEqual([['Heir', 'admin']]);
      // The address is available again.
      await signUp(clerk.t, { email: local.email });
    });

    it('merge the local user into the first of two Clerk users who verified the address, however late its event arrives', async () => {
      const local = await newLocal();
      const organization = await createOrganization(clerk.t, local);
      const [first, second] = [newClerkId('user'), newClerkId('user')];
      const early = clerk.event('user.created', claimOf(first, local));
      const released = clerk.event('user.updated', userData({ id: first, firstName: 'First' }));
      await clerk.emit('user.created', claimOf(second, local));
      expect((await me(local)).body.id).toBe((await clerk.user(second))!.id);
      await clerk.deliver(released);
      await clerk.deliver(early);
      expect((await me(local)).body.id).toBe((await clerk.user(first))!.id);
      expect(await clerk.organizationsOf(first)).toEqual([expect.objectContaining({ id: organization.id })]);
      expect(await clerk.organizationsOf(second)).toEqual([]);
      expect([(await clerk.user(first))!.email, (await clerk.user(second))!.email]).toEqual([null, local.email]);
      const merged = `SELECT target_id FROM audit_log WHERE action = 'user.merged' AND changes->'mergedUserId'->>'after' = $1 ORDER BY created_at`;
      expect(await clerk.t.db.rows(merged, [local.id])).toEqual([
        { target_id: (await clerk.user(second))!.id },
        { target_id: (await clerk.user(first))!.id },
      ]);
    });

    it('stay suspended when the merge moves to the Clerk user who had the address first', async () => {
      const local = await newLocal();
      await clerk.t.http.post(`/v1/users/${local.id}/suspend`).set(clerk.operator.auth).expect(200);
      const [first, second] = [newClerkId('user'), newClerkId('user')];
      const early = clerk.event('user.created', claimOf(first, local));
      await clerk.emit('user.created', claimOf(second, local));
      await clerk.deliver(early);
      expect(await clerk.tryAccess(first)).toEqual([403, 'user_suspended']);
    });

    it('are not merged when either is an operator', async () => {
      const [operator, local] = [await newLocal(), await newLocal()];
      const [one, two] = [newClerkId('user'), newClerkId('user')];
      await clerk.t.db.rows('UPDATE users SET operator = true WHERE id = $1', [operator.id]);
      await clerk.emit('user.created', claimOf(one, operator));
      await clerk.emit('user.created', userData({ id: two }));
      await clerk.t.db.rows('UPDATE users SET operator = true WHERE clerk_user_id = $1', [two]);
      await clerk.emit('user.updated', claimOf(two, local));
      for (const [person, id] of [
        [operator, one],
        [local, two],
      ] as const) {
        expect((await me(person)).body).toMatchObject({ id: person.id, email: person.email });
        expect(await clerk.user(id)).toMatchObject({ email: null });
      }
      expect(await clerk.t.db.rows('SELECT 1 FROM user_merges WHERE id = ANY ($1)', [[operator.id, local.id]])).toEqual([]);
    });
  });

  it('gives an address that the local user never verified to the Clerk user who did, and revokes the local sign-in', async () => {
    const squatter = await newLocal({ verified: false });
    const id = newClerkId('user');
    await clerk.emit('user.created', claimOf(id, squatter));
    expect(await clerk.user(id)).toMatchObject({ email: squatter.email, emailVerified: true });
    expect((await me(squatter)).status).toBe(401);
    await clerk.t.http.post('/v1/auth/sign-in/email').send({ email: squatter.email, password: PASSWORD }).expect(401);
    expect(await rowOf(squatter)).toEqual({ email: null, deleted_at: null });
    expect((await clerk.t.http.get('/v1/users/me/accounts').set(await clerk.as(id))).text).not.toContain('credential');
  });

  it('leaves the address with the local user while the Clerk user has not verified it', async () => {
    for (const verified of [true, false]) {
      const local = await newLocal({ verified });
      const id = newClerkId('user');
      await clerk.emit('user.created', claimOf(id, local, false));
      expect(await clerk.user(id)).toMatchObject({ email: null, emailVerified: false });
      expect((await me(local)).body).toMatchObject({ id: local.id, email: local.email });
    }
  });

  it('refuses a local sign-up with an address that Clerk has verified', async () => {
    const email = newAddress();
    await clerk.emit('user.created', claimOf(newClerkId('user'), { email }));
    const { body } = await clerk.t.http.post('/v1/auth/sign-up/email').send({ name: 'Twin', email, password: PASSWORD });
    expect(body.code).toBe('email_taken');
  });

  it('leaves a Clerk membership unchanged', async () => {
    const local = await newLocal();
    const organization = { id: newClerkId('org'), name: 'Clerk’s' };
    const id = newClerkId('user');
    await clerk.emit('organization.created', organizationData(organization));
    const membership = { id: newClerkId('orgmem'), organization, user: { id, firstName: 'Clerk' }, createdAt: Date.now() - HOUR };
    await clerk.emit('organizationMembership.created', membershipData(membership));
    await clerk.emit('user.updated', claimOf(id, local));
    expect(await clerk.members(await clerk.organizationId(organization.id))).toEqual([['Clerk', 'member']]);
  });
});
