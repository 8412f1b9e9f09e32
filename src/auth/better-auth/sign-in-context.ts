import { AsyncLocalStorage } from 'node:async_hooks';
import { getOAuthState } from 'better-auth/api';

/** State of one call of Better Auth, for hooks and adapter operations that it does not pass it to. */
export interface SignInContext {
  path: string;
  requestId: string | null;
  ipAddress: string | null;
  /** The password hash or linked account that the caller signed in with. It must still exist once the session does. */
  signInMethod?: { field: 'password' | 'id'; value: string };
  /** Whether a reset was requested from a known device or network of the account's owner. */
  isKnown?: boolean;
  callbackURL?: string;
  newUser?: { id: string; email: string; emailVerified: boolean };
  failure?: Error;
}

export const signInContext = new AsyncLocalStorage<SignInContext>();

/** Returns whether a request links an account to a signed-in user, rather than signing a user in. */
export async function isLinking(path: string): Promise<boolean> {
  return path === '/link-social' || (path.startsWith('/callback/') && (await getOAuthState())?.link !== undefined);
}
