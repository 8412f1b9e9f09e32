import { betterAuth } from 'better-auth';
import { APIError, createAuthMiddleware, getOAuthState } from 'better-auth/api';
import { bearer } from 'better-auth/plugins';
import { cookiePrefixes } from '../../access/credentials/session-cookies.js';
import { isEmail } from '../../platform/text/emails.js';
import { newId } from '../../platform/crypto/ids.js';
import type { Config } from '../../platform/config/config.js';
import type { Database } from '../../platform/database/database.js';
import type { AuthMails } from '../mails/auth-mails.service.js';
import { type AdapterServices, createAdapter } from './better-auth-adapter.js';
import { trustedOriginsOf } from './better-auth-origins.js';
import { AUTH_BASE_PATH, LINK_LIFETIME_SECONDS } from '../links/mail-link.js';
import { PASSWORD_LENGTH } from '../passwords/password-rules.service.js';
import type { Passwords } from '../passwords/passwords.service.js';
import { providerProfiles } from './provider-profiles.js';
import { signInContext } from './sign-in-context.js';

interface Dependencies {
  config: Config;
  db: Database;
  services: AdapterServices;
  passwords: Passwords;
  mails: AuthMails;
  onError: (message: string, error: unknown) => void;
}

/** Better Auth with everything switched off that we do ourselves (docs/decisions/0003). */
export function createBetterAuth({ config, db, services, passwords, mails, onError }: Dependencies) {
  return betterAuth({
    appName: 'Tenantry',
    baseURL: config.publicUrl,
    basePath: AUTH_BASE_PATH,
    secret: config.authSecret,
    trustedOrigins: trustedOriginsOf(config.trustedOrigins),
    database: createAdapter(db, services),
    telemetry: { enabled: false },
    // Ours counts in the database for all replicas.
    rateLimit: { enabled: false },
    // What is no answer of its own comes to us: it would print the error, statement and parameters and all.
    onAPIError: { errorURL: `${config.publicUrl}${AUTH_BASE_PATH}/error`, throw: true },
    // It logs whole database errors, parameters and all: only the message and the kind of failure pass.
    logger: {
      level: 'error',
      log: (_level, message, ...details) =>
        onError(
          message,
          details.find((detail) => detail instanceof Error),
        ),
    },
    advanced: {
      database: { generateId: () => newId() },
      // It reads forwarding headers itself and keeps only the network of an IPv6 address; a session gets ours below.
      ipAddress: { disableIpTracking: true },
      // Said aloud, because a mere TEST or NODE_ENV=test in the environment switches both off.
      disableOriginCheck: false,
      disableCSRFCheck: false,
      // It knows no `__Host-`, so the prefix stands in the name and the attribute is set here.
      useSecureCookies: false,
      cookiePrefix: cookiePrefixes(config.publicUrl).current,
      defaultCookieAttributes: { secure: config.publicUrl.startsWith('https:') },
    },
    user: {
      modelName: 'users',
      fields: { image: 'imageUrl' },
      additionalFields: {
        emailVerifiedAt: { type: 'date', required: false, input: false, returned: false },
        suspendedAt: { type: 'date', required: false, input: false, returned: false },
        deletedAt: { type: 'date', required: false, input: false, returned: false },
        clerkUserId: { type: 'string', required: false, input: false, returned: false },
      },
    },
    session: {
      modelName: 'sessions',
      fields: { token: 'tokenHash' },
      additionalFields: {
        sliding: { type: 'boolean', required: false, input: false, returned: false },
        legacyCookie: { type: 'boolean', required: false, input: false, returned: false },
      },
      expiresIn: config.sessionIdleSeconds,
      // The guard slides sessions.
      disableSessionRefresh: true,
    },
    account: {
      modelName: 'accounts',
      fields: { providerId: 'provider', accountId: 'providerAccountId', password: 'passwordHash' },
      // A proved address of the provider takes over a row that never proved it; the hook below empties that row first.
      accountLinking: { enabled: true, requireLocalEmailVerified: false, allowDifferentEmails: false },
    },
    verification: {
      modelName: 'verifications',
      storeIdentifier: 'hashed',
      disableCleanup: true,
      additionalFields: { userId: { type: 'string', required: false, input: false, returned: false } },
    },
    emailAndPassword: {
      enabled: true,
      // It counts UTF-16 units, of which a character has up to two; our own rules are stricter.
      minPasswordLength: 1,
      maxPasswordLength: 2 * PASSWORD_LENGTH.max,
      autoSignIn: true,
      resetPasswordTokenExpiresIn: LINK_LIFETIME_SECONDS,
      revokeSessionsOnPasswordReset: true,
      sendResetPassword: ({ user, url, token }) =>
        mails.sendPasswordReset(user, { url, token, isKnown: signInContext.getStore()?.isKnown }),
      password: {
        hash: (password) => passwords.hash(password),
        verify: async ({ hash, password }) => {
          const matches = await passwords.verify(hash, password);
          const context = signInContext.getStore();
          if (matches && context !== undefined) context.wayIn = { field: 'password', value: hash };
          return matches;
        },
      },
    },
    socialProviders: {
      ...(config.google && { google: config.google }),
      ...(config.github && { github: config.github }),
    },
    databaseHooks: {
      user: {
        create: {
          before: async (user) => {
            if (!isEmail(user.email))
              throw new APIError('FORBIDDEN', { code: 'email_not_supported', message: 'This address is not supported' });
            return { data: { ...user, ...(user.emailVerified && { emailVerifiedAt: new Date() }) } };
          },
        },
        update: { before: async (user) => ({ data: { ...user, ...(user.emailVerified === true && { emailVerifiedAt: new Date() }) } }) },
      },
      account: {
        create: {
          before: async (account, context) => {
            if (account.providerId === 'credential' || context == null) return;
            const isLinkBySignedIn = context.path === '/link-social' || (await getOAuthState())?.link !== undefined;
            if (isLinkBySignedIn) return;
            const { internalAdapter } = context.context;
            const user = (await internalAdapter.findUserById(account.userId)) as {
              emailVerified: boolean;
              clerkUserId?: string | null;
            } | null;
            // How the people of Clerk sign in is Clerk's to say.
            if (user?.clerkUserId != null) throw new APIError('FORBIDDEN', { code: 'managed_by_clerk', message: 'Clerk owns this user' });
            if (user === null || user.emailVerified) return;
            await internalAdapter.deleteAccounts(account.userId);
            await internalAdapter.deleteUserSessions(account.userId);
          },
        },
      },
      session: {
        create: {
          before: async (session, context) => {
            const user = (await context?.context.internalAdapter.findUserById(session.userId)) as
              { suspendedAt?: Date | null } | null | undefined;
            if (user?.suspendedAt != null) throw new APIError('FORBIDDEN', { code: 'USER_SUSPENDED', message: 'This user is suspended.' });
            const body: unknown = context?.body;
            const forget = typeof body === 'object' && body !== null && 'rememberMe' in body && body.rememberMe === false;
            const latest = new Date(session.createdAt.getTime() + config.sessionAbsoluteSeconds * 1000);
            const expiresAt = session.expiresAt < latest ? session.expiresAt : latest;
            const ipAddress = signInContext.getStore()?.ipAddress ?? null;
            return { data: { ...session, sliding: !forget, legacyCookie: false, expiresAt, ipAddress } };
          },
        },
      },
    },
    hooks: {
      // It would call a session ended that it could not end.
      after: createAuthMiddleware(async ({ path }) => {
        const failure = signInContext.getStore()?.failure;
        if (path === '/sign-out' && failure !== undefined) throw failure;
      }),
    },
    plugins: [bearer({ requireSignature: true }), providerProfiles],
  });
}

export type BetterAuth = ReturnType<typeof createBetterAuth>;
