import type { Values, VariableGroup } from './variable.js';
import { DODO, PLANS, POLAR } from './variables/billing.js';
import { MAIL, RATE_LIMITS, REQUESTS, RETENTION } from './variables/limits.js';
import { SERVER } from './variables/server.js';
import { CLERK, SESSIONS, SOCIAL_SIGN_IN } from './variables/sign-in.js';
import { DATABASE, SECRETS } from './variables/storage.js';

/** In the order of the documentation. */
export const VARIABLE_GROUPS: VariableGroup[] = [
  { title: 'Server', variables: SERVER },
  { title: 'Database', page: 'database-roles.md', variables: DATABASE },
  { title: 'Secrets', page: 'security.md', variables: SECRETS },
  { title: 'Mail', page: 'mail.md', variables: MAIL },
  { title: 'Sign-in with Google and GitHub', variables: SOCIAL_SIGN_IN },
  { title: 'Sessions', variables: SESSIONS },
  { title: 'Clerk', variables: CLERK },
  { title: 'Polar', page: 'billing.md', variables: POLAR },
  { title: 'Dodo Payments', page: 'billing.md', variables: DODO },
  { title: 'Plans', page: 'plans.md', variables: PLANS },
  { title: 'Rate limits', variables: RATE_LIMITS },
  { title: 'Requests', page: 'requests.md', variables: REQUESTS },
  { title: 'Retention', variables: RETENTION },
];

export const VARIABLES = {
  ...SERVER,
  ...DATABASE,
  ...SECRETS,
  ...MAIL,
  ...SOCIAL_SIGN_IN,
  ...SESSIONS,
  ...CLERK,
  ...POLAR,
  ...DODO,
  ...PLANS,
  ...RATE_LIMITS,
  ...REQUESTS,
  ...RETENTION,
};

/** The value of every variable, before anything is derived from them. */
export type VariableValues = Values<typeof VARIABLES>;
