import type { Response } from 'supertest';
import { startTestApp, type TestApp } from '../support/app.js';
import { startMailServer } from '../support/mails.js';
import { PASSWORD, type SignedInPerson, signUp } from '../support/people.js';
import { until } from '../support/until.js';

const NEW_PASSWORD = 'an even better horse';
const HOME = '203.0.113.1';

let counter = 0;
const newEmail = () => `guessed-${(counter += 1)}@example.org`;
const deviceOf = (answer: Response) =>
  (answer.headers['set-cookie'] as unknown as string[] | undefined)?.find((line) => /^(__Host-)?tenantry\.device=/.test(line));
const cookieOf = (answer: Response) => deviceOf(answer)?.split(';', 1)[0] ?? 'none';

interface From {
  address: string;
  cookie?: string;
}
interface Owner extends SignedInPerson {
  cookie: string;
}

describe('wrong passwords', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    // Limits of 3, 6 and 15 for each address and 30 for all unknown ones, which do not refill during a test.
    t = await startTestApp({ SMTP_URL: mail.url, TRUST_PROXY: '1', RATE_LIMIT_SIGN_IN: '3/36000', RATE_LIMIT_MAIL: '4/3600' });
  });
  afterAll(async () => {
    await t.close();
    await mail.close();
  });

  const post = (path: string, body: object, { address, cookie }: From) =>
    t.http
      .post(`/v1/auth/${path}`)
      .set({ 'x-forwarded-for': address, origin: 'http://localhost:3000', ...(cookie && { cookie }) })
      .send(body);
  const signIn = (email: string, password: string, from: From) => post('sign-in/email', { email, password }, from);
  const signInWrongly = async (email: string, from: From) => (await signIn(email, 'not the password', from)).status;
  const signInWronglyOften = async (count: number, email: string, from: From) => {
    const statuses: number[] = [];
    for (let call = 0; call < count; call += 1) statuses.push(await signInWrongly(email, from));
    return statuses;
  };
  /** A user who signed up at HOME, with the cookie of the device. */
  const newOwner = async (): Promise<Owner> => {
    const email = newEmail();
    const answer = await post('sign-up/email', { email, name: 'Owner', password: PASSWORD }, { address: HOME }).expect(200);
    const token = answer.headers['set-auth-token']!;
    return { id: answer.body.user.id, email, name: 'Owner', token, cookie: cookieOf(answer), auth: { authorization: `Bearer ${token}` } };
  };
  /** Uses up the common limit of all unknown addresses. */
  const useUpCommonLimit = async (email: string) => {
    for (let host = 1; host <= 10; host += 1) await signInWronglyOften(3, email, { address: `198.51.100.${host}` });
    expect(await signInWrongly(email, { address: '198.51.100.11' })).toBe(429);
  };

  it('are limited for each unknown address, and then the right one is rejected too', async () => {
    const { email } = await newOwner();
    expect(await signInWronglyOften(5, email, { address: '198.51.100.1' })).toEqual([401, 401, 401, 429, 429]);
    const refused = await signIn(email, PASSWORD, { address: '198.51.100.1' }).expect(429);
    expect(refused.body.code).toBe('rate_limited');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(11_000);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(12_000);
    // Another spelling of the email, and another address of the same subscriber.
    expect(await signInWrongly(email.toUpperCase(), { address: '::ffff:198.51.100.1' })).toBe(429);
    await signIn(email, PASSWORD, { address: '198.51.100.2' }).expect(200);
  });

  it('from many addresses are limited together, and never lock the owner out on a known device or network', async () => {
    const { email, cookie } = await newOwner();
    await useUpCommonLimit(email);
    for (let call = 0; call < 5; call += 1) {
      await signIn(email, PASSWORD, { address: '192.0.2.1', cookie }).expect(200);
      await signIn(email, PASSWORD, { address: HOME }).expect(200);
    }
    // On an unknown device and network, the owner uses the reset by mail.
    const elsewhere = { address: '192.0.2.77' };
    await signIn(email, PASSWORD, elsewhere).expect(429);
    await post('request-password-reset', { email }, elsewhere).expect(200);
    const token = /^[\w-]{20,}$/m.exec((await mail.next(email, /Reset/)).text)![0];
    const reset = await post('reset-password', { token, newPassword: NEW_PASSWORD }, elsewhere).expect(200);
    await signIn(email, NEW_PASSWORD, { ...elsewhere, cookie: cookieOf(reset) }).expect(200);
  });

  it('that are rejected for one address do not count for the common limit', async () => {
    const { email } = await newOwner();
    expect(new Set((await signInWronglyOften(40, email, { address: '198.51.100.1' })).slice(3))).toEqual(new Set([429]));
    expect(await signInWrongly(email, { address: '198.51.100.2' })).toBe(401);
  });

  it('count, and right ones do not', async () => {
    const { email } = await newOwner();
    const from = { address: '198.51.100.20' };
    await t.db.rows('UPDATE sessions SET ip_address = $1', ['192.0.2.200']);
    for (let call = 0; call < 8; call += 1) {
      await signIn(email, PASSWORD, from).expect(200);
      await t.db.rows('DELETE FROM sessions WHERE ip_address = $1', [from.address]);
    }
    expect(await signInWronglyOften(4, email, from)).toEqual([401, 401, 401, 429]);
  });

  it('are counted exactly in concurrent requests', async () => {
    const { email } = await newOwner();
    const statuses = await Promise.all(Array.from({ length: 100 }, () => signInWrongly(email, { address: '198.51.100.1' })));
    expect(statuses.toSorted()).toEqual([401, 401, 401, ...Array.from({ length: 97 }, () => 429)]);
  });

  it('are limited on a known device and in a known network separately', async () => {
    const { email, cookie } = await newOwner();
    const [device, network] = [{ address: '192.0.2.5', cookie }, { address: HOME }];
    expect(await signInWronglyOften(4, email, device)).toEqual([401, 401, 401, 429]);
    expect(await signInWronglyOften(4, email, network)).toEqual([401, 401, 401, 429]);
    await signIn(email, PASSWORD, { address: '192.0.2.5' }).expect(200);
  });

  it('for an unknown email get the same responses', async () => {
    const { email } = await newOwner();
    const attempt = async (to: string) => {
      const answers: unknown[] = [];
      for (let call = 0; call < 5; call += 1) {
        const { status, body, headers } = await signIn(to, 'not the password', { address: '198.51.100.1' });
        answers.push([status, { ...body, requestId: '' }, Object.keys(headers).toSorted()]);
      }
      return answers;
    };
    expect(await attempt(newEmail())).toEqual(await attempt(email));
    const keys = await t.db.rows<{ key: string }>('SELECT key FROM rate_limits');
    expect(keys.filter(({ key }) => key.includes('@'))).toEqual([]);
  });

  it('in an open session are limited in every request that asks for the password', async () => {
    const owner = await newOwner();
    const openSession = { authorization: `Bearer ${(await signIn(owner.email, PASSWORD, { address: HOME })).headers['set-auth-token']}` };
    const change = (auth: Record<string, string>, currentPassword: string) =>
      t.http.post('/v1/auth/change-password').set(auth).send({ currentPassword, newPassword: NEW_PASSWORD });
    const move = (auth: Record<string, string>, currentPassword: string) =>
      t.http.post('/v1/auth/change-email').set(auth).send({ newEmail: newEmail(), currentPassword });
    for (const one of [change, move, change]) expect((await one(openSession, 'a guess').expect(400)).body.code).toBe('wrong_password');
    for (const one of [change, move]) expect((await one(openSession, PASSWORD).expect(429)).body.code).toBe('rate_limited');
    await move(owner.auth, PASSWORD).expect(200);
    await change(owner.auth, PASSWORD).expect(200);
  });

  describe('the cookie of a known device', () => {
    it('does not make a sign-in require an Origin, which only browsers send', async () => {
      const { email, cookie } = await newOwner();
      await t.http
        .post('/v1/auth/sign-in/email')
        .set({ cookie, 'x-forwarded-for': '192.0.2.77' })
        .send({ email, password: PASSWORD })
        .expect(200);
    });

    it('is bound to this host, hidden from scripts, and lasting', async () => {
      const answer = await post('sign-up/email', { email: newEmail(), name: 'C', password: PASSWORD }, { address: HOME });
      expect(deviceOf(answer)).toMatch(/^tenantry\.device=[\w-]{22}\.[\w-]{43}; Max-Age=15552000; Path=\/; HttpOnly; SameSite=Lax$/);
      const secure = await startTestApp({ PUBLIC_URL: 'https://api.example.com' });
      try {
        const overHttps = await secure.http.post('/v1/auth/sign-up/email').send({ email: newEmail(), name: 'C', password: PASSWORD });
        expect(deviceOf(overHttps)).toMatch(/^__Host-tenantry\.device=.*; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
      } finally {
        await secure.close();
      }
    });

    it('is not set for a wrong password, without rememberMe, or a second time', async () => {
      const { email, cookie } = await newOwner();
      expect(deviceOf(await signIn(email, 'not the password', { address: HOME }).expect(401))).toBeUndefined();
      const body = { email, password: PASSWORD };
      expect(deviceOf(await post('sign-in/email', { ...body, rememberMe: false }, { address: HOME }).expect(200))).toBeUndefined();
      expect(deviceOf(await post('sign-in/email', body, { address: HOME, cookie }).expect(200))).toBeUndefined();
      expect(deviceOf(await post('sign-in/email', body, { address: HOME }).expect(200))).toBeDefined();
    });

    it('is ignored when it is forged, belongs to another user, or is older than the password', async () => {
      const owner = await newOwner();
      const other = await newOwner();
      const [id, seal] = owner.cookie.replace('tenantry.device=', '').split('.') as [string, string];
      const changed = await t.http
        .post('/v1/auth/change-password')
        .set({ ...owner.auth, 'x-forwarded-for': HOME })
        .send({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD })
        .expect(200);
      await useUpCommonLimit(owner.email);
      const useless = [
        owner.cookie,
        other.cookie,
        `tenantry.device=${id}.${seal.split('').toReversed().join('')}`,
        `tenantry.device=${id}`,
        `tenantry.device=..`,
        `tenantry.device=${'x'.repeat(3000)}`,
      ];
      for (const cookie of useless) await signIn(owner.email, NEW_PASSWORD, { address: '192.0.2.9', cookie }).expect(429);
      await signIn(owner.email, NEW_PASSWORD, { address: '192.0.2.9', cookie: cookieOf(changed) }).expect(200);
    });
  });

  it('make the wait longer each time', async () => {
    const slow = await startTestApp({ RATE_LIMIT_SIGN_IN: '2/60' });
    try {
      const { email } = await signUp(slow);
      await slow.db.rows('DELETE FROM sessions');
      const attempt = () => slow.http.post('/v1/auth/sign-in/email').send({ email, password: 'not the password' });
      const waits: number[] = [];
      for (let wrong = 0; wrong < 12;) {
        const { status, headers } = await attempt();
        if (status === 401) {
          wrong += 1;
          continue;
        }
        const wait = Number(headers['retry-after']);
        waits.push(wait);
        await slow.db.rows(`UPDATE rate_limits SET whole_at = whole_at - $1 * interval '1 second'`, [wait]);
      }
      // 2 in a minute, 4 in twelve minutes, 10 in 288 minutes: one attempt refills in 30 seconds, 3 minutes, 29 minutes.
      expect(waits[0]).toBeLessThanOrEqual(30);
      expect(waits.some((wait) => wait > 100 && wait <= 180)).toBe(true);
      expect(waits.at(-1)).toBeGreaterThan(1000);
      expect(waits.at(-1)).toBeLessThanOrEqual(1728);
    } finally {
      await slow.close();
    }
  });

  it('have a limit that is separate from reset requests of others, which do not block the owner’s', async () => {
    const owner = await newOwner();
    // Known devices and networks exist only for users with a verified address.
    await t.db.rows('UPDATE users SET email_verified = TRUE, email_verified_at = now() WHERE id = $1', [owner.id]);
    const request = (from: From) => post('request-password-reset', { email: owner.email }, from);
    const statuses: number[] = [];
    for (let call = 0; call < 6; call += 1) statuses.push((await request({ address: '198.51.100.1' })).status);
    expect(statuses).toEqual([200, 200, 200, 200, 429, 429]);
    for (let host = 2; host < 6; host += 1) await request({ address: `198.51.100.${host}` }).expect(200);
    await until(async () => (await t.db.rows('SELECT id FROM outbox WHERE done_at IS NULL')).length === 0);
    const mails = () => mail.mails.filter(({ to, subject }) => to === owner.email && /Reset/.test(subject));
    expect(mails()).toHaveLength(4);
    await request({ address: HOME }).expect(200);
    await request({ address: '192.0.2.50', cookie: owner.cookie }).expect(200);
    await until(async () => mails().length === 6);
    // On an unknown device the owner still has the links that the others requested.
    await request({ address: '192.0.2.51' }).expect(200);
  });
});
