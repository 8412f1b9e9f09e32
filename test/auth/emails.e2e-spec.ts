import { GOOGLE_ENVIRONMENT, type OAuthSimulator, type ProviderPerson, startOAuthSimulator } from '../simulators/oauth.js';
import { ClerkApp, newClerkId } from '../support/clerk/clerk-app.js';
import { userData } from '../support/clerk/clerk-events.js';
import { PASSWORD, type SignedInPerson, signIn, signUp } from '../support/people.js';
import { createOrganization, verifyEmail } from '../support/tenants.js';

const TRUSTED = 'https://app.example.com';
const KELVIN = '\u212A';

/** Addresses that Unicode lower-casing, NFC or NFKC changes to the ASCII address of another user. */
const LOOKALIKES: [string, (local: string) => string][] = [
  ['the Kelvin sign', (email) => email.replace('k', KELVIN)],
  ['a dotted capital I', (email) => email.replace('i', '\u0130')],
  ['a long s', (email) => email.replace('s', '\u017F')],
  ['a full-width letter', (email) => email.replace('k', '\uFF2B')],
  ['a zero-width space', (email) => email.replace('k', 'k\u200B')],
];

describe('email addresses', () => {
  let clerk: ClerkApp;
  let providers: OAuthSimulator;
  let counter = 0;
  beforeAll(async () => {
    providers = await startOAuthSimulator();
    clerk = await ClerkApp.start({ ...GOOGLE_ENVIRONMENT, TRUSTED_ORIGINS: TRUSTED });
  });
  afterAll(async () => {
    await clerk.close();
    await providers.close();
  });

  const outcome = ({ status, body }: { status: number; body: { code?: string } }) => `${status} ${body.code ?? ''}`.trim();

  async function newLocal(): Promise<SignedInPerson> {
    const person = await signUp(clerk.t, { email: `kit-sky-${(counter += 1)}@t.test` });
    await verifyEmail(clerk.t, person);
    return person;
  }

  async function signInWithGoogle(person: ProviderPerson) {
    const { body, headers } = await clerk.t.http
      .post('/v1/auth/sign-in/social')
      .send({ provider: 'google', callbackURL: `${TRUSTED}/home`, errorCallbackURL: `${TRUSTED}/sorry` })
      .expect(200);
    const cookies = (headers['set-cookie'] as unknown as string[]).map((line) => line.split(';', 1)[0]!).join('; ');
    const answer = await clerk.t.http
      .get(providers.agree(body.url as string, person))
      .set('cookie', cookies)
      .expect(302);
    const token = answer.headers['set-auth-token'];
    return { location: new URL(answer.headers['location']!), auth: token === undefined ? undefined : { authorization: `Bearer ${token}` } };
  }

  const googlePerson = (email: string, id = String((counter += 1))): ProviderPerson => ({
    id,
    email,
    emailVerified: true,
    name: 'Mallory',
  });

  describe.each(LOOKALIKES)('with %s', (_, disguise) => {
    it('do not equal the ASCII address when Clerk verified them, and the Clerk user still works', async () => {
      const local = await newLocal();
      const id = newClerkId('user');
      const disguised = disguise(local.email);
      await clerk.emit('user.created', userData({ id, firstName: 'Clerk', email: { email: disguised, verified: true } }));
      const { body: mine } = await clerk.t.http.get('/v1/users/me').set(local.auth).expect(200);
      expect(mine).toMatchObject({ id: local.id, email: local.email, clerkUserId: null });
      expect((await signIn(clerk.t, local)).id).toBe(local.id);
      expect(await clerk.user(id)).toMatchObject({ email: disguised, emailVerified: true });
      expect(await clerk.tryAccess(id)).toEqual([200, undefined]);
      const search = await clerk.t.http.get('/v1/users').query({ email: disguised }).set(clerk.operator.auth).expect(200);
      expect(search.body.data.map(({ clerkUserId }: { clerkUserId: string }) => clerkUserId)).toEqual([id]);
    });

    it('do not equal the ASCII address when a provider verified them', async () => {
      const local = await newLocal();
      const { location, auth } = await signInWithGoogle(googlePerson(disguise(local.email)));
      expect(location.pathname).toBe('/sorry');
      expect(location.searchParams.get('error')).toBe('email_not_supported');
      expect(auth).toBeUndefined();
      expect(await clerk.t.db.rows(`SELECT provider FROM accounts WHERE user_id = $1`, [local.id])).toEqual([{ provider: 'credential' }]);
    });

    it('are rejected with the name of the field in every request with an address', async () => {
      const local = await newLocal();
      const email = disguise(local.email);
      const { path } = await createOrganization(clerk.t, local);
      const requests: [string, string, object][] = [
        ['/v1/auth/sign-up/email', 'body.email', { email, name: 'Mallory', password: PASSWORD }],
        ['/v1/auth/sign-in/email', 'body.email', { email, password: PASSWORD }],
        ['/v1/auth/request-password-reset', 'body.email', { email }],
        ['/v1/auth/send-verification-email', 'body.email', { email }],
        ['/v1/auth/change-email', 'body.newEmail', { newEmail: email, currentPassword: PASSWORD }],
        [`${path}/invitations`, 'body.email', { email, role: 'member' }],
      ];
      for (const [route, field, body] of requests) {
        const answer = await clerk.t.http.post(route).set(local.auth).send(body);
        expect([route, outcome(answer), answer.body.errors?.[0]?.path]).toEqual([route, '400 invalid_request', field]);
      }
    });
  });

  it('from a provider stay usable for a user who is already linked', async () => {
    const person = googlePerson(`plain-${(counter += 1)}@t.test`);
    const first = await signInWithGoogle(person);
    const { body: user } = await clerk.t.http.get('/v1/users/me').set(first.auth!).expect(200);
    await clerk.t.db.rows('UPDATE users SET email = $2 WHERE id = $1', [user.id, 'jörg@bücher.test']);
    const again = await signInWithGoogle({ ...person, email: 'JÖRG@BÜCHER.test' });
    expect(again.location.href).toBe(`${TRUSTED}/home`);
    const { body } = await clerk.t.http.get('/v1/users/me').set(again.auth!).expect(200);
    expect(body).toMatchObject({ id: user.id, email: 'jörg@bücher.test' });
  });

  it.each([
    'jörg@example.com',
    'info@bücher.test',
    '"john doe"@example.com',
    'a!b@example.com',
    '用户@例子.example',
    'ivan@xn--d1acufc.xn--p1ai',
  ])('that cannot sign up cannot be invited: %s', async (email) => {
    const admin = await newLocal();
    const { path } = await createOrganization(clerk.t, admin);
    const signedUp = await clerk.t.http.post('/v1/auth/sign-up/email').send({ email, name: 'Jörg', password: PASSWORD });
    const invited = await clerk.t.http.post(`${path}/invitations`).set(admin.auth).send({ email, role: 'member' });
    expect([signedUp, invited].map(outcome)).toEqual(Array(2).fill('400 invalid_request'));
    for (const { body } of [signedUp, invited]) {
      expect(body.errors).toEqual([
        { path: 'body.email', message: expect.stringMatching(/^email must be an email address of ASCII letters/) },
      ]);
    }
  });

  it('are accepted with surrounding ASCII white space, in any case, and with a domain in its ASCII form', async () => {
    const person = await signUp(clerk.t, { email: `  O'Brien+${(counter += 1)}@XN--bcher-KVA.Test\n` });
    const { body } = await clerk.t.http.get('/v1/users/me').set(person.auth).expect(200);
    expect(body.email).toBe(`o'brien+${counter}@xn--bcher-kva.test`);
  });

  it('of Clerk that a local account cannot have are stored as Clerk sends them', async () => {
    const id = newClerkId('user');
    await clerk.emit('user.created', userData({ id, firstName: 'Jörg', email: { email: ' JÖRG@Bücher.Test ', verified: true } }));
    expect(await clerk.user(id)).toMatchObject({ email: 'jÖrg@bücher.test', emailVerified: true });
    const headers = await clerk.as(id);
    const mine = await clerk.t.http.get('/v1/invitations').set(headers).expect(200);
    expect(mine.body.data).toEqual([]);
  });
});
