import { createHash, randomBytes } from 'node:crypto';

export const AUTH_BASE_PATH = '/v1/auth';

export const LINK_LIFETIME_SECONDS = 3600;

export function newLinkToken(): string {
  return randomBytes(24).toString('base64url');
}

/** The database stores this instead of the token, so a leaked table opens no link. */
export function linkIdentifier(prefix: string, token: string): string {
  return `${prefix}${createHash('sha256').update(token).digest('base64url')}`;
}

/** A link can be confirmed in the session that requested it, or with the password of the account. */
export interface LinkOwner {
  userId: string;
  /** Null for a link that was requested without a session. */
  sessionId: string | null;
}
