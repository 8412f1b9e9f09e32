import type { ClerkIdentity } from './clerk-tokens.service.js';

/** Lets the guard create the rows of a Clerk session on its first request. Implemented in `auth/`. */
export abstract class ClerkSignIn {
  /** Creates the missing user and session rows. Does nothing when the user was deleted or purged. */
  abstract provision(identity: ClerkIdentity, device: { ipAddress?: string; userAgent?: string }): Promise<void>;
}
