import { SignJWT } from 'jose';
import { startTestApp, testEnvironment, type TestApp } from '../support/app.js';
import { linkIn, startMailServer } from '../support/mails.js';
import { PASSWORD, signIn, type SignedInPerson, signUp } from '../support/people.js';
import { until } from '../support/until.js';

const TRUSTED = 'https://app.example.com';
const VERIFY = /Confirm your email/;
const CHANGE = /Confirm your new email/;
const BROWSER = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
/** The headers of a browser that submits the form of our page, which sends no referrer. */
const FROM_OUR_PAGE = { ...BROWSER, origin: 'null', 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' };

let counter = 0;
const newEmail = () => `link-${(counter += 1)}@example.org`;

describe('a link in a mail', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    t = await startTestApp({ SMTP_URL: mail.url, TRUSTED_ORIGINS: TRUSTED, RATE_LIMIT_SIGN_IN: '10/3600' });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  const userOf = async (id: string) => {
    const [row] = await t.db.rows<{ email: string | null; email_verified: boolean; deleted: boolean }>(
      'SELECT email, email_verified, deleted_at IS NOT NULL AS deleted FROM users WHERE id = $1',
      [id],
    );
    return row!;
  };
  const actionsOf = async (id: string, action: string) =>
    t.db.rows('SELECT actor_kind, ip_address FROM audit_log WHERE target_id = $1 AND action = $2', [id, action]);
  const verificationOf = async ({ email }: { email: string }) => linkIn(await mail.next(email, VERIFY));
  const open = (link: URL, headers: Record<string, string> = {}) => t.http.get(`${link.pathname}${link.search}`).set(headers);
  const tokenOf = (link: URL) => link.searchParams.get('token')!;
  const submit = (link: URL, body: Record<string, unknown>, headers: Record<string, string> = {}) =>
    t.http
      .post(link.pathname)
      .set(headers)
      .send({ token: tokenOf(link), ...body });
  const submitForm = (path: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
    t.http
      .post(path)
      .set({ ...FROM_OUR_PAGE, ...headers })
      .send(new URLSearchParams(fields).toString());
  const changeLinkOf = async (person: SignedInPerson, email: string, body: Record<string, unknown> = {}) => {
    const request = { newEmail: email, currentPassword: PASSWORD, ...body };
    await t.http.post('/v1/auth/change-email').set(person.auth).send(request).expect(200);
    return linkIn(await mail.next(email, CHANGE));
  };
  const squatted = async () => {
    const squatter = await signUp(t, { email: newEmail() });
    return { squatter, link: await verificationOf(squatter) };
  };

  describe('that verifies an address', () => {
    it.each(['GET', 'HEAD'] as const)('does nothing for a plain %s, as mail scanners send it', async (method) => {
      const { squatter, link } = await squatted();
      const answer = method === 'GET' ? await open(link).expect(200) : await t.http.head(`${link.pathname}${link.search}`).expect(200);
      expect(answer.headers['content-type']).toBe('text/html; charset=utf-8');
      expect(await userOf(squatter.id)).toMatchObject({ email_verified: false });
      expect(await actionsOf(squatter.id, 'user.email_verified')).toEqual([]);
    });

    it('shows a page with a form, without scripts and without account data', async () => {
      const { squatter, link } = await squatted();
      const { text, headers } = await open(link, BROWSER).expect(200);
      expect(headers).toMatchObject({
        'content-security-policy': expect.stringMatching(
          /^default-src 'none'; style-src 'sha256-[\w+/=]+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
        ),
        'referrer-policy': 'no-referrer',
        'cache-control': 'no-store',
      });
      expect(text).toContain('<form method="post" action="/v1/auth/verify-email">');
      expect(text).toContain(`<input type="hidden" name="token" value="${tokenOf(link)}">`);
      expect(text).toContain('type="password"');
      expect(text).toContain('<form method="post" action="/v1/auth/verify-email/reject">');
      expect(text).not.toMatch(/<script|javascript:| on\w+=|src=/i);
      for (const secret of [squatter.name, squatter.email, squatter.id]) expect(text).not.toContain(secret);
    });

    it.each(['bearer', 'cookie'] as const)('verifies the address when the session that signed up opens it (%s)', async (credential) => {
      const person = await signUp(t);
      const link = await verificationOf(person);
      await open(link, credential === 'bearer' ? person.auth : { cookie: person.cookie }).expect(200, { status: true });
      expect(await userOf(person.id)).toMatchObject({ email_verified: true });
      expect(await actionsOf(person.id, 'user.email_verified')).toEqual([{ actor_kind: 'user', ip_address: '127.0.0.1' }]);
    });

    it.each(['HEAD', 'prefetch', 'prerender'])('does nothing for a %s in that session', async (how) => {
      const person = await signUp(t);
      const link = await verificationOf(person);
      const path = `${link.pathname}${link.search}`;
      const headers = { cookie: person.cookie, ...(how !== 'HEAD' && { 'sec-purpose': `prefetch;${how}` }) };
      const { text } = await (how === 'HEAD' ? t.http.head(path) : t.http.get(path)).set(headers).expect(200);
      if (how !== 'HEAD') expect(text).not.toContain('type="password"');
      expect(await userOf(person.id)).toMatchObject({ email_verified: false });
    });

    it('does nothing in another session, of another user or of the same one', async () => {
      const { squatter, link } = await squatted();
      const [victim, planted] = [await signUp(t), await signIn(t, squatter)];
      for (const headers of [victim.auth, { cookie: victim.cookie }, planted.auth, { cookie: planted.cookie }]) {
        const { text } = await open(link, headers).expect(200);
        expect(text).toContain('type="password"');
        const { body } = await submit(link, {}, { origin: TRUSTED, ...headers }).expect(403);
        expect(body.code).toBe('link_proof_required');
      }
      expect(await userOf(squatter.id)).toMatchObject({ email_verified: false });
    });

    it('is confirmed with the password on another device, by form or JSON', async () => {
      for (const kind of ['form', 'json'] as const) {
        const person = await signUp(t);
        const link = await verificationOf(person);
        if (kind === 'json') await submit(link, { password: PASSWORD }).expect(200, { status: true });
        else {
          const { text } = await submitForm(link.pathname, { token: tokenOf(link), password: PASSWORD }).expect(200);
          expect(text).toContain('Your email address is confirmed');
        }
        expect(await userOf(person.id)).toMatchObject({ email_verified: true });
      }
    });

    it('takes effect once in concurrent confirmations', async () => {
      const person = await signUp(t);
      const link = await verificationOf(person);
      const answers = await Promise.all(Array.from({ length: 8 }, () => submit(link, {}, person.auth)));
      expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200));
      expect(await actionsOf(person.id, 'user.email_verified')).toHaveLength(1);
    });

    it('is not confirmed without the password, or with a wrong one', async () => {
      const { squatter, link } = await squatted();
      for (const [password, status, code] of [
        [undefined, 403, 'link_proof_required'],
        ['', 403, 'link_proof_required'],
        ['wrong password', 400, 'wrong_password'],
      ] as const) {
        const { body } = await submit(link, { password }).expect(status);
        expect(body.code).toBe(code);
      }
      const { text } = await submitForm(link.pathname, { token: tokenOf(link), password: 'wrong password' }).expect(400);
      expect(text).toContain('role="alert"');
      expect(text).toContain(`name="token" value="${tokenOf(link)}"`);
      expect(text).not.toContain('wrong password');
      expect(await userOf(squatter.id)).toMatchObject({ email_verified: false });
    });

    it('counts wrong passwords like wrong passwords at sign-in', async () => {
      const { squatter, link } = await squatted();
      for (let guess = 0; guess < 10; guess += 1) await submit(link, { password: `guess ${guess}` }).expect(400);
      const { body, headers } = await submit(link, { password: PASSWORD }).expect(429);
      expect(body.code).toBe('rate_limited');
      expect(Number(headers['retry-after'])).toBeGreaterThan(0);
      const { text } = await submitForm(link.pathname, { token: tokenOf(link), password: PASSWORD }).expect(429);
      expect(text).toMatch(/role="alert">Too many attempts\. Try again in \d+ minutes?\.</);
      await t.http.post('/v1/auth/sign-in/email').send({ email: squatter.email, password: PASSWORD }).expect(429);
    });

    it('is bound to the session that requests it again, and to no session otherwise', async () => {
      const person = await signUp(t);
      await verificationOf(person);
      const again = async (headers: Record<string, string>) => {
        await t.http.post('/v1/auth/send-verification-email').set(headers).send({ email: person.email }).expect(200);
        return verificationOf(person);
      };
      const [otherUser, other] = [await signUp(t), await signIn(t, person)];
      for (const asking of [{}, otherUser.auth]) {
        const link = await again(asking);
        for (const headers of [person.auth, otherUser.auth]) expect((await open(link, headers)).text).toContain('type="password"');
      }
      const link = await again(other.auth);
      expect((await open(link, person.auth)).text).toContain('type="password"');
      await open(link, other.auth).expect(200, { status: true });
    });

    it('redirects when opening it takes effect, and links to the page after the form', async () => {
      const callbackURL = `${TRUSTED}/welcome?a=1&b="'<`;
      const href = new URL(callbackURL).href;
      const link = async () => {
        const email = newEmail();
        const { body } = await t.http
          .post('/v1/auth/sign-up/email')
          .send({ name: 'L', email, password: PASSWORD, callbackURL })
          .expect(200);
        return { link: await verificationOf({ email }), auth: { authorization: `Bearer ${body.token}` } };
      };
      const first = await link();
      expect((await open(first.link, { ...BROWSER, ...first.auth }).expect(302)).headers['location']).toBe(href);
      const second = await link();
      const page = await open(second.link, BROWSER).expect(200);
      const [, hidden] = /name="callbackURL" value="([^"]*)"/.exec(page.text)!;
      expect(unescape(hidden!)).toBe(href);
      const fields = { token: tokenOf(second.link), callbackURL: unescape(hidden!), password: PASSWORD };
      const { text } = await submitForm(second.link.pathname, fields).expect(200);
      expect(unescape(/<a class="button" href="([^"]*)"/.exec(text)![1]!)).toBe(href);
      expect(unescape(/http-equiv="refresh" content="0; url=([^"]*)"/.exec(text)![1]!)).toBe(href);
      expect((await submit(second.link, { callbackURL: 'https://evil.example' }).expect(403)).body.code).toBe('untrusted_redirect');
    });

    it('that is unknown shows a page to a browser, a problem to a client, and an error to the page it names', async () => {
      const link = new URL('http://localhost:3000/v1/auth/verify-email?token=unknown');
      const { text, headers } = await open(link, BROWSER).expect(400);
      expect(headers['content-security-policy']).toContain("default-src 'none'");
      expect(text).toContain('This link no longer works');
      expect((await open(link, { accept: 'application/json' }).expect(400)).body.code).toBe('invalid_token');
      link.searchParams.set('callbackURL', `${TRUSTED}/x?y=z`);
      expect((await open(link, BROWSER).expect(302)).headers['location']).toBe(`${TRUSTED}/x?y=z&error=INVALID_TOKEN`);
      const incomplete = await t.http.get('/v1/auth/verify-email').set(BROWSER).expect(400);
      expect(incomplete.text).toContain('This link is incomplete');
    });

    it('from before the upgrade shows the page, also in a session, and is confirmed with the password', async () => {
      const person = await signUp(t);
      const secret = new TextEncoder().encode(testEnvironment(t.db.url)['AUTH_SECRET']);
      const sign = (claims: Record<string, unknown>) =>
        new SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).setIssuedAt().setExpirationTime('1h').sign(secret);
      const linkWith = async (claims: Record<string, unknown>) =>
        new URL(`http://localhost:3000/v1/auth/verify-email?token=${await sign(claims)}&callbackURL=%2F`);
      const link = await linkWith({ email: person.email, userId: person.id });
      for (const headers of [{}, person.auth]) expect((await open(link, headers).expect(200)).text).toContain('type="password"');
      expect((await submit(link, {}, person.auth).expect(403)).body.code).toBe('link_proof_required');
      const stolen = await linkWith({ email: person.email, userId: person.id, updateTo: 'evil@example.org' });
      expect((await submit(stolen, { password: PASSWORD }).expect(400)).body.code).toBe('invalid_token');
      await submit(link, { password: PASSWORD }).expect(200, { status: true });
      expect(await userOf(person.id)).toMatchObject({ email: person.email, email_verified: true });
    });

    it('is rejected for a suspended user', async () => {
      const person = await signUp(t);
      const link = await verificationOf(person);
      await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [person.id]);
      for (const request of [open(link, person.auth), submit(link, { password: PASSWORD })])
        expect((await request.expect(403)).body.code).toBe('user_suspended');
      expect(await userOf(person.id)).toMatchObject({ email_verified: false });
    });
  });

  describe('submitted from another site', () => {
    it.each([
      ['another origin', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
      ['a sandboxed frame', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
      ['a sibling domain', { origin: 'null', 'sec-fetch-site': 'same-site' }],
      ['a browser without fetch metadata', { origin: 'null' }],
    ])('does not use the browser’s cookie: %s', async (_name, headers) => {
      const person = await signUp(t);
      const link = await verificationOf(person);
      const { 'sec-fetch-site': _site, ...form } = FROM_OUR_PAGE;
      const request = t.http.post(link.pathname).set({ ...form, ...headers, cookie: person.cookie });
      await request.send(new URLSearchParams({ token: tokenOf(link) }).toString()).expect(403);
      expect(await userOf(person.id)).toMatchObject({ email_verified: false });
    });

    it('uses the browser’s cookie from our own page and from a trusted front end', async () => {
      for (const headers of [FROM_OUR_PAGE, { origin: TRUSTED }, { origin: 'http://localhost:3000' }]) {
        const person = await signUp(t);
        const link = await verificationOf(person);
        const request = t.http.post(link.pathname).set({ ...FROM_OUR_PAGE, ...headers, cookie: person.cookie });
        await request.send(new URLSearchParams({ token: tokenOf(link) }).toString()).expect(200);
        expect(await userOf(person.id)).toMatchObject({ email_verified: true });
      }
    });
  });

  describe('rejected by the owner of the address', () => {
    const reject = (link: URL) => t.http.post(`${link.pathname}/reject`).send({ token: tokenOf(link) });

    it('deletes the account, its sign-in methods and its organization, and frees the address', async () => {
      const { squatter, link } = await squatted();
      const created = await t.http.post('/v1/organizations').set(squatter.auth).send({ name: 'Squatters' }).expect(201);
      const organizationId: string = created.body.id;
      const key = await t.http
        .post(`/v1/organizations/${organizationId}/api-keys`)
        .set(squatter.auth)
        .send({ name: 'K', scopes: ['usage:read'] })
        .expect(201);
      const { text } = await submitForm(`${link.pathname}/reject`, { token: tokenOf(link) }).expect(200);
      expect(text).toContain('The account was removed');

      expect(await userOf(squatter.id)).toEqual({ email: null, email_verified: false, deleted: true });
      await t.http.get('/v1/users/me').set(squatter.auth).expect(401);
      await t.http.post('/v1/auth/sign-in/email').send({ email: squatter.email, password: PASSWORD }).expect(401);
      await t.http.get(`/v1/organizations/${organizationId}/usage`).set('x-api-key', key.body.key).expect(401);
      expect(await actionsOf(squatter.id, 'user.sign_up_rejected')).toEqual([{ actor_kind: 'system', ip_address: '127.0.0.1' }]);
      expect(await actionsOf(organizationId, 'organization.deleted')).toHaveLength(1);
      expect((await reject(link).expect(400)).body.code).toBe('invalid_token');
      expect((await submit(link, { password: PASSWORD }).expect(400)).body.code).toBe('invalid_token');
      const owner = await signUp(t, { email: squatter.email });
      expect(owner.id).not.toBe(squatter.id);
    });

    it('leaves an organization with other members to its oldest member', async () => {
      const { squatter, link } = await squatted();
      const member = await signUp(t);
      const { body } = await t.http.post('/v1/organizations').set(squatter.auth).send({ name: 'Shared' }).expect(201);
      await t.db.rows(
        `INSERT INTO organization_memberships (id, organization_id, user_id, role) VALUES (gen_random_uuid(), $1, $2, 'member')`,
        [body.id, member.id],
      );
      await reject(link).expect(200, { status: true });
      const { body: shared } = await t.http.get(`/v1/organizations/${body.id}/memberships`).set(member.auth).expect(200);
      expect(shared.data.map(({ role, user }: { role: string; user: { id: string } }) => [role, user.id])).toEqual([['admin', member.id]]);
    });

    it('does nothing when the account has verified the address', async () => {
      const person = await signUp(t);
      const link = await verificationOf(person);
      await open(link, person.auth).expect(200);
      expect((await reject(link).expect(400)).body.code).toBe('email_already_verified');
      await t.http.get('/v1/users/me').set(person.auth).expect(200);
    });

    it('and confirmed at the same time has one of the two effects', async () => {
      for (let round = 0; round < 4; round += 1) {
        const person = await signUp(t);
        const link = await verificationOf(person);
        const [rejected, proved] = await Promise.all([reject(link), submit(link, {}, person.auth)]);
        const { deleted, email_verified: isProved } = await userOf(person.id);
        expect([rejected.status, proved.status]).toEqual(deleted ? [200, 400] : [400, 200]);
        expect(isProved).toBe(!deleted);
      }
    });
  });

  describe('that changes an address', () => {
    it.each(['GET', 'HEAD'] as const)('does nothing for a plain %s', async (method) => {
      const person = await signUp(t);
      const link = await changeLinkOf(person, newEmail());
      const path = `${link.pathname}${link.search}`;
      const { headers } = await (method === 'GET' ? t.http.get(path) : t.http.head(path)).expect(200);
      expect(headers['content-type']).toBe('text/html; charset=utf-8');
      expect(await userOf(person.id)).toMatchObject({ email: person.email });
    });

    it('is confirmed with the password on another device, once, and redirects', async () => {
      const person = await signUp(t);
      const email = newEmail();
      const link = await changeLinkOf(person, email, { callbackURL: `${TRUSTED}/settings` });
      const page = await open(link, BROWSER).expect(200);
      expect(page.text).toContain('<form method="post" action="/v1/auth/change-email/confirm">');
      expect(page.text).not.toContain('I did not sign up');
      await submitForm(link.pathname, { token: tokenOf(link), password: 'wrong password' }).expect(400);
      const { text } = await submitForm(link.pathname, { token: tokenOf(link), password: PASSWORD }).expect(200);
      expect(text).toContain(`href="${TRUSTED}/settings"`);
      expect(await userOf(person.id)).toMatchObject({ email, email_verified: true });
      expect((await submit(link, { password: PASSWORD }).expect(400)).body.code).toBe('invalid_token');
      await t.http.get('/v1/users/me').set(person.auth).expect(200);
    });

    it('is not confirmed by reading the mail alone', async () => {
      const person = await signUp(t);
      const link = await changeLinkOf(person, newEmail());
      const otherUser = await signUp(t);
      for (const headers of [{}, otherUser.auth]) {
        expect((await submit(link, {}, headers).expect(403)).body.code).toBe('link_proof_required');
        expect((await submit(link, { password: 'a guess' }, headers).expect(400)).body.code).toBe('wrong_password');
      }
      expect(await userOf(person.id)).toMatchObject({ email: person.email });
    });
  });

  describe('that resets a password', () => {
    it('changes nothing on GET or HEAD', async () => {
      const person = await signUp(t);
      await t.http
        .post('/v1/auth/request-password-reset')
        .send({ email: person.email, redirectTo: `${TRUSTED}/choose` })
        .expect(200);
      const { pathname, search } = linkIn(await mail.next(person.email, /Reset/));
      const token = pathname.split('/').at(-1)!;
      for (const request of [t.http.head(`${pathname}${search}`), t.http.get(`${pathname}${search}`)])
        expect((await request.expect(302)).headers['location']).toBe(`${TRUSTED}/choose?token=${token}`);
      await t.http.post('/v1/auth/reset-password').send({ token, newPassword: 'an even better horse' }).expect(200);
    });
  });

  describe('submitted as a form', () => {
    it.each([
      ['that is too large', `token=${'x'.repeat(9000)}`, 413],
      ['with a repeated field', 'token=a&token=b', 400],
      ['with too many fields', Array.from({ length: 11 }, (_, index) => `n${index}=x`).join('&'), 400],
      ['with an unknown field', 'token=a&admin=true', 400],
      ['without a token', 'password=x', 400],
      ['with NUL', 'token=%00', 400],
      ['that is invalid', '%', 400],
      ['that is empty', '', 400],
    ])('%s is rejected', async (_name, body, status) => {
      for (const path of ['verify-email', 'verify-email/reject', 'change-email/confirm'])
        await t.http.post(`/v1/auth/${path}`).set(FROM_OUR_PAGE).send(body).expect(status);
    });

    it('is accepted by no other route', async () => {
      for (const path of ['auth/sign-in/email', 'auth/reset-password', 'auth/verify-email/x', 'organizations'])
        expect([path, (await t.http.post(`/v1/${path}`).set(FROM_OUR_PAGE).send('token=a')).status]).toEqual([path, 415]);
    });
  });

  it('leaves no failing entry in the outbox', async () => {
    const waiting = () => t.db.rows('SELECT kind, attempts, last_error FROM outbox WHERE done_at IS NULL');
    await until(
      async () => (await waiting()).length === 0,
      async () => JSON.stringify(await waiting()),
    );
  });
});

function unescape(html: string): string {
  return html.replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
}
