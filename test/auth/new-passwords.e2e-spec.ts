import { Passwords } from '../../src/auth/passwords/passwords.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { type ReceivedMail, startMailServer } from '../support/mails.js';
import { PASSWORD, signIn, signUp } from '../support/people.js';

const GOOD = 'an even better horse';
const EMOJI = '😀'.repeat(65);

let counter = 0;
const newEmail = () => `password-${(counter += 1)}@example.org`;
const tokenIn = (mail: ReceivedMail) => /^[\w-]{20,}$/m.exec(mail.text)![0];

describe('a new password', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    t = await startTestApp({ SMTP_URL: mail.url });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  const signUpWith = (password: string, email = newEmail()) => t.http.post('/v1/auth/sign-up/email').send({ email, name: 'N', password });
  const change = (auth: Record<string, string>, newPassword: string) =>
    t.http.post('/v1/auth/change-password').set(auth).send({ currentPassword: PASSWORD, newPassword });
  const resetToken = async (email: string) => {
    await t.http.post('/v1/auth/request-password-reset').send({ email }).expect(200);
    return tokenIn(await mail.next(email, /Reset/));
  };
  const reset = (token: string, newPassword: string) => t.http.post('/v1/auth/reset-password').send({ token, newPassword });

  it('is rejected at sign-up, change and reset when it is common, the email or our name', async () => {
    const person = await signUp(t, { email: newEmail() });
    const token = await resetToken(person.email);
    for (const weak of ['password', 'Password1', '        ', person.email.toUpperCase(), person.email.split('@')[0]!, 'Tenantry!1']) {
      const answers = [await signUpWith(weak, `new-${person.email}`), await change(person.auth, weak), await reset(token, weak)];
      const isOfOther = weak.includes('-');
      for (const { status, body } of isOfOther ? answers.slice(1) : answers)
        expect([weak, status, body.code]).toEqual([weak, 400, 'weak_password']);
      if (isOfOther) expect((await signUpWith(weak, person.email)).body.code).toBe('weak_password');
    }
    await signIn(t, person);
    await reset(token, GOOD).expect(200);
    await signIn(t, person, GOOD);
  });

  it('is rejected before the response reveals whether the email is taken or the current password right', async () => {
    const person = await signUp(t);
    const answer = await t.http
      .post('/v1/auth/change-password')
      .set(person.auth)
      .send({ currentPassword: 'not the password', newPassword: 'password' })
      .expect(400);
    expect(answer.body.code).toBe('weak_password');
    expect((await reset('x'.repeat(24), GOOD).expect(400)).body.code).toBe('invalid_token');
  });

  it('is measured in characters in every request', async () => {
    const email = newEmail();
    await signUpWith(EMOJI, email).expect(200);
    const person = await signIn(t, { email, name: 'N' }, EMOJI);
    const next = '🎉'.repeat(128);
    await t.http.post('/v1/auth/change-password').set(person.auth).send({ currentPassword: EMOJI, newPassword: next }).expect(200);
    await signIn(t, person, next);
    await reset(await resetToken(email), EMOJI).expect(200);

    for (const wrong of ['😀'.repeat(7), '😀'.repeat(129), 'x'.repeat(129), 12345678, null]) {
      const answers = [
        await t.http.post('/v1/auth/sign-up/email').send({ email: newEmail(), name: 'N', password: wrong }),
        await t.http.post('/v1/auth/reset-password').send({ token: 'x', newPassword: wrong }),
      ];
      for (const { status, body } of answers) {
        expect([wrong, status, body.code]).toEqual([wrong, 400, 'invalid_request']);
        expect(body.errors).toEqual([{ path: expect.stringMatching(/assword$/), message: expect.stringMatching(/8 to 128 characters/) }]);
      }
    }
  });

  it('has no effect on passwords that were set before these rules', async () => {
    const person = await signUp(t);
    const other = await signUp(t, { password: GOOD });
    const hash = await t.app.get(Passwords, { strict: false }).hash('password');
    await t.db.rows('UPDATE accounts SET password = $2 WHERE user_id = $1', [person.id, hash]);
    const again = await signIn(t, person, 'password');
    await t.http.post('/v1/auth/change-password').set(again.auth).send({ currentPassword: 'password', newPassword: GOOD }).expect(200);
    await signIn(t, other, GOOD);
  });
});
