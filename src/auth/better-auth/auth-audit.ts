import { getOAuthState } from 'better-auth/api';
import type { Actor } from '../../access/principal.js';
import type { AuditService } from '../../audit/audit.service.js';
import type { Queryable } from '../../platform/database/database.js';
import { type SignInContext, signInContext } from './sign-in-context.js';

/** What Better Auth just wrote, as far as the audit log wants to know. */
export type Written = 'session' | 'account' | 'password' | 'ended-session';

/**
 * Writes the audit entry of a route of Better Auth, in the transaction of the write that the route is
 * about: one entry a request, whatever else the library writes on the way.
 */
export async function recordWrite(audit: AuditService, written: Written, userId: string, db: Queryable): Promise<void> {
  const context = signInContext.getStore();
  const action = context && (await actionOf(written, context.path));
  if (context === undefined || action === undefined) return;
  await audit.record({ actor: actorOf(userId, context), action, target: { type: 'user', id: userId } }, db);
}

/** The user who signs in, or proves an address, with a request. */
export function actorOf(userId: string, { requestId, ipAddress }: SignInContext): Actor {
  return { kind: 'user', id: userId, requestId, ipAddress };
}

async function actionOf(written: Written, path: string): Promise<string | undefined> {
  const isCallback = path.startsWith('/callback/');
  switch (written) {
    case 'session':
      if (path === '/sign-up/email') return 'user.signed_up';
      return path === '/sign-in/email' || path === '/sign-in/social' || isCallback ? 'user.signed_in' : undefined;
    case 'account':
      // A sign-in that links on its way is told by its session.
      return path === '/link-social' || (isCallback && (await getOAuthState())?.link !== undefined) ? 'account.linked' : undefined;
    case 'password':
      if (path === '/change-password') return 'user.password_changed';
      return path === '/reset-password' ? 'user.password_reset' : undefined;
    case 'ended-session':
      return path === '/sign-out' ? 'user.signed_out' : undefined;
  }
}
