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

describe('guesses at a password', () => {
  let t: TestApp;
  let mail: Awaited<ReturnType<typeof startMailServer>>;
  beforeAll(async () => {
    mail = await startMailServer();
    // Steps of 3, 6 and 15, and 30 for all strangers, none of which come back while a test runs.
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
  const guess = async (email: string, from: From) => (await signIn(email, 'not the password', from)).status;
  const guesses = async (count: number, email: string, from: From) => {
    const statuses: number[] = [];
    for (let call = 0; call < count; call += 1) statuses.push(await guess(email, from));
    return statuses;
  };
  /** Signs up at home; `cookie` is the one of the device. */
  const newOwner = async (): Promise<Owner> => {
    const email = newEmail();
    const answer = await post('sign-up/email', { email, name: 'Owner', password: PASSWORD }, { address: HOME }).expect(200);
    const token = answer.headers['set-auth-token']!;
    return { id: answer.body.user.id, email, name: 'Owner', token, cookie: cookieOf(answer), auth: { authorization: `Bearer ${token}` } };
  };
  /** From so many addresses that all strangers together have used up what they have. */
  const besiege = async (email: string) => {
    for (let host = 1; host <= 10; host += 1) await guesses(3, email, { address: `198.51.100.${host}` });
    expect(await guess(email, { address: '198.51.100.11' })).toBe(429);
  };

  it('are refused to a stranger after some, also with the right one, and from another address not', async () => {
    const { email } = await newOwner();
    expect(await guesses(5, email, { address: '198.51.100.1' })).toEqual([401, 401, 401, 429, 429]);
    const refused = await signIn(email, PASSWORD, { address: '198.51.100.1' }).expect(429);
    expect(refused.body.code).toBe('rate_limited');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(11_000);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(12_000);
    // Spellings of one email, and addresses of one subscriber.
    expect(await guess(email.toUpperCase(), { address: '::ffff:198.51.100.1' })).toBe(429);
    await signIn(email, PASSWORD, { address: '198.51.100.2' }).expect(200);
  });

  it('of many addresses together are bounded, and never keep the owner out on a known device or network', async () => {
    const { email, cookie } = await newOwner();
    await besiege(email);
    for (let call = 0; call < 5; call += 1) {
      await signIn(email, PASSWORD, { address: '192.0.2.1', cookie }).expect(200);
      await signIn(email, PASSWORD, { address: HOME }).expect(200);
    }
    // On a new device, in a new network, the way in is the mailbox.
    const elsewhere = { address: '192.0.2.77' };
    await signIn(email, PASSWORD, elsewhere).expect(429);
    await post('request-password-reset', { email }, elsewhere).expect(200);
    const token = /^[\w-]{20,}$/m.exec((await mail.next(email, /Reset/)).text)![0];
    const reset = await post('reset-password', { token, newPassword: NEW_PASSWORD }, elsewhere).expect(200);
    await signIn(email, NEW_PASSWORD, { ...elsewhere, cookie: cookieOf(reset) }).expect(200);
  });

  it('that one address is refused do not count toward the bound of all', async () => {
    const { email } = await newOwner();
    expect(new Set((await guesses(40, email, { address: '198.51.100.1' })).slice(3))).toEqual(new Set([429]));
    expect(await guess(email, { address: '198.51.100.2' })).toBe(401);
  });

  it('count only when they are wrong', async () => {
    const { email } = await newOwner();
    const from = { address: '198.51.100.20' };
    await t.db.rows('UPDATE sessions SET ip_address = $1', ['192.0.2.200']);
    for (let call = 0; call < 8; call += 1) {
      await signIn(email, PASSWORD, from).expect(200);
      await t.db.rows('DELETE FROM sessions WHERE ip_address = $1', [from.address]);
    }
    expect(await guesses(4, email, from)).toEqual([401, 401, 401, 429]);
  });

  it('are counted exactly when they come at once', async () => {
    const { email } = await newOwner();
    const statuses = await Promise.all(Array.from({ length: 100 }, () => guess(email, { address: '198.51.100.1' })));
    expect(statuses.toSorted()).toEqual([401, 401, 401, ...Array.from({ length: 97 }, () => 429)]);
  });

  it('are bounded on a known device and in a known network, each by itself', async () => {
    const { email, cookie } = await newOwner();
    const [device, network] = [{ address: '192.0.2.5', cookie }, { address: HOME }];
    expect(await guesses(4, email, device)).toEqual([401, 401, 401, 429]);
    expect(await guesses(4, email, network)).toEqual([401, 401, 401, 429]);
    await signIn(email, PASSWORD, { address: '192.0.2.5' }).expect(200);
  });

  it('at an email that nobody has are answered the same', async () => {
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

  it('by whoever holds a session are bounded, wherever the password is asked for', async () => {
    const owner = await newOwner();
    const intruder = { authorization: `Bearer ${(await signIn(owner.email, PASSWORD, { address: HOME })).headers['set-auth-token']}` };
    const change = (auth: Record<string, string>, currentPassword: string) =>
      t.http.post('/v1/auth/change-password').set(auth).send({ currentPassword, newPassword: NEW_PASSWORD });
    const move = (auth: Record<string, string>, currentPassword: string) =>
      t.http.post('/v1/auth/change-email').set(auth).send({ newEmail: newEmail(), currentPassword });
    for (const one of [change, move, change]) expect((await one(intruder, 'a guess').expect(400)).body.code).toBe('wrong_password');
    for (const one of [change, move]) expect((await one(intruder, PASSWORD).expect(429)).body.code).toBe('rate_limited');
    await move(owner.auth, PASSWORD).expect(200);
    await change(owner.auth, PASSWORD).expect(200);
  });

  describe('the cookie of a known device', () => {
    it('does not make a sign-in need an Origin, which only browsers send', async () => {
      const { email, cookie } = await newOwner();
      await t.http
        .post('/v1/auth/sign-in/email')
        .set({ cookie, 'x-forwarded-for': '192.0.2.77' })
        .send({ email, password: PASSWORD })
        .expect(200);
    });

    it('is for this host alone, not for scripts, and lasts', async () => {
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

    it('is not set for a wrong password, nor where the person does not want to be remembered, nor twice', async () => {
      const { email, cookie } = await newOwner();
      expect(deviceOf(await signIn(email, 'not the password', { address: HOME }).expect(401))).toBeUndefined();
      const body = { email, password: PASSWORD };
      expect(deviceOf(await post('sign-in/email', { ...body, rememberMe: false }, { address: HOME }).expect(200))).toBeUndefined();
      expect(deviceOf(await post('sign-in/email', body, { address: HOME, cookie }).expect(200))).toBeUndefined();
      expect(deviceOf(await post('sign-in/email', body, { address: HOME }).expect(200))).toBeDefined();
    });

    it('is worth nothing when it is forged, of somebody else, or older than the password', async () => {
      const owner = await newOwner();
      const other = await newOwner();
      const [id, seal] = owner.cookie.replace('tenantry.device=', '').split('.') as [string, string];
      const changed = await t.http
        .post('/v1/auth/change-password')
        .set({ ...owner.auth, 'x-forwarded-for': HOME })
        .send({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD })
        .expect(200);
      await besiege(owner.email);
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

  it('make the wait longer and longer', async () => {
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
      // 2 in a minute, 4 in twelve minutes, 10 in 288 minutes: one comes back in 30 seconds, in 3 minutes, in 29 minutes.
      expect(waits[0]).toBeLessThanOrEqual(30);
      expect(waits.some((wait) => wait > 100 && wait <= 180)).toBe(true);
      expect(waits.at(-1)).toBeGreaterThan(1000);
      expect(waits.at(-1)).toBeLessThanOrEqual(1728);
    } finally {
      await slow.close();
    }
  });

  it('aside, strangers who ask for resets do not keep the owner from asking', async () => {
    const owner = await newOwner();
    // A device or network is known only of somebody who has proved the address.
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
    // On a device that nobody knows the owner has the links that the others asked for.
    await request({ address: '192.0.2.51' }).expect(200);
  });
});
