import { AsyncLocalStorage } from 'node:async_hooks';

/** What one call of Better Auth has found out on its way, for the places that it does not pass it to. */
export interface SignInContext {
  /** The route below `/v1/auth`. */
  path: string;
  requestId: string | null;
  ipAddress: string | null;
  /** What of an account let the caller in: it must still be there once the session is. */
  wayIn?: { field: 'password' | 'id'; value: string };
  /** Whether a reset was asked for from a device or network of the owner. */
  isKnown?: boolean;
  /** Where the caller wants to be sent after following the link in a mail. */
  callbackURL?: string;
  /** Made by this request. */
  newUser?: { id: string; email: string; emailVerified: boolean };
  /** The last failure of the database. */
  failure?: Error;
}

export const signInContext = new AsyncLocalStorage<SignInContext>();
