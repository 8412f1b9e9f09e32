import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ClerkApp, newClerkId } from '../support/clerk/clerk-app.js';
import { deletedData, userData } from '../support/clerk/clerk-events.js';
import { type SignedInPerson, signUp } from '../support/people.js';
import { addMember, auditOf, createOrganization, membershipOf, verifyEmail } from '../support/tenants.js';

const SEATS = 4;

describe('inviters', () => {
  let clerk: ClerkApp;
  let folder: string;
  beforeAll(async () => {
    const plans = JSON.parse(readFileSync('plans.json', 'utf8')) as { plans: { free: { limits: { seats: number } } } };
    plans.plans.free.limits.seats = SEATS;
    folder = mkdtempSync(path.join(tmpdir(), 'tenantry-plans-'));
    const file = path.join(folder, 'plans.json');
    writeFileSync(file, JSON.stringify(plans));
    clerk = await ClerkApp.start({ PLANS_FILE: file });
  });
  afterAll(async () => {
    await clerk.close();
    rmSync(folder, { recursive: true });
  });

  const outcome = ({ status, body }: { status: number; body: { code?: string } }) => `${status} ${body.code ?? ''}`.trim();

  async function verifiedPerson(): Promise<SignedInPerson> {
    const person = await signUp(clerk.t);
    await verifyEmail(clerk.t, person);
    return person;
  }

  const invite = (organization: { path: string }, by: SignedInPerson, email: string) =>
    clerk.t.http.post(`${organization.path}/invitations`).set(by.auth).send({ email, role: 'admin' });
  const accept = (id: string, person: SignedInPerson) => clerk.t.http.post(`/v1/invitations/${id}/accept`).set(person.auth).send({});

  /** Ada's organization, in which Bob, an admin too, has invited Carl. */
  async function invitedByBob() {
    const [ada, bob, carl] = await Promise.all([verifiedPerson(), verifiedPerson(), verifiedPerson()]);
    const organization = await createOrganization(clerk.t, ada);
    const bobs = await addMember(clerk.t, organization.id, bob, 'admin');
    const { body } = await invite(organization, bob, carl.email).expect(201);
    return { ada, bob, carl, organization, bobs: `${organization.path}/memberships/${bobs}`, id: body.id as string };
  }
  type Invited = Awaited<ReturnType<typeof invitedByBob>>;

  /** Creates a Clerk user with Bob's verified address, into which Bob's local account is merged. */
  async function mergeBob({ bob }: Invited): Promise<string> {
    await clerk.t.db.rows(
      `UPDATE users SET created_at = now() - interval '2 hours', email_verified_at = now() - interval '2 hours' WHERE id = $1`,
      [bob.id],
    );
    const id = newClerkId('user');
    await clerk.emit('user.created', userData({ id, email: { email: bob.email, verified: true } }));
    return id;
  }

  const ends: [string, (world: Invited) => Promise<unknown>][] = [
    ['is removed', ({ ada, bobs }) => clerk.t.http.delete(bobs).set(ada.auth).expect(204)],
    ['leaves', ({ bob, bobs }) => clerk.t.http.delete(bobs).set(bob.auth).expect(204)],
    ['is demoted', ({ ada, bobs }) => clerk.t.http.patch(bobs).set(ada.auth).send({ role: 'member' }).expect(200)],
    ['is suspended', ({ bob }) => clerk.t.http.post(`/v1/users/${bob.id}/suspend`).set(clerk.operator.auth).expect(200)],
    ['deletes their account', ({ bob }) => clerk.t.http.delete('/v1/users/me').set(bob.auth).expect(204)],
    [
      'is merged into a Clerk user who is banned',
      async (world) => {
        const id = await mergeBob(world);
        await clerk.emit('user.updated', userData({ id, email: { email: world.bob.email, verified: true }, banned: true }));
      },
    ],
    ['is merged into a Clerk user who is deleted', async (world) => clerk.emit('user.deleted', deletedData('user', await mergeBob(world)))],
  ];

  it.each(ends)('lose their open invitations, with an audit entry, when an inviter %s', async (_, end) => {
    const world = await invitedByBob();
    await end(world);
    const { ada, carl, organization, id } = world;
    const own = await clerk.t.http.get('/v1/invitations').set(carl.auth).expect(200);
    expect(own.body.data).toEqual([]);
    expect(outcome(await accept(id, carl))).toBe('410 invitation_gone');
    expect(await membershipOf(clerk.t, organization.id, carl)).toBeUndefined();
    const listed = await clerk.t.http.get(`${organization.path}/invitations?status=revoked`).set(ada.auth).expect(200);
    expect(listed.body.data.map((one: { id: string }) => one.id)).toEqual([id]);
    expect(await auditOf(clerk.t, organization.id, 'invitation.revoked')).toEqual([expect.objectContaining({ target_id: id })]);
    // A new invitation is possible.
    expect(outcome(await invite(organization, ada, carl.email))).toBe('201');
  });

  it('keep their invitations through a merge with their Clerk user', async () => {
    const world = await invitedByBob();
    await mergeBob(world);
    expect(outcome(await accept(world.id, world.carl))).toBe('200');
  });

  it.each([
    ['demoted', `UPDATE organization_memberships SET role = 'member' WHERE user_id = $1`],
    ['suspended', 'UPDATE users SET suspended_at = now() WHERE id = $1'],
  ])('cannot let anyone in after they are %s, even with an open invitation', async (_, statement) => {
    const { bob, carl, id } = await invitedByBob();
    await clerk.t.db.rows(statement, [bob.id]);
    const own = await clerk.t.http.get('/v1/invitations').set(carl.auth).expect(200);
    expect(own.body.data).toEqual([]);
    expect(outcome(await accept(id, carl))).toBe('410 invitation_gone');
  });

  it('let someone in or not, but never both, when acceptance and demotion race', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { ada, carl, organization, bobs, id } = await invitedByBob();
      const [accepted, demoted] = await Promise.all([accept(id, carl), clerk.t.http.patch(bobs).set(ada.auth).send({ role: 'member' })]);
      expect(demoted.status).toBe(200);
      expect(['200', '410 invitation_gone']).toContain(outcome(accepted));
      const isIn = (await membershipOf(clerk.t, organization.id, carl)) !== undefined;
      const [row] = await clerk.t.db.rows<{ status: string }>('SELECT status FROM invitations WHERE id = $1', [id]);
      expect([isIn, row!.status]).toEqual(accepted.status === 200 ? [true, 'accepted'] : [false, 'revoked']);
    }
  });

  it('need a verified address', async () => {
    const [mallory, carl] = [await signUp(clerk.t), await verifiedPerson()];
    const organization = await createOrganization(clerk.t, mallory);
    expect(outcome(await invite(organization, mallory, carl.email))).toBe('403 email_not_verified');
    await verifyEmail(clerk.t, mallory);
    const { body } = await invite(organization, mallory, carl.email).expect(201);
    await clerk.t.db.rows('UPDATE users SET email_verified = false WHERE id = $1', [mallory.id]);
    const resend = await clerk.t.http.post(`${organization.path}/invitations/${body.id}/resend`).set(mallory.auth).send({});
    expect(outcome(resend)).toBe('403 email_not_verified');
  });

  it('get an error when all seats are taken, counting members and open invitations, before anyone is invited', async () => {
    const ada = await verifiedPerson();
    const organization = await createOrganization(clerk.t, ada);
    const emails = Array.from({ length: 8 }, (_, n) => `seat-${n}-${organization.id}@example.com`);
    const answers = await Promise.all(emails.map((email) => invite(organization, ada, email)));
    expect(answers.map(outcome).toSorted()).toEqual([...Array<string>(3).fill('201'), ...Array<string>(5).fill('402 seat_limit_reached')]);
    const refused = answers.find(({ status }) => status === 402)!;
    expect(refused.body.detail).toMatch(/All 4 seats of the plan Free are taken by members and open invitations.*Pro/);
    const open = answers.filter(({ status }) => status === 201).map(({ body }) => body.id as string);
    expect(await auditOf(clerk.t, organization.id, 'invitation.created')).toHaveLength(3);

    // A revoked invitation and an expired one free their seats.
    await clerk.t.http.delete(`${organization.path}/invitations/${open[0]}`).set(ada.auth).expect(204);
    expect(outcome(await invite(organization, ada, 'one@example.com'))).toBe('201');
    expect(outcome(await invite(organization, ada, 'two@example.com'))).toBe('402 seat_limit_reached');
    await clerk.t.db.rows(`UPDATE invitations SET expires_at = now() - interval '1 second' WHERE id = $1`, [open[1]]);
    expect(outcome(await invite(organization, ada, 'two@example.com'))).toBe('201');

    // A member who joined in another way takes a seat from the open invitations.
    await addMember(clerk.t, organization.id, await verifiedPerson());
    const resend = await clerk.t.http.post(`${organization.path}/invitations/${open[2]}/resend`).set(ada.auth).send({});
    expect(outcome(resend)).toBe('402 seat_limit_reached');
  });
});
