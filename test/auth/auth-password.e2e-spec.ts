import type { Response } from 'supertest';
import { Passwords } from '../../src/auth/passwords/passwords.service.js';
import { startTestApp, type TestApp } from '../support/app.js';
import { dumpOf } from '../support/dump.js';
import { PASSWORD, signIn, signUp } from '../support/people.js';
import { until } from '../support/until.js';

const ORIGIN = 'http://localhost:3000';
const TRUSTED = 'https://app.example.com';

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const cookieOf = (answer: Response) =>
  (answer.headers['set-cookie'] as unknown as string[]).find((line) => line.startsWith('better-auth.session_token='))!;
const withoutRequestId = (problem: object) => ({ ...problem, requestId: undefined });
const times = <T>(count: number, work: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => work(index)));

describe('signing in with a password', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ TRUSTED_ORIGINS: TRUSTED });
    t.app.get(Passwords, { strict: false }).cost = new Passwords().cost;
  });
  afterAll(() => t.close());

  const me = (headers: Record<string, string>) => t.http.get('/v1/users/me').set(headers);

  describe('sign-up', () => {
    it('creates a user with the address in lower case and unverified', async () => {
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .send({ name: '  Ada ', email: ' Ada.Lovelace@Example.COM ', password: PASSWORD })
        .expect(200);
      expect(body.user).toMatchObject({ name: 'Ada', email: 'ada.lovelace@example.com', emailVerified: false, image: null });
      expect(Object.keys(body.user).sort()).toEqual(['createdAt', 'email', 'emailVerified', 'id', 'image', 'name', 'updatedAt']);
    });

    it('signs in at once, with a token in the header and the body, and with a cookie', async () => {
      const answer = await t.http.post('/v1/auth/sign-up/email').send({ name: 'Bea', email: 'bea@example.com', password: PASSWORD });
      const header = answer.headers['set-auth-token']!;
      expect(answer.body.token).toBe(header);
      await me(bearer(header)).expect(200);
      await me(bearer(answer.body.token)).expect(200);
      await me({ cookie: cookieOf(answer).split(';', 1)[0]! }).expect(200);
    });

    it('protects the cookie from scripts and other sites', async () => {
      const answer = await t.http.post('/v1/auth/sign-up/email').send({ name: 'C', email: 'cookie@example.com', password: PASSWORD });
      expect(cookieOf(answer)).toMatch(/; Max-Age=604800/i);
      expect(cookieOf(answer)).toMatch(/; Path=\//i);
      expect(cookieOf(answer)).toMatch(/; HttpOnly/i);
      expect(cookieOf(answer)).toMatch(/; SameSite=Lax/i);
      expect(cookieOf(answer)).not.toMatch(/; Secure/i);
    });

    it('exposes our headers to browsers on trusted origins', async () => {
      const { headers } = await t.http
        .post('/v1/auth/sign-up/email')
        .set('origin', TRUSTED)
        .send({ name: 'Cors', email: 'cors@example.com', password: PASSWORD })
        .expect(200);
      expect(headers['access-control-expose-headers']).toMatch(/X-Request-Id.*Set-Auth-Token/i);
      expect(headers['x-request-id']).toBeDefined();
    });

    it('rejects a token without its signature', async () => {
      const person = await signUp(t);
      const bare = person.token.split('.')[0]!;
      await me(bearer(bare)).expect(401);
      await me({ cookie: `better-auth.session_token=${bare}` }).expect(401);
      await me(bearer(`${bare}.${Buffer.alloc(32).toString('base64')}`)).expect(401);
    });

    it('rejects an email that is taken, in any case', async () => {
      const person = await signUp(t);
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .send({ name: 'Other', email: person.email.toUpperCase(), password: PASSWORD })
        .expect(409);
      expect(body.code).toBe('email_taken');
    });

    it('creates one user for twenty concurrent sign-ups with one email', async () => {
      const answers = await times(20, (index) =>
        t.http.post('/v1/auth/sign-up/email').send({ name: `Racer ${index}`, email: 'racer@example.com', password: PASSWORD }),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array.from({ length: 19 }, () => 409)]);
      expect(new Set(answers.filter(({ status }) => status === 409).map(({ body }) => body.code))).toEqual(new Set(['email_taken']));
      const rows = await t.db.rows(
        `SELECT u.id FROM users u JOIN accounts a ON a.user_id = u.id JOIN sessions s ON s.user_id = u.id WHERE u.email = 'racer@example.com'`,
      );
      expect(rows).toHaveLength(1);
    });

    it('names every invalid field', async () => {
      const { body } = await t.http.post('/v1/auth/sign-up/email').send({ email: 'no address', password: 'short' }).expect(400);
      expect(body.code).toBe('invalid_request');
      expect(new Set(body.errors.map(({ path }: { path: string }) => path))).toEqual(new Set(['body.name', 'body.email', 'body.password']));
    });

    it.each(['ünï@example.com', 'ada@bücher.de', 'a!b@example.com', '"ada lovelace"@example.com'])(
      'names the email when a mail cannot be delivered to it: %s',
      async (email) => {
        for (const [path, body] of [
          ['sign-up/email', { name: 'N', email, password: PASSWORD }],
          ['sign-in/email', { email, password: PASSWORD }],
          ['request-password-reset', { email }],
          ['send-verification-email', { email }],
        ] as const) {
          const answer = await t.http.post(`/v1/auth/${path}`).send(body).expect(400);
          expect(answer.body.errors.map((error: { path: string }) => error.path)).toContain('body.email');
        }
      },
    );

    it.each([
      ['operator', true],
      ['emailVerified', true],
      ['id', '01980a3e-7c1d-7f6a-b1c2-3d4e5f607182'],
      ['suspendedAt', null],
    ])('rejects the field %s, which callers must not set', async (field, value) => {
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .send({ name: 'E', email: 'evil@example.com', password: PASSWORD, [field]: value })
        .expect(400);
      expect(body.errors).toEqual([expect.objectContaining({ path: `body.${field}` })]);
    });

    it('stores passwords as argon2id with the parameters that OWASP recommends', async () => {
      const person = await signUp(t);
      const [account] = await t.db.rows<{ password: string }>('SELECT password FROM accounts WHERE user_id = $1', [person.id]);
      expect(account!.password).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$[\w+/]{22}\$[\w+/]{43}$/);
    });
  });

  describe('sign-in', () => {
    it('opens another session', async () => {
      const person = await signUp(t);
      const again = await signIn(t, { ...person, email: person.email.toUpperCase() });
      expect(again.id).toBe(person.id);
      expect(again.token).not.toBe(person.token);
      await me(again.auth).expect(200);
      await me(person.auth).expect(200);
    });

    it('accepts a password in any Unicode composition', async () => {
      const person = await signUp(t, { password: 'crème brûlée'.normalize('NFD') });
      await signIn(t, person, 'crème brûlée'.normalize('NFC'));
    });

    it('responds to an unknown email like to a wrong password, with the same amount of hashing', async () => {
      const person = await signUp(t);
      const work = countHashes(t);
      const attempt = (email: string) => t.http.post('/v1/auth/sign-in/email').send({ email, password: 'not the password' }).expect(401);
      const wrong = await attempt(person.email);
      const spentOnWrong = work();
      const unknown = await attempt('nobody@example.com');
      const spentOnUnknown = work() - spentOnWrong;

      expect(unknown.body.code).toBe('wrong_credentials');
      expect(JSON.stringify(withoutRequestId(unknown.body))).toBe(JSON.stringify(withoutRequestId(wrong.body)));
      expect(Object.keys(unknown.headers).sort()).toEqual(Object.keys(wrong.headers).sort());
      expect([spentOnWrong, spentOnUnknown]).toEqual([1, 1]);
    });

    it('responds to a user without a password in the same way, with the same amount of hashing', async () => {
      const person = await signUp(t);
      await t.db.rows(`UPDATE accounts SET provider = 'google', password = NULL WHERE user_id = $1`, [person.id]);
      const work = countHashes(t);
      const { body } = await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(401);
      expect(body.code).toBe('wrong_credentials');
      expect(work()).toBe(1);
    });

    it('sets a session cookie, and does not extend the session, without rememberMe', async () => {
      const person = await signUp(t);
      const answer = await t.http
        .post('/v1/auth/sign-in/email')
        .send({ email: person.email, password: PASSWORD, rememberMe: false })
        .expect(200);
      expect(cookieOf(answer)).not.toMatch(/max-age|expires/i);

      await t.db.rows(
        `UPDATE sessions SET last_used_at = now() - interval '1 hour', expires_at = expires_at - interval '1 hour' WHERE user_id = $1`,
        [person.id],
      );
      const before = await expiries(person.id);
      await me(bearer(answer.body.token)).expect(200);
      const renewed = await me({ cookie: cookieOf(answer).split(';', 1)[0]! }).expect(200);
      expect(renewed.headers['set-cookie']).toBeUndefined();
      await me(person.auth).expect(200);
      const after = await until(async () => {
        const now = await expiries(person.id);
        return now.remembered!.getTime() > before.remembered!.getTime() && now;
      });
      expect(after.forgotten).toEqual(before.forgotten);
    });

    const expiries = async (userId: string) => {
      const rows = await t.db.rows<{ sliding: boolean; expires_at: Date }>('SELECT sliding, expires_at FROM sessions WHERE user_id = $1', [
        userId,
      ]);
      return {
        remembered: rows.find(({ sliding }) => sliding)?.expires_at,
        forgotten: rows.find(({ sliding }) => !sliding)?.expires_at,
      };
    };

    it('rejects a suspended user with the right password, and reveals nothing without it', async () => {
      const person = await signUp(t);
      await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [person.id]);
      const right = await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(403);
      expect(right.body.code).toBe('user_suspended');
      const wrong = await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: 'wrong' }).expect(401);
      expect(wrong.body.code).toBe('wrong_credentials');
      expect(right.headers['set-cookie']).toBeUndefined();
    });

    it('redirects the browser to trusted origins only', async () => {
      const person = await signUp(t);
      const trying = (callbackURL: string) =>
        t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD, callbackURL });
      const ok = await trying(`${TRUSTED}/home`).expect(200);
      expect(ok.body).toMatchObject({ redirect: true, url: `${TRUSTED}/home` });
      for (const target of [
        'https://evil.example',
        '//evil.example',
        '/\\evil.example',
        'javascript:alert(1)',
        `${TRUSTED}.evil.example/`,
      ]) {
        const { body } = await trying(target).expect(403);
        expect(body.code).toBe('untrusted_redirect');
      }
    });

    it('returns a normalized URL, because clients may interpret a backslash differently', async () => {
      const { email } = await signUp(t);
      const { body, headers } = await t.http
        .post('/v1/auth/sign-in/email')
        .send({ email, password: PASSWORD, callbackURL: `${TRUSTED}\\@evil.example` })
        .expect(200);
      expect(body.url).toBe(`${TRUSTED}/@evil.example`);
      expect(headers['location'] ?? body.url).toBe(`${TRUSTED}/@evil.example`);
    });

    it('rejects a request from another origin that carries the cookie', async () => {
      const person = await signUp(t);
      const trying = (origin?: string) =>
        t.http
          .post('/v1/auth/sign-in/email')
          .set({ cookie: person.cookie, ...(origin && { origin }) })
          .send({ email: person.email, password: PASSWORD });
      expect((await trying('https://evil.example').expect(403)).body.code).toBe('untrusted_origin');
      expect((await trying().expect(403)).body.code).toBe('untrusted_origin');
      await trying(TRUSTED).expect(200);
    });
  });

  describe('sign-out', () => {
    it('ends the session of the bearer token', async () => {
      const person = await signUp(t);
      const other = await signIn(t, person);
      const { body } = await t.http.post('/v1/auth/sign-out').set(person.auth).expect(200);
      expect(body.success).toBe(true);
      await me(person.auth).expect(401);
      await me(other.auth).expect(200);
    });

    it('ends the session of the cookie, and removes the cookie', async () => {
      const person = await signUp(t);
      const answer = await t.http.post('/v1/auth/sign-out').set({ cookie: person.cookie, origin: ORIGIN }).expect(200);
      expect(cookieOf(answer)).toMatch(/=; Max-Age=0/i);
      await me({ cookie: person.cookie }).expect(401);
      await me(person.auth).expect(401);
    });

    it('rejects a sign-out from another origin', async () => {
      const person = await signUp(t);
      const { body } = await t.http.post('/v1/auth/sign-out').set({ cookie: person.cookie, origin: 'https://evil.example' }).expect(403);
      expect(body.code).toBe('untrusted_origin');
      await me(person.auth).expect(200);
    });

    it('does not use the cookie when the header is invalid', async () => {
      const person = await signUp(t);
      await t.http
        .post('/v1/auth/sign-out')
        .set({ cookie: person.cookie, origin: ORIGIN, ...bearer('wrong.token') })
        .expect(200);
      await me(person.auth).expect(200);
    });

    it('succeeds with an expired token, and without any', async () => {
      const person = await signUp(t);
      await t.http.post('/v1/auth/sign-out').set(person.auth).expect(200);
      await t.http.post('/v1/auth/sign-out').set(person.auth).expect(200);
      await t.http.post('/v1/auth/sign-out').expect(200);
    });
  });

  describe('change of password', () => {
    const change = (headers: Record<string, string>, body: Record<string, unknown>) =>
      t.http.post('/v1/auth/change-password').set(headers).send(body);

    it('ends all sessions and opens a new one', async () => {
      const person = await signUp(t);
      const other = await signIn(t, person);
      const answer = await change(person.auth, { currentPassword: PASSWORD, newPassword: 'an even better horse' }).expect(200);
      expect(answer.body.token).toBe(answer.headers['set-auth-token']);
      expect(answer.body.user.id).toBe(person.id);
      await me(person.auth).expect(401);
      await me(other.auth).expect(401);
      await me(bearer(answer.body.token)).expect(200);
      await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(401);
      await signIn(t, person, 'an even better horse');
    });

    it('works by cookie from a trusted origin only', async () => {
      const person = await signUp(t);
      const body = { currentPassword: PASSWORD, newPassword: 'an even better horse' };
      expect((await change({ cookie: person.cookie }, body).expect(403)).body.code).toBe('untrusted_origin');
      expect((await change({ cookie: person.cookie, origin: 'https://evil.example' }, body).expect(403)).body.code).toBe(
        'untrusted_origin',
      );
      await change({ cookie: person.cookie, origin: TRUSTED }, body).expect(200);
    });

    it('acts for the user of the header when the cookie belongs to another user', async () => {
      const [ada, bob] = [await signUp(t), await signUp(t)];
      const { body } = await change(
        { ...ada.auth, cookie: bob.cookie, origin: ORIGIN },
        { currentPassword: PASSWORD, newPassword: 'an even better horse' },
      ).expect(200);
      expect(body.user.id).toBe(ada.id);
      await me(bob.auth).expect(200);
      await me(ada.auth).expect(401);
    });

    it('requires the current password', async () => {
      const person = await signUp(t);
      const { body } = await change(person.auth, { currentPassword: 'wrong one', newPassword: 'an even better horse' }).expect(400);
      expect(body.code).toBe('wrong_password');
      await me(person.auth).expect(200);
    });

    it('requires a new password that is long enough', async () => {
      const person = await signUp(t);
      const { body } = await change(person.auth, { currentPassword: PASSWORD, newPassword: 'short' }).expect(400);
      expect(body.errors).toEqual([expect.objectContaining({ path: 'body.newPassword' })]);
    });

    it('requires a session', async () => {
      const { body } = await change({}, { currentPassword: PASSWORD, newPassword: 'an even better horse' }).expect(401);
      expect(body.code).toBe('signed_out');
    });

    it('refers a user without a password to the reset by mail', async () => {
      const person = await signUp(t);
      await t.db.rows(`UPDATE accounts SET provider = 'google', password = NULL WHERE user_id = $1`, [person.id]);
      const { body } = await change(person.auth, { currentPassword: PASSWORD, newPassword: 'an even better horse' }).expect(400);
      expect(body.code).toBe('no_password');
    });

    it('succeeds for one of several concurrent changes, and only its session stays', async () => {
      const person = await signUp(t);
      const sessions = await Promise.all(Array.from({ length: 5 }, () => signIn(t, person)));
      const answers = await Promise.all(
        sessions.map(({ auth }, index) => change(auth, { currentPassword: PASSWORD, newPassword: `new password ${index}` })),
      );
      const won = answers.flatMap((answer, index) => (answer.status === 200 ? [{ answer, index }] : []));
      expect(won).toHaveLength(1);
      for (const { status } of answers) expect([200, 400, 401]).toContain(status);
      await signIn(t, person, `new password ${won[0]!.index}`);
      await me(bearer(won[0]!.answer.body.token)).expect(200);
      for (const { auth } of sessions) await me(auth).expect(401);
    });

    it('leaves no session that was opened with the old password meanwhile', async () => {
      const person = await signUp(t);
      let current = person;
      let password = PASSWORD;
      for (let round = 0; round < 10; round += 1) {
        const next = `password of round ${round}`;
        const attempts = times(4, () => t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password }));
        const changed = await change(current.auth, { currentPassword: password, newPassword: next });
        expect(changed.status).toBe(200);
        for (const answer of await attempts) {
          expect([200, 401]).toContain(answer.status);
          if (answer.status === 200) await me(bearer(answer.body.token)).expect(401);
        }
        const live = await t.db.rows('SELECT id FROM sessions WHERE user_id = $1', [person.id]);
        expect(live).toHaveLength(1);
        current = { ...person, token: changed.body.token, auth: bearer(changed.body.token) };
        password = next;
      }
    });
  });

  it('writes no token and no password into any table', async () => {
    const person = await signUp(t, { password: 'a password to look for' });
    const again = await signIn(t, person, 'a password to look for');
    const changed = await t.http
      .post('/v1/auth/change-password')
      .set(again.auth)
      .send({ currentPassword: 'a password to look for', newPassword: 'another one to look for' })
      .expect(200);
    const dump = await dumpOf(t.db);
    expect(dump).toContain(person.email);
    for (const token of [person.token, again.token, changed.body.token as string]) {
      expect(dump).not.toContain(token.split('.')[0]);
      expect(dump).not.toContain(token.split('.')[1]);
    }
    for (const password of ['a password to look for', 'another one to look for', PASSWORD]) expect(dump).not.toContain(password);
  });
});

describe('configured session cookies and lifetimes', () => {
  it('end a session without rememberMe at the absolute limit too', async () => {
    const t = await startTestApp({ SESSION_IDLE_SECONDS: '600', SESSION_ABSOLUTE_SECONDS: '3600' });
    try {
      const { body } = await t.http
        .post('/v1/auth/sign-up/email')
        .send({ name: 'S', email: 'short@example.com', password: PASSWORD, rememberMe: false })
        .expect(200);
      const { body: session } = await t.http.get('/v1/sessions/current').set(bearer(body.token)).expect(200);
      expect(Date.parse(session.expiresAt) - Date.parse(session.createdAt)).toBeLessThanOrEqual(3_600_000);
    } finally {
      await t.close();
    }
  });

  it('mark the cookie as secure when the public URL is https', async () => {
    const t = await startTestApp({ PUBLIC_URL: 'https://api.example.com' });
    try {
      const answer = await t.http
        .post('/v1/auth/sign-up/email')
        .send({ name: 'S', email: 'secure@example.com', password: PASSWORD })
        .expect(200);
      const [line] = answer.headers['set-cookie'] as unknown as string[];
      expect(line).toMatch(/^__Host-better-auth\.session_token=/);
      expect(line).toMatch(/; Secure/i);
      await t.http.get('/v1/users/me').set('cookie', line!.split(';', 1)[0]!).expect(200);
    } finally {
      await t.close();
    }
  });
});

/** Counts the password hashes that the application computes from now on. */
function countHashes(t: TestApp): () => number {
  const passwords = t.app.get(Passwords, { strict: false });
  let count = 0;
  for (const name of ['hash', 'verify'] as const) {
    const original = passwords[name].bind(passwords) as (...given: string[]) => Promise<never>;
    passwords[name] = (...given: string[]) => {
      count += 1;
      return original(...given);
    };
  }
  return () => count;
}
