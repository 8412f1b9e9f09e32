import { GOOGLE_ENVIRONMENT, type OAuthSimulator, startOAuthSimulator } from '../simulators/oauth.js';
import { ClerkApp, newAddress, newClerkId } from '../support/clerk/clerk-app.js';
import { userData } from '../support/clerk/clerk-events.js';
import { linkIn, startMailServer } from '../support/mails.js';
import { PASSWORD, type SignedInPerson, signIn, signUp } from '../support/people.js';
import { addMember, auditOf, createOrganization, membershipOf, verifyEmail } from '../support/tenants.js';

const NEW_PASSWORD = 'a quite different horse battery';

describe('an account with an unverified address', () => {
  let clerk: ClerkApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  let providers: OAuthSimulator;
  beforeAll(async () => {
    [mail, providers] = await Promise.all([startMailServer(), startOAuthSimulator()]);
    clerk = await ClerkApp.start({ ...GOOGLE_ENVIRONMENT, SMTP_URL: mail.url, TRUSTED_ORIGINS: 'https://app.example.com' });
  });
  afterAll(async () => {
    await clerk.close();
    await Promise.all([mail.close(), providers.close()]);
  });

  const nobody = 'nobody@example.com';

  async function proved(): Promise<SignedInPerson> {
    const person = await signUp(clerk.t);
    await verifyEmail(clerk.t, person);
    return person;
  }

  const makeKey = async (path: string, by: SignedInPerson): Promise<string> => {
    const key = { name: 'A key', scopes: ['organization:read'] };
    const { body } = await clerk.t.http.post(`${path}/api-keys`).set(by.auth).send(key).expect(201);
    return body.key as string;
  };
  const useKey = async (path: string, key: string) => (await clerk.t.http.get(path).set('x-api-key', key)).status;
  const invite = async (path: string, by: SignedInPerson, email: string) =>
    (await clerk.t.http.post(`${path}/invitations`).set(by.auth).send({ email, role: 'admin' }).expect(201)).body.id as string;
  const join = async (path: string, by: SignedInPerson, person: SignedInPerson) => {
    const id = await invite(path, by, person.email);
    await clerk.t.http.post(`/v1/invitations/${id}/accept`).set(person.auth).send({}).expect(200);
  };

  /**
   * Mallory signed up with the victim's address and created an organization. As earlier versions allowed, she invited Eve, who invited
   * Frank. She is also a member of another organization, with a key that she did not create.
   */
  async function squatted() {
    const victim = newAddress();
    const [mallory, eve, frank, ada] = await Promise.all([signUp(clerk.t, { email: victim }), proved(), proved(), proved()]);
    await clerk.t.db.rows(`UPDATE users SET created_at = now() - interval '2 hours' WHERE id = $1`, [mallory.id]);
    const { id, path } = await createOrganization(clerk.t, mallory);
    await verifyEmail(clerk.t, mallory);
    await join(path, mallory, eve);
    await join(path, eve, frank);
    const open = [await invite(path, mallory, nobody), await invite(path, frank, `frank-${nobody}`)];
    await clerk.t.db.rows('UPDATE users SET email_verified = false, email_verified_at = NULL WHERE id = $1', [mallory.id]);
    const keys = [await makeKey(path, mallory), await makeKey(path, eve)];
    const other = await createOrganization(clerk.t, ada);
    await addMember(clerk.t, other.id, mallory);
    const kept = {
      path: other.path,
      key: await makeKey(other.path, ada),
      invitation: await invite(other.path, ada, nobody),
      id: other.id,
      ada,
    };
    return { victim, mallory, eve, frank, id, path, open, keys, kept };
  }
  type World = Awaited<ReturnType<typeof squatted>>;

  async function reset({ victim }: { victim: string }): Promise<void> {
    await clerk.t.http
      .post('/v1/auth/request-password-reset')
      .send({ email: victim, redirectTo: 'https://app.example.com/reset' })
      .expect(200);
    const page = linkIn(await mail.next(victim, /Reset/));
    const opened = await clerk.t.http.get(`${page.pathname}${page.search}`).expect(302);
    const token = new URL(opened.headers['location']!).searchParams.get('token');
    await clerk.t.http.post('/v1/auth/reset-password').send({ token, newPassword: NEW_PASSWORD }).expect(200);
  }

  async function signInWithGoogle({ victim }: World): Promise<void> {
    const { body, headers } = await clerk.t.http
      .post('/v1/auth/sign-in/social')
      .send({ provider: 'google', callbackURL: 'https://app.example.com/home' })
      .expect(200);
    const cookies = (headers['set-cookie'] as unknown as string[]).map((line) => line.split(';', 1)[0]!).join('; ');
    const person = { id: victim, email: victim, emailVerified: true, name: 'Victim' };
    const answer = await clerk.t.http
      .get(providers.agree(body.url as string, person))
      .set('cookie', cookies)
      .expect(302);
    expect(answer.headers['location']).toBe('https://app.example.com/home');
  }

  async function changeEmail({ victim }: World): Promise<void> {
    const owner = await proved();
    await clerk.t.http.post('/v1/auth/change-email').set(owner.auth).send({ newEmail: victim, currentPassword: PASSWORD }).expect(200);
    const link = linkIn(await mail.next(victim, /new email/));
    const { status } = await clerk.t.http.get(`${link.pathname}${link.search}`).set(owner.auth);
    expect(status).toBeLessThan(400);
  }

  async function proveAtClerk({ victim }: World): Promise<void> {
    await clerk.emit('user.created', userData({ id: newClerkId('user'), email: { email: victim, verified: true } }));
  }

  const ways: [string, (world: World) => Promise<void>, boolean][] = [
    ['resets the password', reset, true],
    ['signs in with a provider', signInWithGoogle, true],
    ['changes their email to it', changeEmail, false],
    ['verifies it at Clerk', proveAtClerk, false],
  ];

  it.each(ways)('loses everything that it created for others when the owner %s', async (_, prove, isTakenInPlace) => {
    const world = await squatted();
    const { victim, mallory, eve, frank, id, path, open, keys, kept } = world;
    expect(await Promise.all(keys.map((key) => useKey(path, key)))).toEqual([200, 200]);
    await prove(world);

    expect(await Promise.all(keys.map((key) => useKey(path, key)))).toEqual([401, 401]);
    for (const person of [eve, frank]) {
      expect(await membershipOf(clerk.t, id, person)).toBeUndefined();
      await clerk.t.http.get(path).set(person.auth).expect(404);
    }
    const statuses = await clerk.t.db.rows('SELECT DISTINCT status FROM invitations WHERE id = ANY ($1)', [open]);
    expect(statuses).toEqual([{ status: 'revoked' }]);

    // The organization stays with the account, which keeps an admin.
    expect(await membershipOf(clerk.t, id, mallory)).toMatchObject({ role: 'admin' });
    await clerk.t.http.get(path).set(mallory.auth).expect(401);
    const [row] = await clerk.t.db.rows<{ email: string | null; email_verified: boolean }>(
      'SELECT email, email_verified FROM users WHERE id = $1',
      [mallory.id],
    );
    expect(row).toEqual(isTakenInPlace ? { email: victim, email_verified: true } : { email: null, email_verified: false });

    // Nothing of other users changes.
    expect(await useKey(kept.path, kept.key)).toBe(200);
    expect(await clerk.t.db.rows('SELECT status FROM invitations WHERE id = $1', [kept.invitation])).toEqual([{ status: 'pending' }]);
    expect(await membershipOf(clerk.t, kept.id, mallory)).toBeDefined();
    expect(await membershipOf(clerk.t, kept.id, kept.ada)).toBeDefined();

    expect(await auditOf(clerk.t, id, 'api_key.revoked')).toHaveLength(2);
    expect(await auditOf(clerk.t, id, 'invitation.revoked')).toHaveLength(2);
    expect(await auditOf(clerk.t, id, 'membership.removed')).toHaveLength(2);
    const { text } = await mail.next(victim, /has ended/);
    expect(text).toMatch(/API keys: 2[^]*open invitations: 2[^]*memberships of other people: 2/);
  });

  it('may create organizations and keys, and keeps them when it verifies the address itself', async () => {
    const bob = await signUp(clerk.t);
    const { path } = await createOrganization(clerk.t, bob);
    const key = await makeKey(path, bob);
    await verifyEmail(clerk.t, bob);
    await reset({ victim: bob.email });
    expect(await useKey(path, key)).toBe(200);
    await clerk.t.http
      .get(path)
      .set((await signIn(clerk.t, bob, NEW_PASSWORD)).auth)
      .expect(200);
  });

  it('gets no mail about ended access when nothing ended', async () => {
    const bob = await signUp(clerk.t);
    await reset({ victim: bob.email });
    await clerk.t.http.post('/v1/auth/request-password-reset').send({ email: bob.email }).expect(200);
    await mail.next(bob.email, /Reset/);
    expect(mail.mails.filter(({ to, subject }) => to === bob.email && /has ended/.test(subject))).toEqual([]);
  });
});
