import type { ClerkIdentity } from './clerk-tokens.service.js';

/** What `access/` needs from the house when it meets a Clerk session for the first time; `auth/` fills it. */
export abstract class ClerkSignIn {
  /** Makes the missing rows of user and session. Changes nothing for an id whose row is a tombstone or was purged. */
  abstract provision(identity: ClerkIdentity, device: { ipAddress?: string; userAgent?: string }): Promise<void>;
}
