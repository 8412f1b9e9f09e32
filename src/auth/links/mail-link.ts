import { createHash, randomBytes } from 'node:crypto';

export const AUTH_BASE_PATH = '/v1/auth';

/** How long the links in our mails work. */
export const LINK_LIFETIME_SECONDS = 3600;

export function newLinkToken(): string {
  return randomBytes(24).toString('base64url');
}

/** What is stored instead of a token: somebody who reads the table can follow no link. */
export function linkIdentifier(prefix: string, token: string): string {
  return `${prefix}${createHash('sha256').update(token).digest('base64url')}`;
}

/** What a confirmation needs: the session that asked for the link, or the password of the account. */
export interface LinkOwner {
  userId: string;
  /** Null for a link that nobody asked for in a session. */
  sessionId: string | null;
}
