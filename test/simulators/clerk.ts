import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type CryptoKey, exportJWK, exportSPKI, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose';

export const CLERK_ISSUER = 'https://clerk.example.com';

export interface ClerkKey {
  id: string;
  privateKey: CryptoKey;
  pem: string;
  jwk: JWK;
}

export async function makeClerkKey(id: string): Promise<ClerkKey> {
  const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { id, privateKey, pem: await exportSPKI(publicKey), jwk: { ...(await exportJWK(publicKey)), kid: id, alg: 'RS256', use: 'sig' } };
}

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1000) + seconds;

/** A session token as Clerk makes it; a claim with the value undefined is omitted. */
export function clerkToken(key: ClerkKey, claims: JWTPayload & Record<string, unknown> = {}): Promise<string> {
  const all = {
    iss: CLERK_ISSUER,
    sub: 'user_1',
    sid: 'sess_1',
    azp: 'https://app.example.com',
    sts: 'active',
    v: 2,
    iat: inSeconds(-5),
    nbf: inSeconds(-10),
    exp: inSeconds(60),
    ...claims,
  };
  return new SignJWT(all).setProtectedHeader({ alg: 'RS256', kid: key.id, typ: 'JWT' }).sign(key.privateKey);
}

/** Serves a key set, and counts the requests. */
export async function startKeyServer(keys: ClerkKey[]) {
  const state = { keys, fetches: 0, failure: undefined as { status: number; body: string } | undefined };
  const server = createServer((_request, response) => {
    state.fetches += 1;
    const { status, body } = state.failure ?? { status: 200, body: JSON.stringify({ keys: state.keys.map(({ jwk }) => jwk) }) };
    response.writeHead(status, { 'content-type': 'application/json' }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    state,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/.well-known/jwks.json`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
