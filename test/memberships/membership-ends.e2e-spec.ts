import { jest } from '@jest/globals';
import { SYSTEM } from '../../src/access/principal.js';
import { InvitationEnds } from '../../src/invitations/invitation-ends.service.js';
import { MembershipEnds } from '../../src/memberships/membership-ends.service.js';
import { MembershipsRepository } from '../../src/memberships/memberships.repository.js';
import { SyncedMembershipsRepository } from '../../src/memberships/synced-memberships.repository.js';
import { SyncedMembershipsService } from '../../src/memberships/synced-memberships.service.js';
import { DATABASE, type Database } from '../../src/platform/database/database.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { whileLocked } from '../support/database.js';
import { type SignedInPerson, signUp, signUpOperator } from '../support/people.js';
import { until } from '../support/until.js';

/** More than two steps. */
const ORGANIZATIONS = 450;
const MOST_LOCKED = 200;

describe('a user of many organizations', () => {
  let t: TestApp;
  let person: SignedInPerson;
  let other: SignedInPerson;
  beforeEach(async () => {
    t = await startTestApp();
    [person, other] = await Promise.all([signUp(t), signUp(t)]);
    await t.db.rows(`INSERT INTO organizations (id, name) SELECT gen_random_uuid(), 'of many' FROM generate_series(1, ${ORGANIZATIONS})`);
    await t.db.rows(
      `INSERT INTO organization_memberships (id, organization_id, user_id, role)
       SELECT gen_random_uuid(), o.id, u.id, 'admin' FROM organizations o, unnest($1::uuid[]) u (id)`,
      [[person.id, other.id]],
    );
    await t.db.rows(
      `INSERT INTO invitations (id, organization_id, email, role, expires_at, invited_by)
       SELECT gen_random_uuid(), id, 'someone@example.com', 'member', now() + interval '1 day', $1 FROM organizations`,
      [person.id],
    );
  });
  afterEach(() => t.close());

  async function count(text: string): Promise<number> {
    const [row] = await t.db.rows<{ count: number }>(`SELECT count(*)::int AS count FROM ${text}`);
    return row!.count;
  }
  const liveMemberships = () => count(`organization_memberships WHERE user_id = '${person.id}' AND deleted_at IS NULL`);
  const openInvitations = () => count(`invitations WHERE status = 'pending'`);

  async function expectAllEnded(): Promise<void> {
    await until(
      async () => (await liveMemberships()) + (await openInvitations()) === 0,
      () => 'not all have ended',
    );
    expect(await count(`organizations WHERE member_count = 1`)).toBe(ORGANIZATIONS);
    expect(await count(`organization_memberships WHERE role = 'admin' AND deleted_at IS NULL`)).toBe(ORGANIZATIONS);
    expect(await count(`audit_log WHERE action = 'invitation.revoked' AND changes->'reason'->>'after' = 'inviter_lost_role'`)).toBe(
      ORGANIZATIONS,
    );
  }

  it('deletes themselves without waiting for a membership of a later step, and no ended one keeps their words', async () => {
    const last = 'SELECT FROM organization_memberships WHERE user_id = $1 ORDER BY organization_id DESC LIMIT 1 FOR UPDATE';
    await whileLocked(t.db, [last, person.id], async () => {
      await t.http.delete('/v1/users/me').set(person.auth).expect(204);
      expect(await liveMemberships()).toBeGreaterThan(0);
    });
    await expectAllEnded();
    expect(await count('organization_memberships WHERE deleted_at IS NOT NULL AND user_words IS NOT NULL')).toBe(0);
  });

  it('deletes themselves at once, and leaves the organizations in steps', async () => {
    const lock = jest.spyOn(MembershipsRepository.prototype, 'lockOrganizationsOfUser');
    await t.http.delete('/v1/users/me').set(person.auth).expect(204);
    await t.http.get('/v1/users/me').set(person.auth).expect(401);
    await expectAllEnded();
    const locked = await Promise.all(lock.mock.results.map(async ({ value }) => ((await value) as string[]).length));
    lock.mockRestore();
    expect(locked).toEqual([MOST_LOCKED, MOST_LOCKED, ORGANIZATIONS - 2 * MOST_LOCKED]);
  });

  it('is refused the deletion as the last admin of any of them, and nothing changes', async () => {
    await t.db.rows(
      `UPDATE organization_memberships SET role = 'member' WHERE user_id = $1 AND organization_id = (SELECT max(id::text)::uuid FROM organizations)`,
      [other.id],
    );
    const { body } = await t.http.delete('/v1/users/me').set(person.auth).expect(409);
    expect(body.code).toBe('last_admin');
    expect([await liveMemberships(), await openInvitations()]).toEqual([ORGANIZATIONS, ORGANIZATIONS]);
    await t.http.get('/v1/users/me').set(person.auth).expect(200);
  });

  it('is replaced as last admin everywhere when a provider deletes them, also after a crash between the steps', async () => {
    await t.db.rows(`UPDATE organization_memberships SET role = 'member' WHERE user_id = $1`, [other.id]);
    const [ends, db] = [t.app.get(MembershipEnds), t.app.get<Database>(DATABASE)];
    const endSentBy = InvitationEnds.prototype.endSentBy;
    let steps = 0;
    const crash = jest.spyOn(InvitationEnds.prototype, 'endSentBy').mockImplementation(async function (this: InvitationEnds, ...given) {
      steps += 1;
      if (steps === 3) throw new Error('The process was killed');
      return endSentBy.apply(this, given);
    });
    await db.transaction(async (tx) => {
      await t.db.rows('UPDATE users SET deleted_at = now(), email = NULL WHERE id = $1', [person.id]);
      await ends.endAllOfDeletedUser(person.id, SYSTEM, tx);
    });
    await until(
      async () => (await count(`outbox WHERE last_error LIKE '%was killed%'`)) === 1,
      () => 'not the third step has failed',
    );
    expect(await liveMemberships()).toBe(ORGANIZATIONS - 2 * MOST_LOCKED);
    await t.db.rows('UPDATE outbox SET next_attempt_at = now() WHERE done_at IS NULL');
    await expectAllEnded();
    crash.mockRestore();
    expect(await count(`audit_log WHERE action = 'membership.promoted'`)).toBe(ORGANIZATIONS);
  });

  it('leaves with all others an organization that Clerk deletes, 500 at a time', async () => {
    const [organization] = await t.db.rows<{ id: string }>('SELECT id FROM organizations LIMIT 1');
    await t.db.rows('INSERT INTO users (id, name) SELECT gen_random_uuid(), $1 FROM generate_series(1, 1200)', ['Member']);
    await t.db.rows(
      `INSERT INTO organization_memberships (id, organization_id, user_id, role) SELECT gen_random_uuid(), $1, id, 'member' FROM users WHERE name = 'Member'`,
      [organization!.id],
    );
    const [synced, db] = [t.app.get(SyncedMembershipsService), t.app.get<Database>(DATABASE)];
    const end = jest.spyOn(SyncedMembershipsRepository.prototype, 'endOfOrganization');
    await db.transaction((tx) => synced.endAllOfOrganization(organization!.id, tx));
    await until(
      async () => (await count(`organizations WHERE id = '${organization!.id}' AND member_count = 0`)) === 1,
      () => 'members are left',
    );
    await until(
      async () => (await count('outbox WHERE done_at IS NULL')) === 0,
      () => 'the outbox is not done',
    );
    expect(await Promise.all(end.mock.results.map(async ({ value }) => value as Promise<number>))).toEqual([500, 500, 202]);
    end.mockRestore();
  });

  it('loses the invitations that they sent in all of them when suspended', async () => {
    const operator = await signUpOperator(t);
    await t.http.post(`/v1/users/${person.id}/suspend`).set(operator.auth).expect(200);
    await until(
      async () => (await openInvitations()) === 0,
      () => 'not all invitations have ended',
    );
    expect(await liveMemberships()).toBe(ORGANIZATIONS);
  });
});
