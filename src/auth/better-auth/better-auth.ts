import type { BetterAuthOptions } from 'better-auth';
import { betterAuth } from 'better-auth/minimal';
import { bearer } from 'better-auth/plugins/bearer';
import { cookiePrefixes } from '../../access/credentials/session-cookies.js';
import type { Config } from '../../platform/config/config.js';
import { newId } from '../../platform/crypto/ids.js';
import type { Database } from '../../platform/database/database.js';
import { createAdapter } from '../adapter/adapter.js';
import type { AdapterServices } from '../adapter/sign-in-rules.js';
import { AUTH_BASE_PATH, LINK_LIFETIME_SECONDS } from '../links/mail-link.js';
import type { AuthMails } from '../mails/auth-mails.service.js';
import { PASSWORD_LENGTH } from '../passwords/is-password.js';
import type { Passwords } from '../passwords/passwords.service.js';
import { afterSignOut, databaseHooks } from './hooks.js';
import { MODELS } from './models.js';
import { providerProfiles } from './provider-profiles.js';
import { trustedOriginsOf } from './request-origins.js';
import { signInContext } from './sign-in-context.js';

interface Dependencies {
  config: Config;
  db: Database;
  services: AdapterServices;
  passwords: Passwords;
  mails: AuthMails;
  onError: (message: string, error: unknown) => void;
}

export type BetterAuth = ReturnType<typeof createBetterAuth>;

/** Better Auth, without everything that we do ourselves (docs/decisions/0003). */
export function createBetterAuth({ config, db, services, passwords, mails, onError }: Dependencies) {
  const { google, github } = config;
  return betterAuth({
    appName: 'Tenantry',
    baseURL: config.publicUrl,
    basePath: AUTH_BASE_PATH,
    secret: config.authSecret,
    trustedOrigins: trustedOriginsOf(config.trustedOrigins),
    database: createAdapter(db, services),
    telemetry: { enabled: false },
    // Our own limiter counts in the database, for all replicas.
    rateLimit: { enabled: false },
    // Thrown to us, because Better Auth would print errors with their statements and parameters.
    onAPIError: { errorURL: `${config.publicUrl}${AUTH_BASE_PATH}/error`, throw: true },
    logger: { level: 'error', log: (_level, message, ...details) => onError(message, details.find(isError)) },
    advanced: advancedOptions(config),
    ...MODELS,
    session: { ...MODELS.session, expiresIn: config.sessionIdleSeconds },
    emailAndPassword: passwordOptions(passwords, mails),
    socialProviders: { ...(google && { google }), ...(github && { github }) },
    databaseHooks: databaseHooks(config, services.clock),
    hooks: { after: afterSignOut },
    plugins: [bearer({ requireSignature: true }), providerProfiles],
  });
}

function advancedOptions({ publicUrl }: Config) {
  return {
    // The adapter is not the library's object, and the tests would notice a missing column.
    database: { generateId: () => newId(), validateSchema: false },
    // Better Auth reads forwarding headers itself and shortens IPv6 addresses. A hook sets our own address instead.
    ipAddress: { disableIpTracking: true },
    // Explicit, because TEST or NODE_ENV=test in the environment would disable both checks.
    disableOriginCheck: false,
    disableCSRFCheck: false,
    // Better Auth has no `__Host-` prefix, so the prefix is part of the name and the attribute is set here.
    useSecureCookies: false,
    cookiePrefix: cookiePrefixes(publicUrl).current,
    defaultCookieAttributes: { secure: publicUrl.startsWith('https:') },
  } satisfies BetterAuthOptions['advanced'];
}

function passwordOptions(passwords: Passwords, mails: AuthMails) {
  return {
    enabled: true,
    // Better Auth counts UTF-16 units, of which a character has up to two. Our own rules are stricter.
    minPasswordLength: 1,
    maxPasswordLength: 2 * PASSWORD_LENGTH.max,
    autoSignIn: true,
    resetPasswordTokenExpiresIn: LINK_LIFETIME_SECONDS,
    revokeSessionsOnPasswordReset: true,
    sendResetPassword: ({ user, url, token }) => mails.sendPasswordReset(user, { url, token, isKnown: signInContext.getStore()?.isKnown }),
    password: {
      hash: (password) => passwords.hash(password),
      verify: async ({ hash, password }) => {
        const matches = await passwords.verify(hash, password);
        const context = signInContext.getStore();
        if (matches && context !== undefined) context.signInMethod = { field: 'password', value: hash };
        return matches;
      },
    },
  } satisfies BetterAuthOptions['emailAndPassword'];
}

function isError(detail: unknown): detail is Error {
  return detail instanceof Error;
}
