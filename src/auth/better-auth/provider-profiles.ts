import type { BetterAuthPlugin } from 'better-auth';
import { cleanDisplayName } from '../../platform/text/display-names.js';
import { isEmail, normaliseEmail } from '../../platform/text/emails.js';

/** Replaces an address that no local account can have. It matches no row, and no user is created with it. */
const UNSUPPORTED_EMAIL = 'unsupported';

/**
 * Cleans the profiles of Google and GitHub before Better Auth sees them. It folds addresses by Unicode's rules, so an
 * address that breaks ours must not reach it. An account that is already linked still signs in.
 */
export const providerProfiles: BetterAuthPlugin = {
  id: 'provider-profiles',
  init: ({ socialProviders, logger }) => {
    for (const provider of socialProviders) {
      const getUserInfo = provider.getUserInfo.bind(provider);
      provider.getUserInfo = async (token) => {
        // Null makes Better Auth redirect with `?error=`, as it does when the code cannot be exchanged.
        const info = await getUserInfo(token).catch((error: unknown) => {
          logger.error(`The profile could not be read from ${provider.name}`, error);
          return null;
        });
        return info && { ...info, user: { ...info.user, ...supportedEmail(info.user), name: cleanDisplayName(info.user.name ?? '', 200) } };
      };
    }
  },
};

function supportedEmail({ email: given, emailVerified }: { email?: string | null; emailVerified: boolean }) {
  if (given == null || given === '') return { email: null, emailVerified: false };
  const email = normaliseEmail(given);
  return isEmail(email) ? { email, emailVerified } : { email: UNSUPPORTED_EMAIL, emailVerified: false };
}
