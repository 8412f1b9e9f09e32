import { SignJWT } from 'jose';
import { startTestApp, testEnvironment, type TestApp } from '../support/app.js';
import { whileLocked } from '../support/database.js';
import { dumpOf } from '../support/dump.js';
import { linkIn, type ReceivedMail, startMailServer } from '../support/mails.js';
import { PASSWORD, signIn, signUp } from '../support/people.js';
import { until, untilLocked } from '../support/until.js';

const TRUSTED = 'https://app.example.com';
const NEW_PASSWORD = 'an even better horse';
const VERIFY = /Confirm your email/;
const RESET = /Reset your password/;
const CHANGE = /Confirm your new email/;
const CHANGED = /was changed/;

type Answer = { status: number; body: { code?: string; token?: string } };

let counter = 0;
const newEmail = () => `mail-${(counter += 1)}@example.org`;
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const tokenIn = (mail: ReceivedMail) => /^[\w-]{20,}$/m.exec(mail.text)![0];
const statuses = (answers: Answer[]) => answers.map(({ status }) => status).sort();

describe('authentication by mail', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    t = await startTestApp({ SMTP_URL: mail.url, TRUSTED_ORIGINS: TRUSTED });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  const me = (headers: Record<string, string>) => t.http.get('/v1/users/me').set(headers);
  const open = (link: URL, headers: Record<string, string> = {}) => t.http.get(`${link.pathname}${link.search}`).set(headers);
  const liveSessions = (userId: string) => t.db.rows('SELECT id FROM sessions WHERE user_id = $1', [userId]);
  const outboxIsEmpty = () =>
    until(
      async () => (await t.db.rows('SELECT id FROM outbox WHERE done_at IS NULL')).length === 0,
      () => 'the outbox is not empty',
    );
  const requestReset = (email: string, redirectTo?: string) =>
    t.http.post('/v1/auth/request-password-reset').send({ email, ...(redirectTo && { redirectTo }) });
  const resetTokenOf = async (email: string) => {
    await requestReset(email).expect(200);
    return tokenIn(await mail.next(email, RESET));
  };
  const reset = (token: string, newPassword = NEW_PASSWORD) => t.http.post('/v1/auth/reset-password').send({ token, newPassword });
  const provenPerson = async () => {
    const person = await signUp(t);
    await open(linkIn(await mail.next(person.email, VERIFY)), person.auth).expect(200);
    return person;
  };
  const linkGithub = (userId: string) =>
    t.db.rows(
      `INSERT INTO accounts (id, user_id, provider, provider_account_id) VALUES (gen_random_uuid(), $1::uuid, 'github', ($1::uuid)::text)`,
      [userId],
    );
  const providersOf = async (userId: string) =>
    (await t.db.rows<{ provider: string }>('SELECT provider FROM accounts WHERE user_id = $1 ORDER BY provider', [userId])).map(
      (row) => row.provider,
    );

  describe('verification', () => {
    it('is requested at sign-up, by a link that verifies the address', async () => {
      const person = await signUp(t);
      const link = linkIn(await mail.next(person.email, VERIFY));
      expect(link.origin).toBe('http://localhost:3000');
      const { body } = await open(link, person.auth).expect(200);
      expect(body.status).toBe(true);
      expect((await me(person.auth).expect(200)).body.emailVerified).toBe(true);
      const [row] = await t.db.rows<{ email_verified_at: Date }>('SELECT email_verified_at FROM users WHERE id = $1', [person.id]);
      expect(row!.email_verified_at).toBeInstanceOf(Date);
      await open(link, person.auth).expect(200);
    });

    it('redirects to the page that sign-up named', async () => {
      const email = newEmail();
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .send({ name: 'V', email, password: PASSWORD, callbackURL: `${TRUSTED}/welcome?from=mail` })
        .expect(200);
      const answer = await open(linkIn(await mail.next(email, VERIFY)), bearer(body.token)).expect(302);
      expect(answer.headers['location']).toBe(`${TRUSTED}/welcome?from=mail`);
      expect(answer.headers['set-cookie']).toBeUndefined();
    });

    it('is sent again on request, with a page of the caller', async () => {
      const person = await signUp(t);
      await mail.next(person.email, VERIFY);
      await t.http
        .post('/v1/auth/send-verification-email')
        .set(person.auth)
        .send({ email: person.email.toUpperCase(), callbackURL: '/done' })
        .expect(200, { status: true });
      const answer = await open(linkIn(await mail.next(person.email, VERIFY)), person.auth).expect(302);
      expect(answer.headers['location']).toBe('http://localhost:3000/done');
      expect((await me(person.auth)).body.emailVerified).toBe(true);
    });

    it('is not sent for verified or unknown addresses, with the same response', async () => {
      const person = await provenPerson();
      const unknownEmail = newEmail();
      for (const email of [person.email, unknownEmail])
        await t.http.post('/v1/auth/send-verification-email').send({ email }).expect(200, { status: true });
      await outboxIsEmpty();
      expect(mail.mails.filter(({ to }) => [person.email, unknownEmail].includes(to))).toEqual([]);
    });

    it('rejects a link that was changed, has expired, or is for another user with the address', async () => {
      const person = await signUp(t);
      const link = linkIn(await mail.next(person.email, VERIFY));
      const token = link.searchParams.get('token')!;
      const secret = new TextEncoder().encode(testEnvironment('postgres://none/none')['AUTH_SECRET']);
      const forge = (claims: Record<string, unknown>, key: Uint8Array, expiry: string) =>
        new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setIssuedAt().setExpirationTime(expiry).sign(key);
      const bad = [
        `${token.slice(0, -4)}AAAA`,
        await forge({ email: person.email, userId: person.id }, secret, '-1s'),
        await forge({ email: person.email, userId: person.id }, new TextEncoder().encode('x'.repeat(40)), '1h'),
        await forge({ email: person.email, userId: '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182' }, secret, '1h'),
      ];
      for (const one of bad) {
        const { body } = await t.http.get(`/v1/auth/verify-email?token=${one}`).expect(400);
        expect(body.code).toBe('invalid_token');
        const { headers } = await t.http.get(`/v1/auth/verify-email?token=${one}&callbackURL=${TRUSTED}/x`).expect(302);
        expect(headers['location']).toMatch(/^https:\/\/app\.example\.com\/x\?error=/);
      }
      expect((await me(person.auth)).body.emailVerified).toBe(false);
    });
  });

  describe('reset', () => {
    it('sets a new password with the token of the mail, and ends every session', async () => {
      const person = await provenPerson();
      const other = await signIn(t, person);
      await reset(await resetTokenOf(person.email)).expect(200, { status: true });
      for (const { auth, cookie } of [person, other]) {
        await me(auth).expect(401);
        await me({ cookie }).expect(401);
      }
      await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(401);
      await signIn(t, person, NEW_PASSWORD);
    });

    it('redirects to the caller’s page with the token', async () => {
      const person = await signUp(t);
      await requestReset(person.email, `${TRUSTED}/choose?lang=de`).expect(200, { status: true });
      const received = await mail.next(person.email, RESET);
      const { headers } = await open(linkIn(received)).expect(302);
      const target = new URL(headers['location']!);
      expect(`${target.origin}${target.pathname}`).toBe(`${TRUSTED}/choose`);
      expect(target.searchParams.get('lang')).toBe('de');
      await reset(target.searchParams.get('token')!).expect(200);
      const spent = await open(linkIn(received)).expect(302);
      expect(spent.headers['location']).toContain('error=INVALID_TOKEN');
    });

    it('refuses an untrusted page before it sends a mail', async () => {
      const person = await signUp(t);
      const { body } = await requestReset(person.email, 'https://evil.example/choose').expect(403);
      expect(body.code).toBe('untrusted_redirect');
      await outboxIsEmpty();
      expect(mail.mails.filter(({ to, subject }) => to === person.email && RESET.test(subject))).toEqual([]);
    });

    it('returns the same response for an unknown address, and sends nothing', async () => {
      const person = await signUp(t);
      const known = await requestReset(person.email).expect(200);
      const unknownEmail = newEmail();
      const unknown = await requestReset(unknownEmail).expect(200);
      expect(unknown.text).toBe(known.text);
      await mail.next(person.email, RESET);
      await outboxIsEmpty();
      expect(mail.mails.filter(({ to }) => to === unknownEmail)).toEqual([]);
    });

    it('accepts its token once, also in twenty concurrent requests', async () => {
      const person = await signUp(t);
      const token = await resetTokenOf(person.email);
      const answers: Answer[] = await Promise.all(Array.from({ length: 20 }, (_, index) => reset(token, `password number ${index}`)));
      expect(statuses(answers)).toEqual([200, ...Array.from({ length: 19 }, () => 400)]);
      for (const { status, body } of answers) if (status === 400) expect(body.code).toBe('invalid_token');
      await signIn(t, person, `password number ${answers.findIndex(({ status }) => status === 200)}`);
      expect((await reset(token).expect(400)).body.code).toBe('invalid_token');
    });

    it('accepts one of three links in concurrent requests, also for a user without a password', async () => {
      const person = await provenPerson();
      await t.db.rows(
        `UPDATE accounts SET provider = 'google', provider_account_id = 'g-' || user_id, password = NULL WHERE user_id = $1`,
        [person.id],
      );
      const tokens = [await resetTokenOf(person.email), await resetTokenOf(person.email), await resetTokenOf(person.email)];
      const answers: Answer[] = await Promise.all(tokens.map((token) => reset(token)));
      expect(statuses(answers)).toEqual([200, 400, 400]);
      for (const { status, body } of answers) if (status === 400) expect(body.code).toBe('invalid_token');
      await signIn(t, person, NEW_PASSWORD);
      expect(await providersOf(person.id)).toEqual(['credential', 'google']);
    });

    it('rejects an expired token and an unknown one', async () => {
      const person = await signUp(t);
      const token = await resetTokenOf(person.email);
      await t.db.rows(`UPDATE verifications SET expires_at = now() - interval '1 second' WHERE value = $1`, [person.id]);
      expect((await reset(token).expect(400)).body.code).toBe('invalid_token');
      expect((await reset('x'.repeat(24)).expect(400)).body.code).toBe('invalid_token');
      await signIn(t, person);
    });

    it('is valid for an hour', async () => {
      const person = await signUp(t);
      await resetTokenOf(person.email);
      const [row] = await t.db.rows<{ seconds: number }>(
        `SELECT extract(epoch FROM expires_at - created_at)::float8 AS seconds FROM verifications WHERE value = $1`,
        [person.id],
      );
      expect(Math.round(row!.seconds)).toBe(3600);
    });

    it('leaves no session that was opened with the old password meanwhile', async () => {
      const person = await signUp(t);
      let password = PASSWORD;
      let refused = 0;
      for (let round = 0; round < 7; round += 1) {
        const token = await resetTokenOf(person.email);
        const next = `password of round ${round}`;
        // Passwords are hashed two at a time, so the reset has another place in the queue in each round.
        const attempts: Promise<Answer>[] = [];
        let done: Promise<Answer> | undefined;
        for (let place = 0; place < 7; place += 1) {
          if (place === round % 7) done = Promise.resolve(reset(token, next));
          else attempts.push(Promise.resolve(t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password })));
        }
        expect((await done!).status).toBe(200);
        for (const { status, body } of await Promise.all(attempts)) {
          expect([200, 401]).toContain(status);
          if (status === 200) await me(bearer(body.token!)).expect(401);
          else refused += 1;
        }
        expect(await liveSessions(person.id)).toEqual([]);
        password = next;
      }
      expect(refused).toBeGreaterThan(0);
    });

    it('and a concurrent change of password exclude each other', async () => {
      const person = await signUp(t);
      let password = PASSWORD;
      for (let round = 0; round < 6; round += 1) {
        const intruder = await signIn(t, person, password);
        const token = await resetTokenOf(person.email);
        const next = `password of round ${round}`;
        const change = () =>
          t.http.post('/v1/auth/change-password').set(intruder.auth).send({ currentPassword: password, newPassword: 'of the intruder' });
        const [first, second] = round % 2 === 0 ? [change(), reset(token, next)] : [reset(token, next), change()];
        const answers: Answer[] = await Promise.all([first, second]);
        const [changed, done] = round % 2 === 0 ? answers : answers.toReversed();
        expect([changed!.status, done!.status].filter((status) => status === 200)).toEqual([200]);
        if (changed!.status === 200) {
          // The change invalidated the older link. A new link ends the intruder's session.
          expect(done!.body.code).toBe('invalid_token');
          await reset(await resetTokenOf(person.email), next).expect(200);
          await me(bearer(changed!.body.token!)).expect(401);
        }
        expect(await liveSessions(person.id)).toEqual([]);
        await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: 'of the intruder' }).expect(401);
        password = next;
      }
      await signIn(t, person, password);
    });

    it('ends the access of a user who signed up with the address and never verified it', async () => {
      const squatter = await signUp(t);
      await linkGithub(squatter.id);
      const trap = newEmail();
      await t.http.post('/v1/auth/change-email').set(squatter.auth).send({ newEmail: trap, currentPassword: PASSWORD }).expect(200);
      const trapLink = linkIn(await mail.next(trap, CHANGE));

      await reset(await resetTokenOf(squatter.email)).expect(200);
      await me(squatter.auth).expect(401);
      expect(await providersOf(squatter.id)).toEqual(['credential']);
      expect((await open(trapLink, squatter.auth).expect(400)).body.code).toBe('invalid_token');
      const owner = await signIn(t, squatter, NEW_PASSWORD);
      const { body } = await me(owner.auth).expect(200);
      expect(body).toMatchObject({ email: squatter.email, emailVerified: true });
    });

    it('keeps the linked accounts of a user who had verified the address', async () => {
      const person = await provenPerson();
      await linkGithub(person.id);
      await reset(await resetTokenOf(person.email)).expect(200);
      expect(await providersOf(person.id)).toEqual(['credential', 'github']);
    });

    it('does not unlock a suspended user', async () => {
      const person = await signUp(t);
      await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [person.id]);
      await reset(await resetTokenOf(person.email)).expect(200);
      const { body } = await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: NEW_PASSWORD }).expect(403);
      expect(body.code).toBe('user_suspended');
    });

    it('is not available to a Clerk user', async () => {
      const email = newEmail();
      await t.db.rows(
        `INSERT INTO users (id, clerk_user_id, email, email_verified, name) VALUES (gen_random_uuid(), 'user_reset', $1, true, 'C')`,
        [email],
      );
      await requestReset(email).expect(200, { status: true });
      await outboxIsEmpty();
      expect(mail.mails.filter(({ to }) => to === email)).toEqual([]);
    });
  });

  describe('change of email', () => {
    const change = (headers: Record<string, string>, body: Record<string, unknown>) =>
      t.http
        .post('/v1/auth/change-email')
        .set(headers)
        .send({ currentPassword: PASSWORD, ...body });

    it('takes effect when the link to the new address is followed, and the old address gets a mail', async () => {
      const person = await provenPerson();
      const other = await signIn(t, person);
      const email = newEmail();
      await change(person.auth, { newEmail: email.toUpperCase() }).expect(200, { status: true });
      const link = linkIn(await mail.next(email, CHANGE));
      expect((await me(person.auth)).body.email).toBe(person.email);

      await open(link, person.auth).expect(200, { status: true });
      expect((await me(person.auth).expect(200)).body).toMatchObject({ email, emailVerified: true });
      await me(other.auth).expect(401);
      expect((await mail.next(person.email, CHANGED)).text).not.toContain(email);
      await signIn(t, { ...person, email });
      await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(401);
      await signUp(t, { email: person.email });
    });

    it('redirects to the page that the request named', async () => {
      const person = await signUp(t);
      const email = newEmail();
      await change(person.auth, { newEmail: email, callbackURL: `${TRUSTED}/settings` }).expect(200);
      const { headers } = await open(linkIn(await mail.next(email, CHANGE)), person.auth).expect(302);
      expect(headers['location']).toBe(`${TRUSTED}/settings`);
    });

    it('requires the password of a user who has one', async () => {
      const person = await signUp(t);
      const email = newEmail();
      for (const currentPassword of ['wrong one', undefined, '']) {
        const { body } = await change(person.auth, { newEmail: email, currentPassword }).expect(400);
        expect(body.code).toBe('wrong_password');
      }
      await t.db.rows(`UPDATE accounts SET provider = 'google', password = NULL WHERE user_id = $1`, [person.id]);
      await change(person.auth, { newEmail: email, currentPassword: undefined }).expect(200);
      await mail.next(email, CHANGE);
    });

    it('requires a session, by cookie from trusted origins only', async () => {
      const person = await signUp(t);
      await change({}, { newEmail: newEmail() }).expect(401);
      expect((await change({ cookie: person.cookie }, { newEmail: newEmail() }).expect(403)).body.code).toBe('untrusted_origin');
      await change({ cookie: person.cookie, origin: TRUSTED }, { newEmail: newEmail() }).expect(200);
    });

    it('returns the same response for a taken address, and sends nothing there', async () => {
      const [person, holder] = [await signUp(t), await provenPerson()];
      const free = await change(person.auth, { newEmail: newEmail() }).expect(200);
      const taken = await change(person.auth, { newEmail: holder.email }).expect(200);
      expect(taken.text).toBe(free.text);
      await outboxIsEmpty();
      expect(mail.mails.filter(({ to }) => to === holder.email)).toEqual([]);
    });

    it('is refused when another user verified the address after the link was sent', async () => {
      const person = await signUp(t);
      const email = newEmail();
      await change(person.auth, { newEmail: email }).expect(200);
      const link = linkIn(await mail.next(email, CHANGE));
      const holder = await signUp(t, { email });
      await open(linkIn(await mail.next(email, VERIFY)), holder.auth).expect(200);
      expect((await open(link, person.auth).expect(409)).body.code).toBe('email_taken');
      expect((await me(person.auth)).body.email).toBe(person.email);
      await me(holder.auth).expect(200);
    });

    it('takes over the address and all access of a user who never verified it', async () => {
      const [person, squatter] = [await provenPerson(), await signUp(t)];
      await linkGithub(squatter.id);
      const pending = await resetTokenOf(squatter.email);
      await change(person.auth, { newEmail: squatter.email }).expect(200);
      await open(linkIn(await mail.next(squatter.email, CHANGE)), person.auth).expect(200);

      await me(squatter.auth).expect(401);
      expect(await providersOf(squatter.id)).toEqual([]);
      expect((await reset(pending).expect(400)).body.code).toBe('invalid_token');
      const [row] = await t.db.rows<{ email: string | null }>('SELECT email FROM users WHERE id = $1', [squatter.id]);
      expect(row!.email).toBeNull();
      expect((await me(person.auth)).body.email).toBe(squatter.email);
    });

    it('has no deadlock with the deletion of the user who never verified it', async () => {
      const [person, squatter] = [await provenPerson(), await signUp(t)];
      await change(person.auth, { newEmail: squatter.email }).expect(200);
      const link = linkIn(await mail.next(squatter.email, CHANGE));
      await whileLocked(t.db, ['SELECT id FROM accounts WHERE user_id = $1 FOR UPDATE', squatter.id], async (release) => {
        const deletion = t.http
          .delete('/v1/users/me')
          .set(squatter.auth)
          .then(({ status }) => status);
        await untilLocked(t.db);
        const takeover = open(link, person.auth).then(({ status }) => status);
        await untilLocked(t.db, 2);
        await release();
        expect(await Promise.all([deletion, takeover])).toEqual([204, 200]);
      });
    });

    it('invalidates resets that were sent to the old address', async () => {
      const person = await provenPerson();
      const token = await resetTokenOf(person.email);
      const email = newEmail();
      await change(person.auth, { newEmail: email }).expect(200);
      await open(linkIn(await mail.next(email, CHANGE)), person.auth).expect(200);
      expect((await reset(token).expect(400)).body.code).toBe('invalid_token');
    });

    it('accepts its link once, also in twenty concurrent requests', async () => {
      const person = await signUp(t);
      const email = newEmail();
      await change(person.auth, { newEmail: email }).expect(200);
      const link = linkIn(await mail.next(email, CHANGE));
      const answers: Answer[] = await Promise.all(Array.from({ length: 20 }, () => open(link, person.auth)));
      expect(statuses(answers)).toEqual([200, ...Array.from({ length: 19 }, () => 400)]);
      for (const { status, body } of answers) if (status === 400) expect(body.code).toBe('invalid_token');
    });

    it('rejects an expired link', async () => {
      const person = await signUp(t);
      const email = newEmail();
      await change(person.auth, { newEmail: email }).expect(200);
      const link = linkIn(await mail.next(email, CHANGE));
      await t.db.rows(`UPDATE verifications SET expires_at = now() - interval '1 second' WHERE identifier LIKE 'change-email:%'`);
      expect((await open(link, person.auth).expect(400)).body.code).toBe('invalid_token');
    });

    it.each(['reset', 'change of password', 'end of its session', 'end of all other sessions', 'sign-out'])(
      'is invalidated by what ends an intruder’s session: %s',
      async (how) => {
        const person = await provenPerson();
        const intruder = await signIn(t, person);
        const email = newEmail();
        await change(intruder.auth, { newEmail: email }).expect(200);
        const link = linkIn(await mail.next(email, CHANGE));
        if (how === 'reset') await reset(await resetTokenOf(person.email)).expect(200);
        else if (how === 'sign-out') await t.http.post('/v1/auth/sign-out').set(intruder.auth).expect(200);
        else if (how === 'end of all other sessions') await t.http.delete('/v1/sessions').set(person.auth).expect(200);
        else if (how === 'end of its session') {
          const { body } = await t.http.get('/v1/sessions/current').set(intruder.auth).expect(200);
          await t.http.delete(`/v1/sessions/${body.id}`).set(person.auth).expect(204);
        } else
          await t.http
            .post('/v1/auth/change-password')
            .set(person.auth)
            .send({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD })
            .expect(200);
        for (const headers of [intruder.auth, person.auth, {}])
          expect((await open(link, headers).expect(400)).body.code).toBe('invalid_token');
        const [row] = await t.db.rows<{ email: string }>('SELECT email FROM users WHERE id = $1', [person.id]);
        expect(row!.email).toBe(person.email);
      },
    );

    it('ends in a consistent state when a reset and the link are used concurrently', async () => {
      const person = await provenPerson();
      let email = person.email;
      let password = PASSWORD;
      for (let round = 0; round < 4; round += 1) {
        const session = await signIn(t, { ...person, email }, password);
        const next = newEmail();
        await change(session.auth, { newEmail: next, currentPassword: password }).expect(200);
        const link = linkIn(await mail.next(next, CHANGE));
        const token = await resetTokenOf(email);
        const [moved, done]: Answer[] = await Promise.all([open(link, session.auth), reset(token, `password of round ${round}`)]);
        expect([200, 400]).toContain(moved!.status);
        expect([200, 400]).toContain(done!.status);
        // The second request found that the first one had invalidated it.
        expect([moved!.status, done!.status]).toContain(200);
        if (done!.status === 200) {
          password = `password of round ${round}`;
          expect(await liveSessions(person.id)).toEqual([]);
        }
        if (moved!.status === 200) email = next;
        await signIn(t, { ...person, email }, password);
      }
    });
  });

  it('writes no token of a mail into any table', async () => {
    const person = await provenPerson();
    const token = await resetTokenOf(person.email);
    await requestReset(person.email, `${TRUSTED}/choose`).expect(200);
    const link = linkIn(await mail.next(person.email, RESET));
    const email = newEmail();
    await t.http.post('/v1/auth/change-email').set(person.auth).send({ newEmail: email, currentPassword: PASSWORD }).expect(200);
    const change = linkIn(await mail.next(email, CHANGE)).searchParams.get('token')!;
    const dump = await dumpOf(t.db);
    expect(dump).toContain(person.id);
    for (const secret of [token, link.pathname.split('/').at(-1)!, change]) expect(dump).not.toContain(secret);
  });
});

describe('an unavailable mail server', () => {
  it('delays a mail and loses none', async () => {
    const before = await startMailServer();
    const port = Number(new URL(before.url).port);
    await before.close();
    const t = await startTestApp({ SMTP_URL: before.url });
    try {
      const person = await signUp(t);
      await until(async () => (await t.db.rows('SELECT id FROM outbox WHERE attempts > 0 AND last_error IS NOT NULL')).length === 1);
      expect(await dumpOf(t.db)).not.toMatch(/verify-email\?token/);
      const back = await startMailServer({ port });
      try {
        const received = await back.next(person.email, VERIFY);
        const link = linkIn(received);
        await t.http.get(`${link.pathname}${link.search}`).set(person.auth).expect(200, { status: true });
        await t.http
          .get('/v1/users/me')
          .set(person.auth)
          .expect(200, /"emailVerified":true/);
      } finally {
        await back.close();
      }
    } finally {
      await t.close();
    }
  });
});
