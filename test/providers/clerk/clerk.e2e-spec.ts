import { createHmac } from 'node:crypto';
import { CLERK_ISSUER, type ClerkKey, clerkToken, makeClerkKey, startKeyServer } from '../../simulators/clerk.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { UsersService } from '../../../src/users/users.service.js';
import { startTestApp, type TestApp } from '../../support/app.js';
import { PASSWORD, signUp } from '../../support/people.js';
import { untilLocked } from '../../support/until.js';

const PARTY = 'https://app.example.com';
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

let counter = 0;
const ids = () => {
  counter += 1;
  return { sub: `user_${counter}x`, sid: `sess_${counter}x` };
};

describe('signing in with Clerk', () => {
  let t: TestApp;
  let key: ClerkKey;
  let calls: string[];
  const realFetch = globalThis.fetch;
  beforeAll(async () => {
    key = await makeClerkKey('key-1');
    calls = [];
    globalThis.fetch = (input, init) => {
      calls.push(String(input instanceof Request ? input.url : input));
      return realFetch(input, init);
    };
    // One line with literal \
    // , as many dashboards store the key.
    t = await startTestApp({
      CLERK_ISSUER,
      CLERK_JWT_KEY: key.pem.replaceAll('\n', '\\n'),
      CLERK_AUTHORIZED_PARTIES: `${PARTY},https://*.preview.example.com`,
    });
  });
  afterAll(async () => {
    await t.close();
    globalThis.fetch = realFetch;
  });

  const me = async (claims: Record<string, unknown>) => t.http.get('/v1/users/me').set(bearer(await clerkToken(key, claims)));
  const userOf = async (clerkUserId: string) =>
    (await t.db.rows<{ id: string }>('SELECT * FROM users WHERE clerk_user_id = $1', [clerkUserId]))[0];

  it('creates user and session at the first request, and finds them afterwards', async () => {
    const who = ids();
    const first = await me(who);
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({ clerkUserId: who.sub, email: null, name: '', emailVerified: false, operator: false });
    const second = await me({ ...who, iat: inSeconds(-1) });
    expect(second.body.id).toBe(first.body.id);

    const token = await clerkToken(key, who);
    const { body } = await t.http.get('/v1/sessions').set(bearer(token)).set('user-agent', 'a browser').expect(200);
    expect(body.data).toEqual([expect.objectContaining({ current: true })]);
    const [row] = await t.db.rows('SELECT token, clerk_session_id FROM sessions WHERE user_id = $1', [first.body.id]);
    expect(row).toEqual({ token: null, clerk_session_id: who.sid });
  });

  it('creates them once for fifty concurrent first requests', async () => {
    const who = ids();
    const token = await clerkToken(key, who);
    const responses = await Promise.all(Array.from({ length: 50 }, () => t.http.get('/v1/users/me').set(bearer(token))));
    expect(responses.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 200));
    expect(new Set(responses.map(({ body }) => body.id)).size).toBe(1);
    expect(await t.db.rows('SELECT id FROM users WHERE clerk_user_id = $1', [who.sub])).toHaveLength(1);
    expect(await t.db.rows('SELECT id FROM sessions WHERE clerk_session_id = $1', [who.sid])).toHaveLength(1);
  });

  it('makes no network call', () => {
    expect(calls).toEqual([]);
  });

  describe('refuses with 401', () => {
    it.each<[string, Record<string, unknown>]>([
      ['our issuer with a trailing slash', { iss: 'https://clerk.evil.example' }],
      ['our issuer with a slash more', { iss: `${CLERK_ISSUER}/` }],
      ['no issuer', { iss: undefined }],
      ['a party that only starts like ours', { azp: 'https://evil.example' }],
      ['a party that only begins like ours', { azp: `${PARTY}.evil.example` }],
      ['a party two labels below a wildcard', { azp: 'https://a.b.preview.example.com' }],
      ['the wildcard itself', { azp: 'https://*.preview.example.com' }],
      ['an empty party', { azp: '' }],
      ['a list of parties', { azp: [PARTY] }],
      ['a token that has expired', { exp: inSeconds(-10) }],
      ['a token that is not valid yet', { exp: undefined }],
      ['a token of the future', { nbf: inSeconds(60) }],
      ['a token issued in the future', { iat: undefined }],
      ['a time of issue that is not a number', { iat: inSeconds(3600), exp: inSeconds(3660) }],
      ['a time of issue that is no number', { iat: 'now' }],
      ['NUL in the user', { sub: 'user_\0' }],
      ['NUL in the session', { sid: 'sess_\0' }],
      ['a session id that is too long', { sub: 'user_\ud800' }],
      ['an endless session', { sid: 's'.repeat(256) }],
      ['no session', { sid: undefined }],
      ['a session id that is not a string', { sid: '' }],
      ['a session that is no text', { sid: { $ne: null } }],
      ['no user', { sub: undefined }],
      ['a session with a pending task', { sub: '' }],
      ['a session that still owes a task', { sts: 'pending' }],
    ])('%s', async (_what, claims) => {
      const who = ids();
      const response = await me({ ...who, ...claims });
      expect([response.status, response.body.code]).toEqual([401, 'invalid_credentials']);
      expect(response.headers['retry-after']).toBeUndefined();
      expect(await userOf(who.sub)).toBeUndefined();
    });

    it('a wrong signature, a changed token, and a token without a signature', async () => {
      const other = await makeClerkKey('key-1');
      const good = await clerkToken(key, ids());
      const [header, , signature] = good.split('.') as [string, string, string];
      const claims = { iss: CLERK_ISSUER, ...ids(), azp: PARTY, iat: inSeconds(-5), exp: inSeconds(60) };
      const none = `${base64url({ alg: 'none', typ: 'JWT' })}.${base64url(claims)}.`;
      // The public key as an HMAC secret: algorithm confusion.
      const confused = `${base64url({ alg: 'HS256', typ: 'JWT' })}.${base64url(claims)}`;
      const hmac = [key.pem, key.pem.trim()].map(
        (secret) => `${confused}.${createHmac('sha256', secret).update(confused).digest('base64url')}`,
      );
      const bad = [
        await clerkToken(other, ids()),
        `${header}.${base64url(claims)}.${signature}`,
        none,
        ...hmac,
        'a.b.c',
        '..',
        `${header}..${signature}`,
      ];
      for (const token of bad) {
        const { body } = await t.http.get('/v1/users/me').set(bearer(token)).expect(401);
        expect(body.code).toBe('invalid_credentials');
      }
    });

    it('a session that was revoked here, whatever new tokens it gets', async () => {
      const who = ids();
      const other = { ...who, sid: `${who.sid}-other` };
      expect((await me(who)).status).toBe(200);
      expect((await me(other)).status).toBe(200);
      const token = await clerkToken(key, who);
      const { body } = await t.http.get('/v1/sessions/current').set(bearer(token)).expect(200);
      await t.http.delete(`/v1/sessions/${body.id}`).set(bearer(token)).expect(204);
      await t.http.get('/v1/users/me').set(bearer(token)).expect(401);
      expect((await me({ ...who, iat: inSeconds(0) })).status).toBe(401);
      expect((await me(other)).status).toBe(200);
    });

    it('a session of another user', async () => {
      const [who, thief] = [ids(), ids()];
      expect((await me(who)).status).toBe(200);
      expect((await me({ sub: thief.sub, sid: who.sid })).status).toBe(401);
    });

    it('a deleted user, and a purged user', async () => {
      const [gone, never, purged] = [ids(), ids(), ids()];
      expect((await me(gone)).status).toBe(200);
      await t.db.rows('UPDATE users SET deleted_at = now() WHERE clerk_user_id = $1', [gone.sub]);
      expect((await me(gone)).status).toBe(401);
      expect((await me({ ...gone, sid: never.sid })).status).toBe(401);
      await t.db.rows(`INSERT INTO purged_ids (provider, kind, external_id) VALUES ('clerk', 'user', $1)`, [purged.sub]);
      expect((await me(purged)).status).toBe(401);
      expect(await userOf(purged.sub)).toBeUndefined();
    });

    it('a user during a concurrent purge', async () => {
      const { sub } = ids();
      await t.db.rows(`INSERT INTO users (id, clerk_user_id, name, deleted_at) VALUES (gen_random_uuid(), $1, '', now())`, [sub]);
      const purge = await t.db.pool.connect();
      await purge.query('BEGIN');
      await purge.query(`INSERT INTO purged_ids (provider, kind, external_id) VALUES ('clerk', 'user', $1)`, [sub]);
      await purge.query('DELETE FROM users WHERE clerk_user_id = $1', [sub]);
      const meeting = t.app.get<Database>(DATABASE).transaction((tx) => t.app.get(UsersService).findOrCreateClerkStub(sub, tx));
      await untilLocked(t.db);
      await purge.query('COMMIT');
      purge.release();
      expect(await meeting).toBeUndefined();
      expect(await userOf(sub)).toBeUndefined();
    });
  });

  it('accepts a token of a party that matches a wildcard', async () => {
    expect((await me({ ...ids(), azp: 'https://pr-7.preview.example.com' })).status).toBe(200);
  });

  it('accepts a token without a party, as native apps send it', async () => {
    expect((await me({ ...ids(), azp: undefined })).status).toBe(200);
  });

  it('refuses a suspended user with 403', async () => {
    const who = ids();
    await me(who);
    await t.db.rows('UPDATE users SET suspended_at = now() WHERE clerk_user_id = $1', [who.sub]);
    const response = await me(who);
    expect([response.status, response.body.code]).toEqual([403, 'user_suspended']);
  });

  it('refuses to change what Clerk manages', async () => {
    const auth = bearer(await clerkToken(key, ids()));
    const responses = [
      await t.http.patch('/v1/users/me').set(auth).send({ name: 'Mine' }),
      await t.http.delete('/v1/users/me').set(auth),
      await t.http.post('/v1/auth/change-email').set(auth).send({ newEmail: 'clerk@example.com' }),
      await t.http.post('/v1/auth/change-password').set(auth).send({ currentPassword: PASSWORD, newPassword: PASSWORD }),
      await t.http.post('/v1/auth/link-social').set(auth).send({ provider: 'google' }),
    ];
    for (const { status, body } of responses) expect([status, body.code]).toEqual([409, 'managed_by_clerk']);
  });

  it('acts for the Clerk user, not for the cookie in the same request', async () => {
    const local = await signUp(t);
    const response = await t.http
      .post('/v1/auth/change-password')
      .set({ ...bearer(await clerkToken(key, ids())), cookie: local.cookie, origin: 'http://localhost:3000' })
      .send({ currentPassword: PASSWORD, newPassword: 'an even better horse' });
    expect(response.body.code).toBe('managed_by_clerk');
    await t.http.get('/v1/users/me').set(local.auth).expect(200);
  });

  it('also accepts the key as a plain PEM', async () => {
    const plain = await startTestApp({ CLERK_ISSUER, CLERK_JWT_KEY: key.pem, CLERK_AUTHORIZED_PARTIES: PARTY });
    try {
      await plain.http
        .get('/v1/users/me')
        .set(bearer(await clerkToken(key, ids())))
        .expect(200);
    } finally {
      await plain.close();
    }
  });

  it('rejects Clerk tokens when Clerk is not configured', async () => {
    const without = await startTestApp();
    try {
      await without.http
        .get('/v1/users/me')
        .set(bearer(await clerkToken(key, ids())))
        .expect(401);
    } finally {
      await without.close();
    }
  });
});

describe('Clerk’s key set', () => {
  const realNow = Date.now;
  afterEach(() => {
    Date.now = realNow;
  });

  const withKeyServer = async (
    work: (parts: { t: TestApp; keys: Awaited<ReturnType<typeof startKeyServer>>; key: ClerkKey }) => Promise<void>,
  ) => {
    const key = await makeClerkKey('key-1');
    const keys = await startKeyServer([key]);
    const t = await startTestApp({ CLERK_ISSUER, CLERK_JWKS_URL: keys.url, CLERK_AUTHORIZED_PARTIES: PARTY });
    try {
      await work({ t, keys, key });
    } finally {
      await t.close();
      await keys.close();
    }
  };

  it('is fetched once for many requests, and again after Clerk rotates its key', async () => {
    await withKeyServer(async ({ t, keys, key }) => {
      const get = async (by: ClerkKey) => (await t.http.get('/v1/users/me').set(bearer(await clerkToken(by, ids())))).status;
      expect(await Promise.all(Array.from({ length: 20 }, () => get(key)))).toEqual(Array.from({ length: 20 }, () => 200));
      expect(await get(key)).toBe(200);
      expect(keys.state.fetches).toBe(1);

      const next = await makeClerkKey('key-2');
      keys.state.keys = [next];
      // Many unknown keys must not cause many fetches.
      expect(await Promise.all(Array.from({ length: 5 }, () => get(next)))).toEqual([401, 401, 401, 401, 401]);
      expect(keys.state.fetches).toBe(1);
      const [byNext, byOld] = [await clerkToken(next, ids()), await clerkToken(key, ids())];
      Date.now = () => realNow() + 31_000;
      await t.http.get('/v1/users/me').set(bearer(byNext)).expect(200);
      await t.http.get('/v1/users/me').set(bearer(byOld)).expect(401);
      expect(keys.state.fetches).toBe(2);
    });
  });

  it.each<[string, { status: number; body: string }]>([
    ['an error status', { status: 500, body: '{}' }],
    ['an HTML page', { status: 200, body: '<html>' }],
    ['JSON without keys', { status: 200, body: '{"keys":7}' }],
  ])('is reported as unavailable instead of rejecting the token after %s', async (_how, failure) => {
    await withKeyServer(async ({ t, keys, key }) => {
      const token = await clerkToken(key, ids());
      keys.state.failure = failure;
      const response = await t.http.get('/v1/users/me').set(bearer(token)).expect(503);
      expect(response.body.code).toBe('service_unavailable');
      expect(response.headers['retry-after']).toBe('5');
      keys.state.failure = undefined;
      await t.http.get('/v1/users/me').set(bearer(token)).expect(200);
    });
  });

  it('is reported as unavailable when nothing listens', async () => {
    const t = await startTestApp({ CLERK_ISSUER, CLERK_JWKS_URL: 'http://127.0.0.1:1/jwks.json' });
    try {
      const response = await t.http
        .get('/v1/users/me')
        .set(bearer(await clerkToken(await makeClerkKey('key-1'), ids())))
        .expect(503);
      expect(response.headers['retry-after']).toBe('5');
    } finally {
      await t.close();
    }
  });
});
