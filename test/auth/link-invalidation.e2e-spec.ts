import { GOOGLE_ENVIRONMENT, type OAuthSimulator, startOAuthSimulator } from '../simulators/oauth.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { linkIn, type ReceivedMail, startMailServer } from '../support/mails.js';
import { PASSWORD, signIn, type SignedInPerson, signUp } from '../support/people.js';
import { until } from '../support/until.js';

const NEW_PASSWORD = 'an even better horse';
const VERIFY = /Confirm your email/;
const RESET = /Reset your password/;
const CHANGE = /Confirm your new email/;

let counter = 0;
const newEmail = () => `end-${(counter += 1)}@example.org`;
const tokenIn = (mail: ReceivedMail) => /^[\w-]{20,}$/m.exec(mail.text)![0];

describe('a change of a sign-in method', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  let providers: OAuthSimulator;
  beforeAll(async () => {
    [mail, providers] = await Promise.all([startMailServer(), startOAuthSimulator()]);
    t = await startTestApp({ ...GOOGLE_ENVIRONMENT, SMTP_URL: mail.url });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
    await providers.close();
  });

  const open = (link: URL, headers: Record<string, string> = {}) => t.http.get(`${link.pathname}${link.search}`).set(headers);
  const reset = (token: string, newPassword = NEW_PASSWORD) => t.http.post('/v1/auth/reset-password').send({ token, newPassword });
  const resetTokenOf = async (email: string) => {
    await t.http.post('/v1/auth/request-password-reset').send({ email }).expect(200);
    return tokenIn(await mail.next(email, RESET));
  };
  const changeLinkOf = async ({ auth }: Pick<SignedInPerson, 'auth'>, email: string, currentPassword = PASSWORD) => {
    await t.http.post('/v1/auth/change-email').set(auth).send({ newEmail: email, currentPassword }).expect(200);
    return linkIn(await mail.next(email, CHANGE));
  };
  const changePassword = ({ auth }: Pick<SignedInPerson, 'auth'>) =>
    t.http.post('/v1/auth/change-password').set(auth).send({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD }).expect(200);
  const withGoogle = async (email: string, headers: Record<string, string> = {}, route = 'sign-in/social') => {
    const answer = await t.http.post(`/v1/auth/${route}`).set(headers).send({ provider: 'google' }).expect(200);
    const [cookie] = answer.headers['set-cookie'] as unknown as string[];
    const path = providers.agree(answer.body.url, { id: `google-${email}`, email, emailVerified: true, name: 'G' });
    return t.http.get(path).set('cookie', cookie!.split(';', 1)[0]!).expect(302);
  };
  const emailOf = async (id: string) =>
    (await t.db.rows<{ email: string | null }>('SELECT email FROM users WHERE id = $1', [id]))[0]!.email;
  const mailsTo = async (address: string) => {
    await until(async () => (await t.db.rows('SELECT id FROM outbox WHERE done_at IS NULL')).length === 0);
    return mail.mails.filter(({ to }) => to === address).map(({ subject }) => subject);
  };

  /** A user with a valid link of every kind. */
  const withLinks = async () => {
    const person = await signUp(t, { email: newEmail() });
    const verification = linkIn(await mail.next(person.email, VERIFY));
    const next = newEmail();
    const [resetToken, change] = [await resetTokenOf(person.email), await changeLinkOf(person, next)];
    const expectDead = async () => {
      for (const link of [verification, change])
        for (const send of [
          () => open(link, person.auth),
          () => t.http.post(link.pathname).send({ token: link.searchParams.get('token'), password: NEW_PASSWORD }),
        ])
          expect((await send().expect(400)).body.code).toBe('invalid_token');
      expect((await reset(resetToken).expect(400)).body.code).toBe('invalid_token');
      expect(await emailOf(person.id)).not.toBe(next);
    };
    return { person, expectDead };
  };

  describe('invalidates every earlier link, by', () => {
    it('using a newer reset link', async () => {
      const { person, expectDead } = await withLinks();
      const [second, third] = [await resetTokenOf(person.email), await resetTokenOf(person.email)];
      await reset(second).expect(200);
      await expectDead();
      expect((await reset(third, 'a third password').expect(400)).body.code).toBe('invalid_token');
      await signIn(t, person, NEW_PASSWORD);
    });

    it('using an older reset link', async () => {
      const person = await signUp(t, { email: newEmail() });
      const [first, second] = [await resetTokenOf(person.email), await resetTokenOf(person.email)];
      await reset(first).expect(200);
      expect((await reset(second, 'a second password').expect(400)).body.code).toBe('invalid_token');
      await signIn(t, person, NEW_PASSWORD);
    });

    it('changing the password', async () => {
      const { person, expectDead } = await withLinks();
      await changePassword(person);
      await expectDead();
    });

    it('changing the email', async () => {
      const { person, expectDead } = await withLinks();
      const other = await signIn(t, person);
      const email = newEmail();
      await open(await changeLinkOf(other, email), other.auth).expect(200);
      await expectDead();
      expect(await emailOf(person.id)).toBe(email);
    });

    it('deleting the account', async () => {
      const { person, expectDead } = await withLinks();
      await t.http.delete('/v1/users/me').set(person.auth).expect(204);
      await expectDead();
    });

    it('signing in with a provider that takes over an unverified address', async () => {
      const { person, expectDead } = await withLinks();
      expect((await withGoogle(person.email)).headers['set-auth-token']).toBeDefined();
      await expectDead();
    });

    it('another user verifying the address', async () => {
      const { person, expectDead } = await withLinks();
      const owner = await signUp(t, { email: newEmail() });
      await open(await changeLinkOf(owner, person.email), owner.auth).expect(200);
      await expectDead();
      expect(await emailOf(owner.id)).toBe(person.email);
    });
  });

  describe('of the email', () => {
    it('invalidates the link to a mistyped address when a newer change is requested', async () => {
      const person = await signUp(t, { email: newEmail() });
      const [typo, right] = [newEmail(), newEmail()];
      const wrong = await changeLinkOf(person, typo);
      const good = await changeLinkOf(person, right);
      expect((await open(wrong, person.auth).expect(400)).body.code).toBe('invalid_token');
      await open(good, person.auth).expect(200);
      expect((await open(wrong, person.auth).expect(400)).body.code).toBe('invalid_token');
      expect(await emailOf(person.id)).toBe(right);
    });

    it('does not invalidate links of other users', async () => {
      const other = await signUp(t, { email: newEmail() });
      const [token, link] = [await resetTokenOf(other.email), await changeLinkOf(other, newEmail())];
      const { person } = await withLinks();
      await changeLinkOf(person, newEmail());
      await changePassword(person);
      await open(link, other.auth).expect(200, { status: true });
      // The change of the own email invalidated the own reset link.
      await reset(token).expect(400);
      const third = await signUp(t, { email: newEmail() });
      const stays = await resetTokenOf(third.email);
      await changePassword(other);
      await reset(stays).expect(200);
    });

    it('leaves reset links valid while the change is only requested', async () => {
      const person = await signUp(t, { email: newEmail() });
      const token = await resetTokenOf(person.email);
      await changeLinkOf(person, newEmail());
      await reset(token).expect(200);
    });
  });

  describe('sends a mail to the owner about', () => {
    const newcomer = async () => {
      const person = await signUp(t, { email: newEmail() });
      await mail.next(person.email, VERIFY);
      return person;
    };

    it('a changed password', async () => {
      const person = await newcomer();
      await changePassword(person);
      const { text } = await mail.next(person.email, /^Your password was changed$/);
      expect(text).toContain('If this was not you, contact us at once.');
      expect(text).not.toContain(person.name);
    });

    it('a reset password', async () => {
      const person = await newcomer();
      await reset(await resetTokenOf(person.email)).expect(200);
      expect(await mailsTo(person.email)).toEqual(['Your password was changed']);
    });

    it('a changed email, to the old address only', async () => {
      const person = await newcomer();
      const email = newEmail();
      await open(await changeLinkOf(person, email), person.auth).expect(200);
      expect(await mailsTo(person.email)).toEqual(['Your email address was changed']);
      expect(await mailsTo(email)).toEqual([]);
    });

    it('a linked and an unlinked provider', async () => {
      const person = await newcomer();
      await t.db.rows('UPDATE users SET email_verified = true WHERE id = $1', [person.id]);
      await withGoogle(person.email, person.auth, 'link-social');
      expect((await mail.next(person.email, /new way to sign in/)).text).toContain('Google');
      const { body } = await t.http.get('/v1/users/me/accounts').set(person.auth).expect(200);
      const google = body.data.find(({ provider }: { provider: string }) => provider === 'google');
      await t.http.delete(`/v1/users/me/accounts/${google.id}`).set(person.auth).expect(204);
      expect((await mail.next(person.email, /way to sign in was removed/)).text).toContain('Google');
      expect(await mailsTo(person.email)).toEqual([]);
    });

    it('a provider that is linked by signing in with it, once', async () => {
      const person = await newcomer();
      await t.db.rows('UPDATE users SET email_verified = true WHERE id = $1', [person.id]);
      await withGoogle(person.email);
      await withGoogle(person.email);
      expect(await mailsTo(person.email)).toEqual(['A new way to sign in was added']);
    });

    it('no rejected change, and no sign-up', async () => {
      const person = await newcomer();
      await t.http
        .post('/v1/auth/change-password')
        .set(person.auth)
        .send({ currentPassword: 'wrong password', newPassword: NEW_PASSWORD })
        .expect(400);
      await reset('x'.repeat(24)).expect(400);
      const google = newEmail();
      await withGoogle(google);
      expect([await mailsTo(person.email), await mailsTo(google)]).toEqual([[], []]);
    });
  });

  it('asks to verify an address only when the provider has not verified it', async () => {
    const email = newEmail();
    const answer = await t.http.post('/v1/auth/sign-in/social').send({ provider: 'google', callbackURL: '/after' }).expect(200);
    const [cookie] = answer.headers['set-cookie'] as unknown as string[];
    const path = providers.agree(answer.body.url, { id: `google-${email}`, email, emailVerified: false, name: 'G' });
    const { headers } = await t.http.get(path).set('cookie', cookie!.split(';', 1)[0]!).expect(302);
    const link = linkIn(await mail.next(email, VERIFY));
    const { location } = (await open(link, { authorization: `Bearer ${headers['set-auth-token']}` }).expect(302)).headers;
    expect(location).toBe('http://localhost:3000/after');
    const [user] = await t.db.rows('SELECT email_verified FROM users WHERE email = $1', [email]);
    expect(user).toEqual({ email_verified: true });
  });
});
