import type { BetterAuthOptions } from 'better-auth';
import { APIError, createAuthMiddleware } from 'better-auth/api';
import type { Config } from '../../platform/config/config.js';
import { isEmail } from '../../platform/text/emails.js';
import type { Clock } from '../../platform/time/clock.service.js';
import { isLinking, signInContext } from './sign-in-context.js';

type DatabaseHooks = NonNullable<BetterAuthOptions['databaseHooks']>;
type UserHooks = NonNullable<DatabaseHooks['user']>;
type AccountHook = NonNullable<NonNullable<NonNullable<DatabaseHooks['account']>['create']>['before']>;
type SessionHook = NonNullable<NonNullable<NonNullable<DatabaseHooks['session']>['create']>['before']>;

export function databaseHooks(config: Config, clock: Clock): DatabaseHooks {
  return {
    user: userHooks(clock),
    account: { create: { before: emptyUnprovedUser } },
    session: { create: { before: limitSession(config) } },
  };
}

/** Reports a failed sign-out. Better Auth would report success although the session is still open. */
export const afterSignOut = createAuthMiddleware(async ({ path }) => {
  const failure = signInContext.getStore()?.failure;
  if (path === '/sign-out' && failure !== undefined) throw failure;
});

function userHooks(clock: Clock): UserHooks {
  const withProofTime = <T extends { emailVerified?: boolean }>(user: T): T =>
    user.emailVerified === true ? { ...user, emailVerifiedAt: clock.now() } : user;
  return {
    create: {
      before: async (user) => {
        if (!isEmail(user.email))
          throw new APIError('FORBIDDEN', { code: 'email_not_supported', message: 'This address is not supported' });
        return { data: withProofTime(user) };
      },
    },
    update: { before: async (user) => ({ data: withProofTime(user) }) },
  };
}

/** Before a provider's account joins a user who never proved the address, that user loses all other ways to sign in. */
const emptyUnprovedUser: AccountHook = async (account, context) => {
  if (account.providerId === 'credential' || context == null || (await isLinking(context.path))) return;
  const { internalAdapter } = context.context;
  const user = (await internalAdapter.findUserById(account.userId)) as { emailVerified: boolean; clerkUserId?: string | null } | null;
  // Clerk decides how its users sign in.
  if (user?.clerkUserId != null) throw new APIError('FORBIDDEN', { code: 'managed_by_clerk', message: 'Clerk manages this user' });
  if (user === null || user.emailVerified) return;
  await internalAdapter.deleteAccounts(account.userId);
  await internalAdapter.deleteUserSessions(account.userId);
};

function limitSession({ sessionAbsoluteSeconds }: Config): SessionHook {
  return async (session, context) => {
    const user = (await context?.context.internalAdapter.findUserById(session.userId)) as { suspendedAt?: Date | null } | null | undefined;
    if (user?.suspendedAt != null) throw new APIError('FORBIDDEN', { code: 'USER_SUSPENDED', message: 'This user is suspended' });
    const body: unknown = context?.body;
    const isForgotten = typeof body === 'object' && body !== null && 'rememberMe' in body && body.rememberMe === false;
    const latest = new Date(session.createdAt.getTime() + sessionAbsoluteSeconds * 1000);
    const expiresAt = session.expiresAt < latest ? session.expiresAt : latest;
    const ipAddress = signInContext.getStore()?.ipAddress ?? null;
    return { data: { ...session, sliding: !isForgotten, legacyCookie: false, expiresAt, ipAddress } };
  };
}
