import { clerkSecretKey, publicKey, webhookSecrets } from '../secret-types.js';
import { authorizedParties, baseUrl, httpUrl, text, wholeNumber } from '../value-types.js';
import type { Variables } from '../variable.js';

export const SOCIAL_SIGN_IN_VARIABLES = {
  googleClientId: {
    name: 'GOOGLE_CLIENT_ID',
    type: text,
    requires: 'GOOGLE_CLIENT_SECRET',
    description: 'With its secret, switches on sign-in with Google. The callback is `PUBLIC_URL/v1/auth/callback/google`.',
  },
  googleClientSecret: {
    name: 'GOOGLE_CLIENT_SECRET',
    type: text,
    secret: true,
    requires: 'GOOGLE_CLIENT_ID',
    description: 'The secret of the Google client.',
  },
  githubClientId: {
    name: 'GITHUB_CLIENT_ID',
    type: text,
    requires: 'GITHUB_CLIENT_SECRET',
    description: 'With its secret, switches on sign-in with GitHub. The callback is `PUBLIC_URL/v1/auth/callback/github`.',
  },
  githubClientSecret: {
    name: 'GITHUB_CLIENT_SECRET',
    type: text,
    secret: true,
    requires: 'GITHUB_CLIENT_ID',
    description: 'The secret of the GitHub client.',
  },
} as const satisfies Variables;

export const SESSIONS_VARIABLES = {
  sessionIdleSeconds: {
    name: 'SESSION_IDLE_SECONDS',
    type: wholeNumber('seconds', 1),
    default: '604800',
    description: 'A session ends this long after its last use. The default is 7 days.',
  },
  sessionAbsoluteSeconds: {
    name: 'SESSION_ABSOLUTE_SECONDS',
    type: wholeNumber('seconds', 1),
    default: '2592000',
    description: 'A session ends this long after sign-in, used or not. The default is 30 days.',
  },
  sessionTouchSeconds: {
    name: 'SESSION_TOUCH_SECONDS',
    type: wholeNumber('seconds', 1),
    default: '60',
    description: 'How often, at most, the last use of a session is stored.',
  },
} as const satisfies Variables;

export const CLERK_VARIABLES = {
  clerkIssuer: {
    name: 'CLERK_ISSUER',
    type: baseUrl,
    example: 'https://clerk.example.com',
    description: 'Switches on session tokens of Clerk: the `iss` claim of your instance.',
  },
  clerkJwtKey: {
    name: 'CLERK_JWT_KEY',
    type: publicKey,
    requires: 'CLERK_ISSUER',
    description: 'The public key of the instance in PEM. Without it, the keys are fetched from `CLERK_JWKS_URL`.',
  },
  clerkJwksUrl: {
    name: 'CLERK_JWKS_URL',
    type: httpUrl,
    requires: 'CLERK_ISSUER',
    whenUnset: '`CLERK_ISSUER/.well-known/jwks.json`',
    example: 'https://clerk.example.com/.well-known/jwks.json',
    description: 'Where the public keys are.',
  },
  clerkAuthorizedParties: {
    name: 'CLERK_AUTHORIZED_PARTIES',
    type: authorizedParties,
    default: '',
    whenUnset: '`PUBLIC_URL` and `TRUSTED_ORIGINS`',
    example: 'https://app.example.com',
    description: 'The accepted `azp` claims, separated by commas.',
  },
  clerkWebhookKeys: {
    name: 'CLERK_WEBHOOK_SIGNING_SECRET',
    type: webhookSecrets,
    default: '',
    secret: true,
    whenUnset: 'made once, in development',
    description:
      'The secret of the webhook endpoint (`whsec_…`), several while one replaces another. Without it there is no `/webhooks/clerk`.',
  },
  clerkInstanceId: {
    name: 'CLERK_INSTANCE_ID',
    type: text,
    example: 'ins_2abcDEF',
    description: 'The instance (`ins_…`). Events of other instances are stored and ignored.',
  },
  clerkSecretKey: {
    name: 'CLERK_SECRET_KEY',
    type: clerkSecretKey,
    secret: true,
    description: 'Switches on the nightly reconciliation, and ends sessions at Clerk that end here (`sk_…`).',
  },
  clerkApiUrl: {
    name: 'CLERK_API_URL',
    type: baseUrl,
    whenUnset: '`https://api.clerk.com`',
    example: 'https://api.clerk.com',
    description: "The origin of Clerk's Backend API.",
  },
} as const satisfies Variables;
