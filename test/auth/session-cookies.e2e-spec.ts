import { startTestApp, type TestApp } from '../support/app.js';
import { PASSWORD } from '../support/people.js';

const CURRENT = '__Host-better-auth.session_token';
const LEGACY = '__Secure-better-auth.session_token';
const ORIGIN = 'https://api.example.com';

interface Person {
  id: string;
  email: string;
  /** The value of the session cookie. */
  value: string;
  setCookies: string[];
}

let count = 0;

async function signUp(t: TestApp, body: Record<string, unknown> = {}): Promise<Person> {
  count += 1;
  const email = `cookie-${count}@example.com`;
  const answer = await t.http
    .post('/v1/auth/sign-up/email')
    .send({ name: 'Cookie', email, password: PASSWORD, ...body })
    .expect(200);
  const setCookies = linesOf(answer);
  const value = setCookies.find((line) => line.includes('session_token='))!.split(/[=;]/, 2)[1]!;
  return { id: answer.body.user.id, email, value, setCookies };
}

function linesOf({ headers }: { headers: Record<string, unknown> }): string[] {
  return (headers['set-cookie'] as string[] | undefined) ?? [];
}

/** The names of the cookies that a response sets, and of those that it removes. */
function changesOf(answer: { headers: Record<string, unknown> }) {
  const names = (removed: boolean) =>
    linesOf(answer)
      .filter((line) => /Max-Age=0/i.test(line) === removed)
      .map((line) => line.split('=', 1)[0]!)
      .toSorted();
  return { set: names(false), removed: names(true) };
}

describe('session cookies over https', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp({ PUBLIC_URL: ORIGIN, GOOGLE_CLIENT_ID: 'id', GOOGLE_CLIENT_SECRET: 'secret' });
  });
  afterAll(() => t.close());

  const me = (cookie: string) => t.http.get('/v1/users/me').set('cookie', cookie);

  /** A user with a session from a version before `__Host-`, which does not set the column. */
  async function legacyPerson(): Promise<Person> {
    const person = await signUp(t);
    await t.db.rows('UPDATE sessions SET legacy_cookie = DEFAULT WHERE user_id = $1', [person.id]);
    return person;
  }

  it('have names that only this host can set', async () => {
    const { setCookies } = await signUp(t, { rememberMe: false });
    const social = await t.http.post('/v1/auth/sign-in/social').send({ provider: 'google' }).expect(200);
    const lines = [...setCookies, ...linesOf(social)];
    const names = lines.map((line) => line.split('=', 1)[0]);
    expect(names).toEqual([CURRENT, '__Host-better-auth.dont_remember', '__Host-better-auth.state']);
    for (const line of lines) {
      expect(line).toMatch(/; Path=\/(;|$)/i);
      expect(line).toMatch(/; Secure/i);
      expect(line).toMatch(/; HttpOnly/i);
      expect(line).toMatch(/; SameSite=Lax/i);
      expect(line).not.toMatch(/; Domain/i);
    }
  });

  it('are read under the legacy name for sessions of an older version', async () => {
    const person = await legacyPerson();
    expect((await me(`${LEGACY}=${person.value}`).expect(200)).body.id).toBe(person.id);
    await t.http
      .patch('/v1/users/me')
      .set({ cookie: `${LEGACY}=${person.value}` })
      .send({ name: 'x' })
      .expect(403);
  });

  it('are not read under the legacy name for newer sessions, because another subdomain may have set them', async () => {
    const planted = await signUp(t);
    expect((await me(`${LEGACY}=${planted.value}`).expect(401)).body.code).toBe('invalid_credentials');
    const signOut = await t.http
      .post('/v1/auth/sign-out')
      .set({ cookie: `${LEGACY}=${planted.value}`, origin: ORIGIN })
      .expect(200);
    expect(changesOf(signOut).removed).toContain(LEGACY);
    await me(`${CURRENT}=${planted.value}`).expect(200);
  });

  it('are read under the current name only when both are sent, in any order, even if it is invalid', async () => {
    const [older, newer] = [await legacyPerson(), await signUp(t)];
    const both = [`${LEGACY}=${older.value}`, `${CURRENT}=${newer.value}`];
    for (const cookie of [both.join('; '), both.toReversed().join('; ')]) expect((await me(cookie).expect(200)).body.id).toBe(newer.id);
    await me(`${LEGACY}=${older.value}; ${CURRENT}=nonsense`).expect(401);
    await me(`${LEGACY}=${older.value}; ${CURRENT}=`).expect(401);
  });

  it('move to the current name when the session is extended', async () => {
    const person = await legacyPerson();
    await t.db.rows(`UPDATE sessions SET last_used_at = now() - interval '1 hour' WHERE user_id = $1`, [person.id]);
    const answer = await me(`${LEGACY}=${person.value}`).expect(200);
    expect(changesOf(answer)).toEqual({ set: [CURRENT], removed: [LEGACY] });
    await me(linesOf(answer)[0]!.split(';', 1)[0]!).expect(200);
  });

  it.each([LEGACY, CURRENT])('are both removed at sign-out with %s', async (name) => {
    const person = await legacyPerson();
    const answer = await t.http
      .post('/v1/auth/sign-out')
      .set({ cookie: `${name}=${person.value}`, origin: ORIGIN })
      .expect(200);
    expect(changesOf(answer).set).toEqual([]);
    expect(changesOf(answer).removed).toEqual(expect.arrayContaining([CURRENT, LEGACY]));
    await me(`${CURRENT}=${person.value}`).expect(401);
    await me(`${LEGACY}=${person.value}`).expect(401);
  });

  it('keep the choice of the sign-in when the password is changed under the legacy names', async () => {
    const person = await signUp(t, { rememberMe: false });
    await t.db.rows('UPDATE sessions SET legacy_cookie = DEFAULT WHERE user_id = $1', [person.id]);
    const cookie = person.setCookies.map((line) => line.split(';', 1)[0]!.replace('__Host-', '__Secure-')).join('; ');
    const answer = await t.http
      .post('/v1/auth/change-password')
      .set({ cookie, origin: ORIGIN })
      .send({ currentPassword: PASSWORD, newPassword: `another ${PASSWORD}` })
      .expect(200);
    expect(changesOf(answer).set).toContain(CURRENT);
    expect(changesOf(answer).removed).toContain(LEGACY);
    expect(linesOf(answer).find((line) => line.startsWith(`${CURRENT}=`))).not.toMatch(/Max-Age/i);
  });
});

describe('session cookies over plain http', () => {
  let t: TestApp;
  beforeAll(async () => {
    t = await startTestApp();
  });
  afterAll(() => t.close());

  it('keep their plain name, and no other name is read', async () => {
    const { setCookies, value } = await signUp(t);
    expect(setCookies.map((line) => line.split('=', 1)[0])).toEqual(['better-auth.session_token', 'tenantry.device']);
    expect(setCookies[0]).not.toMatch(/; Secure/i);
    for (const name of [CURRENT, LEGACY])
      expect((await t.http.get('/v1/users/me').set('cookie', `${name}=${value}`).expect(401)).body.code).toBe('signed_out');
    await t.http.get('/v1/users/me').set('cookie', `better-auth.session_token=${value}`).expect(200);
  });
});
