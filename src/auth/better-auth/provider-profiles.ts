import type { BetterAuthPlugin } from 'better-auth';
import { cleanDisplayName } from '../../platform/text/display-names.js';
import { isEmail, normaliseEmail } from '../../platform/text/emails.js';

/** Stands for an address that no local account may have: it matches no row, and creating a user with it is refused. */
const UNSUPPORTED_EMAIL = 'unsupported';

/**
 * What Google and GitHub say of a person, made safe before Better Auth sees it. Better Auth folds addresses with
 * Unicode's rules, so one outside of ours must not reach it; an account that is linked already still signs in.
 */
export const providerProfiles: BetterAuthPlugin = {
  id: 'provider-profiles',
  init: ({ socialProviders, logger }) => {
    for (const provider of socialProviders) {
      const getUserInfo = provider.getUserInfo.bind(provider);
      provider.getUserInfo = async (token) => {
        // An unavailable provider is a redirect with `?error=`, as it is before the exchange of the code.
        const info = await getUserInfo(token).catch((error: unknown) => {
          logger.error(`${provider.name} could not be asked who signs in`, error);
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
