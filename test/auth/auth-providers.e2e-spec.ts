import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { ProviderTokens } from '../../src/accounts/provider-tokens.service.js';
import { OutboxService } from '../../src/outbox/outbox.service.js';
import {
  GITHUB_ENVIRONMENT,
  GOOGLE_ENVIRONMENT,
  type OAuthSimulator,
  type ProviderPerson,
  startOAuthSimulator,
} from '../simulators/oauth.js';
import { startTestApp, testEnvironment, type TestApp } from '../support/app.js';
import { dumpOf } from '../support/dump.js';
import { PASSWORD, signIn, signUp } from '../support/people.js';

const TRUSTED = 'https://app.example.com';
const PAGES = { callbackURL: `${TRUSTED}/home`, newUserCallbackURL: `${TRUSTED}/welcome`, errorCallbackURL: `${TRUSTED}/sorry` };

type Provider = 'google' | 'github';

let counter = 1000;
const providerPerson = (given: Partial<ProviderPerson> = {}): ProviderPerson => {
  counter += 1;
  return { id: String(counter), email: `provider-${counter}@example.net`, emailVerified: true, name: `Person ${counter}`, ...given };
};

describe('signing in with Google and GitHub', () => {
  let t: TestApp;
  let providers: OAuthSimulator;
  beforeAll(async () => {
    providers = await startOAuthSimulator();
    t = await startTestApp({ ...GOOGLE_ENVIRONMENT, ...GITHUB_ENVIRONMENT, TRUSTED_ORIGINS: TRUSTED });
  });
  afterEach(() => providers.broken.clear());
  afterAll(async () => {
    await t.close();
    await providers.close();
  });

  const me = (headers: Record<string, string>) => t.http.get('/v1/users/me').set(headers);
  const proveEmail = (userId: string) =>
    t.db.rows('UPDATE users SET email_verified = true, email_verified_at = now() WHERE id = $1', [userId]);
  const accountsOf = (userId: string) =>
    t.db.rows<{
      id: string;
      provider: string;
      provider_account_id: string;
      access_token: string;
      refresh_token: string;
      id_token: string | null;
    }>('SELECT * FROM accounts WHERE user_id = $1 ORDER BY provider', [userId]);

  const begin = async (
    provider: Provider,
    body: Record<string, unknown> = PAGES,
    headers: Record<string, string> = {},
    route = 'sign-in/social',
  ) => {
    const answer = await t.http
      .post(`/v1/auth/${route}`)
      .set(headers)
      .send({ provider, ...body })
      .expect(200);
    const cookies = (answer.headers['set-cookie'] as unknown as string[]).map((line) => line.split(';', 1)[0]!);
    return { url: answer.body.url as string, cookie: cookies.join('; '), answer };
  };
  const finish = async (path: string, cookie: string) => {
    const answer = await t.http.get(path).set('cookie', cookie).expect(302);
    const lines = (answer.headers['set-cookie'] ?? []) as unknown as string[];
    const session = lines.find((line) => line.startsWith('better-auth.session_token='))?.split(';', 1)[0];
    return { location: new URL(answer.headers['location']!), session: session ?? '', token: answer.headers['set-auth-token'] };
  };
  const signInWith = async (provider: Provider, person: ProviderPerson) => {
    const { url, cookie } = await begin(provider);
    return finish(providers.agree(url, person), cookie);
  };
  const expectError = ({ location, session }: { location: URL; session: string }, error: string) => {
    expect(`${location.origin}${location.pathname}`).toBe(`${TRUSTED}/sorry`);
    expect(location.searchParams.get('error')).toBe(error);
    expect(session).toBe('');
  };

  describe.each<[Provider, string]>([
    ['google', 'https://accounts.google.com/o/oauth2/v2/auth'],
    ['github', 'https://github.com/login/oauth/authorize'],
  ])('%s', (provider, page) => {
    it('starts on the provider’s page, with a state bound to the browser', async () => {
      const { url, answer } = await begin(provider);
      const target = new URL(url);
      expect(`${target.origin}${target.pathname}`).toBe(page);
      expect(target.searchParams.get('client_id')).toBe(`${provider}-client`);
      expect(target.searchParams.get('redirect_uri')).toBe(`http://localhost:3000/v1/auth/callback/${provider}`);
      expect(target.searchParams.get('code_challenge_method')).toBe('S256');
      expect(answer.body.redirect).toBe(true);
      expect(answer.headers['location']).toBe(url);
      const [line] = answer.headers['set-cookie'] as unknown as string[];
      expect(line).toMatch(/^better-auth\.state=.*; HttpOnly.*; SameSite=Lax/i);
    });

    it('creates a user with the address that the provider has verified, and signs in', async () => {
      const person = providerPerson();
      const { location, session, token } = await signInWith(provider, person);
      expect(location.href).toBe(PAGES.newUserCallbackURL);
      const { body } = await me({ cookie: session }).expect(200);
      expect(body).toMatchObject({ email: person.email, emailVerified: true, name: person.name });
      await me({ authorization: `Bearer ${token}` }).expect(200);
      expect(await accountsOf(body.id)).toEqual([expect.objectContaining({ provider, provider_account_id: person.id })]);
    });

    it('finds a returning user by the provider’s id, even with another address', async () => {
      const person = providerPerson();
      const first = await me({ cookie: (await signInWith(provider, person)).session });
      const again = await signInWith(provider, { ...person, email: 'moved@example.net' });
      expect(again.location.href).toBe(PAGES.callbackURL);
      const { body } = await me({ cookie: again.session }).expect(200);
      expect(body).toMatchObject({ id: first.body.id, email: person.email });
    });

    it('links the account to the user who has verified the same address', async () => {
      const person = await signUp(t);
      await proveEmail(person.id);
      const { session } = await signInWith(provider, providerPerson({ email: person.email }));
      expect((await me({ cookie: session }).expect(200)).body.id).toBe(person.id);
      expect((await accountsOf(person.id)).map((account) => account.provider)).toEqual(['credential', provider]);
      await me(person.auth).expect(200);
      await signIn(t, person);
    });

    it('takes the address over from a user who never verified it, and ends that user’s sessions', async () => {
      const squatter = await signUp(t);
      const { session } = await signInWith(provider, providerPerson({ email: squatter.email }));
      const { body } = await me({ cookie: session }).expect(200);
      expect(body).toMatchObject({ id: squatter.id, emailVerified: true });
      expect((await accountsOf(squatter.id)).map((account) => account.provider)).toEqual([provider]);
      await me(squatter.auth).expect(401);
      await me({ cookie: squatter.cookie }).expect(401);
      await t.http.post('/v1/auth/sign-in/email').send({ email: squatter.email, password: PASSWORD }).expect(401);
    });

    it('takes nothing over with an address that the provider has not verified', async () => {
      for (const proved of [true, false]) {
        const person = await signUp(t);
        if (proved) await proveEmail(person.id);
        expectError(await signInWith(provider, providerPerson({ email: person.email, emailVerified: false })), 'account_not_linked');
        expect(await accountsOf(person.id)).toHaveLength(1);
        await me(person.auth).expect(200);
      }
    });

    it('creates an unverified user from an address that the provider has not verified', async () => {
      const person = providerPerson({ emailVerified: false });
      const { session } = await signInWith(provider, person);
      expect((await me({ cookie: session }).expect(200)).body.emailVerified).toBe(false);
    });

    it('redirects with an error when the user declines', async () => {
      const { url, cookie } = await begin(provider);
      expectError(await finish(providers.deny(url), cookie), 'access_denied');
    });

    it('redirects to our own error page when the request named none', async () => {
      const { url, cookie } = await begin(provider, {});
      const { location } = await finish(providers.deny(url), cookie);
      expect(location.href.split('?')[0]).toBe('http://localhost:3000/v1/auth/error');
      const { body } = await t.http.get(`${location.pathname}${location.search}`).expect(400);
      expect(body).toMatchObject({ code: 'provider_sign_in_failed', detail: expect.stringContaining('access_denied') });
    });

    it('rejects a missing, invalid, foreign, expired or used state', async () => {
      const person = providerPerson();
      const code = 'x';
      const mine = await begin(provider);
      const other = await begin(provider);
      const lost = [
        await finish(`/v1/auth/callback/${provider}?code=${code}`, mine.cookie),
        await finish(`/v1/auth/callback/${provider}?code=${code}&state=made-up`, mine.cookie),
      ];
      for (const { location, session } of lost) {
        expect(location.pathname).toBe('/v1/auth/error');
        expect(location.searchParams.get('error')).toMatch(/^state_/);
        expect(session).toBe('');
      }
      expectError(await finish(providers.agree(mine.url, person), other.cookie), 'state_mismatch');
      expectError(await finish(providers.agree(mine.url, person), ''), 'state_mismatch');

      const spentPath = providers.agree(mine.url, person);
      expect((await finish(spentPath, mine.cookie)).session).not.toBe('');
      expect((await finish(providers.agree(mine.url, person), mine.cookie)).location.searchParams.get('error')).toBe('state_mismatch');

      const late = await begin(provider);
      await t.db.rows(
        `UPDATE verifications SET expires_at = now() - interval '1 second', value = regexp_replace(value, '"expiresAt":\\d+', '"expiresAt":1')`,
      );
      const answer = await finish(providers.agree(late.url, person), late.cookie);
      expect(answer.location.searchParams.get('error')).toBe('state_mismatch');
      expect(answer.session).toBe('');
    });

    it('rejects a code that the provider does not know', async () => {
      const { url, cookie } = await begin(provider);
      const state = new URL(url).searchParams.get('state')!;
      expectError(await finish(`/v1/auth/callback/${provider}?code=made-up&state=${state}`, cookie), 'invalid_code');
    });

    it('redirects a suspended user with an error', async () => {
      const person = providerPerson();
      const { body } = await me({ cookie: (await signInWith(provider, person)).session });
      await t.db.rows('UPDATE users SET suspended_at = now() WHERE id = $1', [body.id]);
      expectError(await signInWith(provider, person), 'USER_SUSPENDED');
    });

    it('creates one user when a person returns from several windows at once', async () => {
      const person = providerPerson();
      const windows = await Promise.all(Array.from({ length: 5 }, () => begin(provider)));
      const answers = await Promise.all(windows.map(({ url, cookie }) => finish(providers.agree(url, person), cookie)));
      expect(answers.some(({ session }) => session !== '')).toBe(true);
      for (const answer of answers)
        expect([`${TRUSTED}/welcome`, `${TRUSTED}/home`, `${TRUSTED}/sorry`]).toContain(answer.location.href.split('?')[0]);
      expect(await t.db.rows('SELECT id FROM users WHERE email = $1', [person.email])).toHaveLength(1);
      expect(await t.db.rows('SELECT id FROM accounts WHERE provider_account_id = $1', [person.id])).toHaveLength(1);
    });

    it('leaves no session of the previous user that was opened during the take-over', async () => {
      for (let round = 0; round < 2; round += 1) {
        const squatter = await signUp(t);
        const { url, cookie } = await begin(provider);
        const path = providers.agree(url, providerPerson({ email: squatter.email }));
        const attempts = Array.from({ length: 4 }, () =>
          t.http.post('/v1/auth/sign-in/email').send({ email: squatter.email, password: PASSWORD }),
        );
        const [owner, ...answers] = await Promise.all([finish(path, cookie), ...attempts]);
        const { body } = await me({ cookie: owner.session }).expect(200);
        expect(body.id).toBe(squatter.id);
        for (const answer of answers) {
          expect([200, 401]).toContain(answer.status);
          if (answer.status === 200) await me({ authorization: `Bearer ${answer.body.token}` }).expect(401);
        }
        expect(await t.db.rows('SELECT id FROM sessions WHERE user_id = $1', [squatter.id])).toHaveLength(1);
      }
    });
  });

  it.each<[Provider, string, 'away' | number, string]>([
    ['google', 'oauth2.googleapis.com', 'away', 'invalid_code'],
    ['google', 'oauth2.googleapis.com', 500, 'invalid_code'],
    ['google', 'oauth2.googleapis.com', 302, 'invalid_code'],
    ['github', 'github.com', 'away', 'invalid_code'],
    ['github', 'github.com', 503, 'invalid_code'],
    ['github', 'api.github.com', 'away', 'unable_to_get_user_info'],
    ['github', 'api.github.com', 500, 'unable_to_get_user_info'],
  ])('redirects with an error when %s is broken (%s: %s)', async (provider, host, how, error) => {
    const { url, cookie } = await begin(provider);
    providers.broken.set(host, how);
    expectError(await finish(providers.agree(url, providerPerson()), cookie), error);
  });

  it('redirects with an error when GitHub returns no address', async () => {
    expectError(await signInWith('github', providerPerson({ email: null })), 'email_not_found');
  });

  it('accepts a Google ID token from a front end', async () => {
    const person = providerPerson();
    const send = (token: string) => t.http.post('/v1/auth/sign-in/social').send({ provider: 'google', idToken: { token } });
    const { body, headers } = await send(await providers.idTokenOf(person)).expect(200);
    expect(body).toMatchObject({ redirect: false, user: { email: person.email, emailVerified: true } });
    expect(body.token).toBe(headers['set-auth-token']);
    await me({ authorization: `Bearer ${body.token}` }).expect(200);

    const token = await providers.idTokenOf(person);
    for (const bad of [
      await providers.idTokenOf(person, { aud: 'another client' }),
      await providers.idTokenOf(person, { iss: 'https://evil.example' }),
      `${token.slice(0, -8)}AAAAAAAA`,
      'no token',
    ])
      expect((await send(bad).expect(400)).body.code).toBe('invalid_token');
    providers.broken.set('www.googleapis.com', 'away');
    expect((await send(token).expect(400)).body.code).toBe('invalid_token');
    expect((await t.http.post('/v1/auth/sign-in/social').send({ provider: 'github', idToken: { token } }).expect(404)).body.code).toBe(
      'provider_not_found',
    );
  });

  describe('linking', () => {
    const link = async (headers: Record<string, string>, person: ProviderPerson, provider: Provider = 'google') => {
      const { url, cookie } = await begin(provider, PAGES, headers, 'link-social');
      return finish(providers.agree(url, person), cookie);
    };

    it('adds a sign-in method to the signed-in user, and lists it', async () => {
      const person = await signUp(t);
      const { location } = await link(person.auth, providerPerson({ email: person.email }));
      expect(location.href).toBe(PAGES.callbackURL);
      await me(person.auth).expect(200);
      const { body } = await t.http.get('/v1/users/me/accounts').set(person.auth).expect(200);
      expect(body.data.map(({ provider }: { provider: string }) => provider)).toEqual(['credential', 'google']);
      expect(Object.keys(body.data[1]).sort()).toEqual(['createdAt', 'id', 'provider', 'providerAccountId']);
    });

    it('also works with an ID token, and keeps the password and the sessions', async () => {
      const person = await signUp(t);
      const token = await providers.idTokenOf(providerPerson({ email: person.email }));
      await t.http.post('/v1/auth/link-social').set(person.auth).send({ provider: 'google', idToken: { token } }).expect(200);
      await me(person.auth).expect(200);
      expect((await accountsOf(person.id)).map(({ provider }) => provider)).toEqual(['credential', 'google']);
    });

    it('requires a session', async () => {
      expect((await t.http.post('/v1/auth/link-social').send({ provider: 'google' }).expect(401)).body.code).toBe('signed_out');
    });

    it('rejects an account with another address, of another user, or with an unverified address', async () => {
      const person = await signUp(t);
      expectError(await link(person.auth, providerPerson()), 'email_does_not_match');
      expectError(await link(person.auth, providerPerson({ email: person.email, emailVerified: false })), 'unable_to_link_account');
      const taken = providerPerson();
      await signInWith('google', taken);
      expectError(await link(person.auth, { ...taken, email: person.email }), 'account_already_linked_to_different_user');
      const token = await providers.idTokenOf({ ...taken, email: person.email });
      const { body } = await t.http
        .post('/v1/auth/link-social')
        .set(person.auth)
        .send({ provider: 'google', idToken: { token } })
        .expect(400);
      expect(body.code).toBe('provider_sign_in_failed');
      expect(await accountsOf(person.id)).toHaveLength(1);
    });

    it('does nothing when the session that started it has ended', async () => {
      const person = await signUp(t);
      const { url, cookie } = await begin('google', PAGES, person.auth, 'link-social');
      await t.http.post('/v1/auth/sign-out').set(person.auth).expect(200);
      expectError(await finish(providers.agree(url, providerPerson({ email: person.email })), cookie), 'unable_to_link_account');
      expect(await accountsOf(person.id)).toHaveLength(1);
    });
  });

  describe('unlinking', () => {
    const unlink = (headers: Record<string, string>, id: string) => t.http.delete(`/v1/users/me/accounts/${id}`).set(headers);
    const withTwoMethods = async () => {
      const person = await signUp(t);
      await proveEmail(person.id);
      await signInWith('google', providerPerson({ email: person.email }));
      const [credential, google] = await accountsOf(person.id);
      return { person, credential: credential!, google: google! };
    };

    it('removes a sign-in method', async () => {
      const { person, credential, google } = await withTwoMethods();
      await unlink(person.auth, credential.id).expect(204);
      await t.http.post('/v1/auth/sign-in/email').send({ email: person.email, password: PASSWORD }).expect(401);
      expect((await unlink(person.auth, google.id).expect(409)).body.code).toBe('last_account');
      expect((await unlink(person.auth, credential.id).expect(404)).body.code).toBe('account_not_found');
    });

    it('does not find accounts of other users, and rejects an invalid id', async () => {
      const [{ google }, otherUser] = [await withTwoMethods(), await signUp(t)];
      expect((await unlink(otherUser.auth, google.id).expect(404)).body.code).toBe('account_not_found');
      expect((await unlink(otherUser.auth, 'abc').expect(400)).body.code).toBe('invalid_request');
      await unlink({}, google.id).expect(401);
    });

    it('keeps the last sign-in method, also in concurrent requests', async () => {
      for (let round = 0; round < 3; round += 1) {
        const { person, credential, google } = await withTwoMethods();
        const answers = await Promise.all([unlink(person.auth, credential.id), unlink(person.auth, google.id)]);
        expect(answers.map(({ status }) => status).sort()).toEqual([204, 409]);
        expect(await accountsOf(person.id)).toHaveLength(1);
      }
    });
  });

  describe('provider tokens', () => {
    it('are encrypted with a named key, and appear in no table', async () => {
      const person = providerPerson();
      const { session } = await signInWith('google', person);
      await signInWith('google', person);
      const { body } = await me({ cookie: session });
      const [account] = await accountsOf(body.id);
      for (const stored of [account!.access_token, account!.refresh_token, account!.id_token]) expect(stored).toMatch(/^test\.[\w-]{20,}$/);
      const dump = await dumpOf(t.db);
      expect(providers.tokens.length).toBeGreaterThan(5);
      for (const token of providers.tokens) expect(dump).not.toContain(token);
    });

    it('are re-encrypted with a new key by a command, after which the old key can be removed', async () => {
      const person = providerPerson();
      const { session } = await signInWith('google', person);
      const { body } = await me({ cookie: session });
      const given = providers.tokens.slice(-3);
      await t.app.get(OutboxService, { strict: false }).enqueue('nobody', { waits: true });
      const keys = (...ids: string[]) => ids.map((id) => `${id}:${Buffer.alloc(32, id === 'test' ? 7 : 8).toString('base64')}`).join(',');
      const rotate = async (ENCRYPTION_KEYS: string) => {
        const env = { ...process.env, ...testEnvironment(t.db.url), NODE_ENV: 'production', ENCRYPTION_KEYS };
        return (await promisify(execFile)(process.execPath, ['dist/cli/cli.js', 'keys', 'rotate'], { env })).stdout;
      };

      const [{ count } = { count: '0' }] = await t.db.rows<{ count: string }>(
        'SELECT count(*) FROM accounts WHERE access_token IS NOT NULL OR id_token IS NOT NULL',
      );
      expect(await rotate(keys('new', 'test'))).toMatch(new RegExp(`^Encrypted ${count} accounts, [1-9]\\d* outbox entries`));
      expect(await dumpOf(t.db)).not.toMatch(/"test\./);

      const after = await startTestApp({ ...GOOGLE_ENVIRONMENT, TRUSTED_ORIGINS: TRUSTED, ENCRYPTION_KEYS: keys('new') }, t.db);
      try {
        const [account] = await accountsOf(body.id);
        const opened = after.app
          .get(ProviderTokens, { strict: false })
          .decrypt({ accessToken: account!.access_token, refreshToken: account!.refresh_token, idToken: account!.id_token });
        expect(Object.values(opened).sort()).toEqual([...given].sort());
        const { url, cookie } = await begin('google');
        const answer = await after.http.get(providers.agree(url, person)).set('cookie', cookie).expect(302);
        expect(answer.headers['location']).toBe(PAGES.callbackURL);
      } finally {
        await after.close();
      }
    });
  });
});

describe('providers without configuration', () => {
  it('do not exist', async () => {
    const t = await startTestApp(GITHUB_ENVIRONMENT);
    try {
      const { auth } = await signUp(t);
      for (const [route, headers] of [
        ['sign-in/social', {}],
        ['link-social', auth],
      ] as const) {
        const { body } = await t.http.post(`/v1/auth/${route}`).set(headers).send({ provider: 'google' }).expect(404);
        expect(body.code).toBe('provider_not_found');
        await t.http.post(`/v1/auth/${route}`).set(headers).send({ provider: 'github' }).expect(200);
        const unknown = await t.http.post(`/v1/auth/${route}`).set(headers).send({ provider: 'facebook' }).expect(400);
        expect(unknown.body.errors).toEqual([expect.objectContaining({ path: 'body.provider' })]);
      }
    } finally {
      await t.close();
    }
  });
});
