import { UsersService } from '../../src/users/users.service.js';
import { CLERK_ISSUER, clerkToken, makeClerkKey } from '../simulators/clerk.js';
import { GOOGLE_ENVIRONMENT, type OAuthSimulator, startOAuthSimulator } from '../simulators/oauth.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { whileLocked } from '../support/database.js';
import { linkIn, type ReceivedMail, startMailServer } from '../support/mails.js';
import { PASSWORD, type SignedInPerson, signIn, signUp, signUpOperator } from '../support/people.js';
import { until, untilLocked } from '../support/until.js';

const tokenIn = (mail: ReceivedMail) => /^[\w-]{20,}$/m.exec(mail.text)![0];

describe('a deleted user', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  let providers: OAuthSimulator;
  beforeAll(async () => {
    mail = await startMailServer();
    providers = await startOAuthSimulator();
    t = await startTestApp({ SMTP_URL: mail.url, PURGE_AFTER_DAYS: '30', LOG_LEVEL: 'error', ...GOOGLE_ENVIRONMENT });
  });
  afterAll(async () => {
    await t.close();
    await providers.close();
    await mail.close();
  });

  const me = (headers: Record<string, string>) => t.http.get('/v1/users/me').set(headers);
  const deleteAccount = async ({ auth }: SignedInPerson) => (await t.http.delete('/v1/users/me').set(auth)).status;
  const withGoogle = async (person: { id: string; email: string }) => {
    const answer = await t.http.post('/v1/auth/sign-in/social').send({ provider: 'google' }).expect(200);
    const [cookie] = answer.headers['set-cookie'] as unknown as string[];
    const path = providers.agree(answer.body.url, { ...person, emailVerified: true, name: 'G' });
    return t.http.get(path).set('cookie', cookie!.split(';', 1)[0]!).expect(302);
  };

  it('cannot sign in, and signing up with the same email creates another user', async () => {
    const person = await signUp(t);
    const verification = linkIn(await mail.next(person.email, /Confirm/));
    await t.http.get(`${verification.pathname}${verification.search}`).set(person.auth).expect(200, { status: true });
    const google = { id: 'google-of-the-deleted', email: person.email };
    expect((await withGoogle(google)).headers['set-auth-token']).toBeDefined();
    await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
    const resetToken = tokenIn(await mail.next(person.email, /Reset/));
    await t.http
      .post('/v1/auth/change-email')
      .set(person.auth)
      .send({ newEmail: 'next@example.org', currentPassword: PASSWORD })
      .expect(200);
    const changeLink = linkIn(await mail.next('next@example.org', /Confirm/));
    const other = await signIn(t, person);

    await t.http.delete('/v1/users/me').set(person.auth).expect(204);

    for (const { auth, cookie } of [person, other]) {
      await me(auth).expect(401);
      await me({ cookie }).expect(401);
    }
    const password = await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(401);
    expect(password.body.code).toBe('wrong_credentials');
    const reset = await t.http.post('/v1/auth/reset-password').send({ token: resetToken, newPassword: 'an even better horse' }).expect(400);
    expect(reset.body.code).toBe('invalid_token');
    const change = await t.http.get(`${changeLink.pathname}${changeLink.search}`).expect(400);
    expect(change.body.code).toBe('invalid_token');
    const verify = await t.http.get(`${verification.pathname}${verification.search}`).expect(400);
    expect(verify.body.code).toBe('invalid_token');

    const again = await signUp(t, { email: person.email });
    expect(again.id).not.toBe(person.id);
    expect((await me(again.auth).expect(200)).body.emailVerified).toBe(false);
    // Links of the deleted user must not affect the new one.
    await t.http.get(`${verification.pathname}${verification.search}`).expect(400);
    await t.http.post('/v1/auth/reset-password').send({ token: resetToken, newPassword: 'an even better horse' }).expect(400);
    await me(again.auth).expect(200);

    const { headers } = await withGoogle(google);
    const { body } = await me({ authorization: `Bearer ${headers['set-auth-token']}` }).expect(200);
    expect(body.id).toBe(again.id);
    expect(await t.db.rows('SELECT id FROM accounts WHERE user_id = $1', [person.id])).toEqual([]);
  });

  it('does not come back by signing in with Google, which creates another user', async () => {
    const google = { id: 'google-comes-back', email: 'comes-back@example.org' };
    const first = await withGoogle(google);
    const auth = { authorization: `Bearer ${first.headers['set-auth-token']}` };
    const { body: before } = await me(auth).expect(200);
    await t.http.delete('/v1/users/me').set(auth).expect(204);
    const { headers } = await withGoogle(google);
    const { body: after } = await me({ authorization: `Bearer ${headers['set-auth-token']}` }).expect(200);
    expect(after.id).not.toBe(before.id);
  });

  it('gets no mail that was requested before the deletion', async () => {
    const person = await signUp(t);
    await mail.next(person.email, /Confirm/);
    await t.db.rows(`
      CREATE FUNCTION delay_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.next_attempt_at = now() + interval '1 hour'; RETURN NEW; END $$;
      CREATE TRIGGER delay_entry BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION delay_entry()`);
    await Promise.all([
      t.http.post('/v1/auth/change-email').set(person.auth).send({ newEmail: 'never@example.org', currentPassword: PASSWORD }).expect(200),
      t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200),
    ]);
    await t.db.rows('DROP TRIGGER delay_entry ON outbox; DROP FUNCTION delay_entry');
    const delayed = await t.db.rows('SELECT kind FROM outbox WHERE done_at IS NULL');
    expect(delayed).toHaveLength(2);
    await t.http.delete('/v1/users/me').set(person.auth).expect(204);
    await t.db.rows('UPDATE outbox SET next_attempt_at = now() WHERE done_at IS NULL');
    const open = () => t.db.rows('SELECT kind, last_error FROM outbox WHERE done_at IS NULL');
    await until(
      async () => (await open()).length === 0,
      async () => JSON.stringify(await open()),
    );
    expect(mail.mails.filter(({ to }) => [person.email, 'never@example.org'].includes(to))).toEqual([]);
  });

  it('is not signed in by requests that raced with the deletion', async () => {
    for (let round = 0; round < 4; round += 1) {
      const person = await signUp(t);
      await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
      const token = tokenIn(await mail.next(person.email, /Reset/));
      const attempts = [
        t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }),
        t.http.post('/v1/auth/reset-password').send({ token, newPassword: 'an even better horse' }),
        t.http.post('/v1/auth/change-password').set(person.auth).send({ currentPassword: PASSWORD, newPassword: 'a third horse' }),
      ];
      const [deleted, ...answers] = await Promise.all([t.http.delete('/v1/users/me').set(person.auth), ...attempts]);
      for (const { status } of [deleted, ...answers]) expect(status).toBeLessThan(500);
      // A reset or a change that came first ended the session of the deletion request.
      if (deleted.status !== 204) continue;
      for (const { body } of answers) if (typeof body.token === 'string') await me({ authorization: `Bearer ${body.token}` }).expect(401);
      for (const password of [PASSWORD, 'an even better horse', 'a third horse'])
        await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password }).expect(401);
      expect(await t.db.rows('SELECT id FROM accounts WHERE user_id = $1', [person.id])).toEqual([]);
    }
  });

  it('does not wait for a link that was mailed and is being used while the deletion runs', async () => {
    const person = await signUp(t);
    await mail.next(person.email, /Confirm/);
    await t.db.rows('DELETE FROM verifications WHERE user_id = $1', [person.id]);
    await whileLocked(t.db, ['SELECT id FROM sessions WHERE user_id = $1 FOR UPDATE', person.id], async (releaseSession) => {
      const deletion = deleteAccount(person);
      await untilLocked(t.db);
      await t.http.post('/v1/auth/request-password-reset').send({ email: person.email }).expect(200);
      await mail.next(person.email, /Reset/);
      await whileLocked(t.db, ['SELECT id FROM verifications WHERE user_id = $1 FOR UPDATE', person.id], async () => {
        await releaseSession();
        expect(await deletion).toBe(204);
      });
    });
  });

  it('has no deadlock with a sign-in that has read the password', async () => {
    const person = await signUp(t);
    await whileLocked(t.db, ['SELECT id FROM users WHERE id = $1 FOR KEY SHARE', person.id], async (release) => {
      const deletion = deleteAccount(person);
      await untilLocked(t.db);
      const signedIn = t.http
        .post('/v1/auth/sign-in/email')
        .send({ email: person.email, password: PASSWORD })
        .then(({ status }) => status);
      await untilLocked(t.db, 2);
      await release();
      expect(await Promise.all([deletion, signedIn])).toEqual([204, 401]);
    });
    expect(await t.db.rows('SELECT FROM pg_stat_database WHERE datname = current_database() AND deadlocks > 0')).toEqual([]);
  });

  it('is purged after the retention time, and the Clerk id is kept', async () => {
    const operator = await signUpOperator(t);
    const [old, young] = [await signUp(t), await signUp(t)];
    for (const { auth } of [old, young]) await t.http.delete('/v1/users/me').set(auth).expect(204);
    await t.db.rows(`UPDATE users SET deleted_at = now() - interval '31 days', clerk_user_id = 'user_purged' WHERE id = $1`, [old.id]);

    await t.http.post('/v1/jobs/purge_users/run').set(operator.auth).expect(202);
    const left = async () =>
      (await t.db.rows<{ id: string }>('SELECT id FROM users WHERE id = ANY($1::uuid[])', [[old.id, young.id]])).map(({ id }) => id);
    await until(async () => (await left()).length === 1);
    expect(await left()).toEqual([young.id]);
    expect(await t.db.rows(`SELECT kind FROM purged_ids WHERE provider = 'clerk' AND external_id = 'user_purged'`)).toEqual([
      { kind: 'user' },
    ]);

    const key = await makeClerkKey('key-1');
    const clerk = await startTestApp({ CLERK_ISSUER, CLERK_JWT_KEY: key.pem, CLERK_AUTHORIZED_PARTIES: 'https://app.example.com' }, t.db);
    try {
      const token = await clerkToken(key, { sub: 'user_purged' });
      await clerk.http.get('/v1/users/me').set('authorization', `Bearer ${token}`).expect(401);
      expect(await clerk.app.get(UsersService, { strict: false }).find(old.id)).toBeUndefined();
    } finally {
      await clerk.close();
    }
  });
});
