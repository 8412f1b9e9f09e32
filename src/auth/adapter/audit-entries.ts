import type { Actor } from '../../access/principal.js';
import type { AuditService } from '../../audit/audit.service.js';
import type { Queryable } from '../../platform/database/database.js';
import { isLinking, type SignInContext, signInContext } from '../better-auth/sign-in-context.js';

export type Written = 'session' | 'account' | 'password' | 'ended-session';

export async function recordWrite(audit: AuditService, written: Written, userId: string, db: Queryable): Promise<void> {
  const context = signInContext.getStore();
  const action = context && (await actionOf(written, context.path));
  if (context === undefined || action === undefined) return;
  await audit.record({ actor: actorOf(userId, context), action, target: { type: 'user', id: userId } }, db);
}

export function actorOf(userId: string, { requestId, ipAddress }: SignInContext): Actor {
  return { kind: 'user', id: userId, requestId, ipAddress };
}

async function actionOf(written: Written, path: string): Promise<string | undefined> {
  switch (written) {
    case 'session':
      if (path === '/sign-up/email') return 'user.signed_up';
      return path === '/sign-in/email' || path === '/sign-in/social' || path.startsWith('/callback/') ? 'user.signed_in' : undefined;
    case 'account':
      // A sign-in that links an account is audited by its session.
      return (await isLinking(path)) ? 'account.linked' : undefined;
    case 'password':
      if (path === '/change-password') return 'user.password_changed';
      return path === '/reset-password' ? 'user.password_reset' : undefined;
    case 'ended-session':
      return path === '/sign-out' ? 'user.signed_out' : undefined;
  }
}
