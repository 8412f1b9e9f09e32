import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export interface ProviderPerson {
  /** The provider's id of the user; GitHub's ids are numbers. */
  id: string;
  email: string | null;
  emailVerified: boolean;
  name: string;
}

interface Grant {
  person: ProviderPerson;
  clientId: string;
  redirectUri: string;
  challenge: string | null;
}

const HOSTS = ['oauth2.googleapis.com', 'www.googleapis.com', 'github.com', 'api.github.com'];

export const GOOGLE_ENVIRONMENT = { GOOGLE_CLIENT_ID: 'google-client', GOOGLE_CLIENT_SECRET: 'google-secret' };
export const GITHUB_ENVIRONMENT = { GITHUB_CLIENT_ID: 'github-client', GITHUB_CLIENT_SECRET: 'github-secret' };
const SECRETS: Record<string, string> = { 'google-client': 'google-secret', 'github-client': 'github-secret' };

/** The part of Google and GitHub that signing in needs, on a local server. `fetch` redirects requests for their hosts to it. */
export async function startOAuthSimulator() {
  const { publicKey, privateKey } = await generateKeyPair('RS256');
  const grants = new Map<string, Grant>();
  const people = new Map<string, ProviderPerson>();
  const tokens: string[] = [];
  /** Hosts that fail: unreachable, or with a status. */
  const broken = new Map<string, 'away' | number>();
  const realFetch = globalThis.fetch;

  const token = (prefix: string) => {
    const made = `${prefix}-${randomBytes(16).toString('hex')}`;
    tokens.push(made);
    return made;
  };

  const idTokenOf = (person: ProviderPerson, claims: Record<string, unknown> = {}) =>
    new SignJWT({
      iss: 'https://accounts.google.com',
      aud: 'google-client',
      email: person.email,
      email_verified: person.emailVerified,
      name: person.name,
      picture: 'https://example.com/p.png',
      ...claims,
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'simulated' })
      .setSubject(person.id)
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey);

  const exchange = async (request: IncomingMessage, isGoogle: boolean) => {
    const form = new URLSearchParams(await read(request));
    const basic = /^Basic (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    const [id, secret] =
      basic === undefined ? [form.get('client_id'), form.get('client_secret')] : Buffer.from(basic, 'base64').toString().split(':');
    const grant = grants.get(form.get('code') ?? '');
    grants.delete(form.get('code') ?? '');
    const challenge = createHash('sha256')
      .update(form.get('code_verifier') ?? '')
      .digest('base64url');
    const isGood =
      grant !== undefined &&
      id === grant.clientId &&
      secret === SECRETS[grant.clientId] &&
      form.get('redirect_uri') === grant.redirectUri &&
      (grant.challenge === null || grant.challenge === challenge);
    if (!isGood) return { status: isGoogle ? 400 : 200, body: { error: 'bad_verification_code' } };
    const accessToken = token('access');
    people.set(accessToken, grant.person);
    const idToken = isGoogle ? await idTokenOf(grant.person) : undefined;
    if (idToken !== undefined) tokens.push(idToken);
    const body = {
      access_token: accessToken,
      refresh_token: token('refresh'),
      id_token: idToken,
      token_type: 'bearer',
      expires_in: 3600,
      scope: 'email',
    };
    return { status: 200, body };
  };

  const answer = async (request: IncomingMessage): Promise<{ status: number; body: unknown }> => {
    const host = String(request.headers['x-simulated-host']);
    const failure = broken.get(host);
    if (typeof failure === 'number') return { status: failure, body: { message: 'simulated failure' } };
    const person = people.get(/^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '');
    switch (`${host}${request.url}`) {
      case 'oauth2.googleapis.com/token':
        return exchange(request, true);
      case 'github.com/login/oauth/access_token':
        return exchange(request, false);
      case 'www.googleapis.com/oauth2/v3/certs':
        return { status: 200, body: { keys: [{ ...(await exportJWK(publicKey)), kid: 'simulated', alg: 'RS256', use: 'sig' }] } };
      case 'api.github.com/user':
        return person === undefined
          ? { status: 401, body: {} }
          : {
              status: 200,
              body: {
                id: Number(person.id),
                login: person.name,
                name: person.name,
                email: person.email,
                avatar_url: 'https://example.com/a.png',
              },
            };
      case 'api.github.com/user/emails':
        return { status: 200, body: person?.email == null ? [] : [{ email: person.email, primary: true, verified: person.emailVerified }] };
      default:
        return { status: 404, body: {} };
    }
  };

  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    void answer(request).then(({ status, body }) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  globalThis.fetch = (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (!HOSTS.includes(url.hostname)) return realFetch(input, init);
    // Nothing listens on port 1.
    const target = broken.get(url.hostname) === 'away' ? 'http://127.0.0.1:1' : base;
    const headers = new Headers(init?.headers);
    headers.set('x-simulated-host', url.hostname);
    return realFetch(`${target}${url.pathname}${url.search}`, { ...init, headers });
  };

  return {
    broken,
    /** Every token that was issued. */
    tokens,
    idTokenOf,
    /** The user agrees on the provider's page; returns the URL to which the provider redirects the browser. */
    agree(authorizationUrl: string, person: ProviderPerson): string {
      const { searchParams } = new URL(authorizationUrl);
      const code = randomBytes(12).toString('hex');
      const redirectUri = searchParams.get('redirect_uri')!;
      grants.set(code, { person, clientId: searchParams.get('client_id')!, redirectUri, challenge: searchParams.get('code_challenge') });
      const target = new URL(redirectUri);
      return `${target.pathname}?${new URLSearchParams({ code, state: searchParams.get('state')! }).toString()}`;
    },
    /** The user declines. */
    deny(authorizationUrl: string): string {
      const { searchParams } = new URL(authorizationUrl);
      const query = new URLSearchParams({ error: 'access_denied', error_description: 'No, thanks', state: searchParams.get('state')! });
      return `${new URL(searchParams.get('redirect_uri')!).pathname}?${query.toString()}`;
    },
    async close(): Promise<void> {
      globalThis.fetch = realFetch;
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

export type OAuthSimulator = Awaited<ReturnType<typeof startOAuthSimulator>>;

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
