import type { Values, VariableGroup } from './variable.js';
import { DODO_VARIABLES, PLANS_VARIABLES, POLAR_VARIABLES } from './variables/billing.js';
import { MAIL_VARIABLES, RATE_LIMITS_VARIABLES, REQUESTS_VARIABLES, RETENTION_VARIABLES } from './variables/limits.js';
import { SERVER_VARIABLES } from './variables/server.js';
import { CLERK_VARIABLES, SESSIONS_VARIABLES, SOCIAL_SIGN_IN_VARIABLES } from './variables/sign-in.js';
import { DATABASE_VARIABLES, SECRETS_VARIABLES } from './variables/storage.js';

/** In the order of the documentation. */
export const VARIABLE_GROUPS: VariableGroup[] = [
  { title: 'Server', variables: SERVER_VARIABLES },
  { title: 'Database', page: 'database-roles.md', variables: DATABASE_VARIABLES },
  { title: 'Secrets', page: 'security.md', variables: SECRETS_VARIABLES },
  { title: 'Mail', page: 'mail.md', variables: MAIL_VARIABLES },
  { title: 'Sign-in with Google and GitHub', variables: SOCIAL_SIGN_IN_VARIABLES },
  { title: 'Sessions', variables: SESSIONS_VARIABLES },
  { title: 'Clerk', variables: CLERK_VARIABLES },
  { title: 'Polar', page: 'billing.md', variables: POLAR_VARIABLES },
  { title: 'Dodo Payments', page: 'billing.md', variables: DODO_VARIABLES },
  { title: 'Plans', page: 'plans.md', variables: PLANS_VARIABLES },
  { title: 'Rate limits', variables: RATE_LIMITS_VARIABLES },
  { title: 'Requests', page: 'requests.md', variables: REQUESTS_VARIABLES },
  { title: 'Retention', variables: RETENTION_VARIABLES },
];

export const VARIABLES = {
  ...SERVER_VARIABLES,
  ...DATABASE_VARIABLES,
  ...SECRETS_VARIABLES,
  ...MAIL_VARIABLES,
  ...SOCIAL_SIGN_IN_VARIABLES,
  ...SESSIONS_VARIABLES,
  ...CLERK_VARIABLES,
  ...POLAR_VARIABLES,
  ...DODO_VARIABLES,
  ...PLANS_VARIABLES,
  ...RATE_LIMITS_VARIABLES,
  ...REQUESTS_VARIABLES,
  ...RETENTION_VARIABLES,
};

export type VariableValues = Values<typeof VARIABLES>;
