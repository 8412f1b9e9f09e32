import { verifyJWT } from 'better-auth/crypto';

/** Reads the token of a verification link from a version before 0.2: a JWT signed by Better Auth. */
export async function readLegacyToken(token: string, secret: string): Promise<{ userId: string; email: string } | undefined> {
  const { userId, email, updateTo, requestType } = (await verifyJWT<Record<string, unknown>>(token, secret)) ?? {};
  if (typeof userId !== 'string' || typeof email !== 'string') return undefined;
  return updateTo === undefined && requestType === undefined ? { userId, email } : undefined;
}
