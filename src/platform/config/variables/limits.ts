import { amount, rateLimit, smtpUrl, text, wholeNumber } from '../value-types.js';
import type { Variables } from '../variable.js';

export const MAIL_VARIABLES = {
  smtpUrl: {
    name: 'SMTP_URL',
    type: smtpUrl,
    example: 'smtp://user:password@mail.example.com:587',
    description: 'The mail server, with `smtp` or `smtps`. Without it, mails are logged in development and stay queued in production.',
  },
  mailFrom: { name: 'MAIL_FROM', type: text, default: 'Tenantry <no-reply@localhost>', description: 'The sender of all mails.' },
} as const satisfies Variables;

export const RATE_LIMITS_VARIABLES = {
  apiRateLimit: {
    name: 'RATE_LIMIT_API',
    type: rateLimit,
    default: '1000/60',
    description: 'Requests of each caller, as requests/seconds.',
  },
  usageRateLimit: {
    name: 'RATE_LIMIT_USAGE',
    type: rateLimit,
    default: '12000/60',
    description: 'Requests of each caller that record or reserve usage. The limits of a plan apply as well.',
  },
  authRateLimit: {
    name: 'RATE_LIMIT_AUTH',
    type: rateLimit,
    default: '60/60',
    description: 'Requests of each address to `/v1/auth/*`.',
  },
  signInRateLimit: {
    name: 'RATE_LIMIT_SIGN_IN',
    type: rateLimit,
    default: '10/300',
    description: 'Wrong passwords before the first wait. Longer waits are multiples of it.',
  },
  mailRateLimit: {
    name: 'RATE_LIMIT_MAIL',
    type: rateLimit,
    default: '5/3600',
    description: 'Mails of one kind to one recipient, and requests for them from one address.',
  },
  mailSenderRateLimit: {
    name: 'RATE_LIMIT_MAIL_SENDER',
    type: rateLimit,
    default: '50/3600',
    description: 'Invitations from one user, and from one organization.',
  },
} as const satisfies Variables;

export const REQUESTS_VARIABLES = {
  bodyLimitBytes: {
    name: 'BODY_LIMIT_BYTES',
    type: wholeNumber('bytes', 1024),
    default: '1048576',
    description: 'The largest body of a request (413). Batch routes have their own limit.',
  },
  maxConcurrentRequests: {
    name: 'MAX_CONCURRENT_REQUESTS',
    type: wholeNumber('requests', 1),
    default: '1000',
    description: 'Requests in flight in each process. More are refused: 503 with `Retry-After`.',
  },
  overloadTargetMs: {
    name: 'OVERLOAD_TARGET_MS',
    type: wholeNumber('milliseconds', 1),
    default: '1000',
    description: 'While most requests take longer, fewer are admitted: as many as complete in this time, at least 100.',
  },
  requestTimeoutSeconds: {
    name: 'REQUEST_TIMEOUT_SECONDS',
    type: wholeNumber('seconds', 1),
    default: '30',
    description: 'A request must arrive whole within this time (408), and its response must be read within it.',
  },
} as const satisfies Variables;

export const RETENTION_VARIABLES = {
  purgeAfterDays: {
    name: 'PURGE_AFTER_DAYS',
    type: amount('days', 0),
    default: '30',
    description: 'How long the row of a deleted user or organization stays. Until then an operator can restore the organization.',
  },
  auditRetentionDays: {
    name: 'AUDIT_RETENTION_DAYS',
    type: wholeNumber('days', 0).refine((days) => days === 0 || days >= 30, 'must be 0, or at least 30 days'),
    default: '400',
    description: 'How long the audit log is kept, at least 30. `0` keeps it forever. The database enforces the minimum too.',
  },
  usageRetentionDays: {
    name: 'USAGE_RETENTION_DAYS',
    type: wholeNumber('days', 62, 36_500),
    default: '400',
    description: 'How old a usage event may be when it is recorded, and how long it is kept, by whole months. Rollups stay.',
  },
  webhookBodyDays: {
    name: 'WEBHOOK_BODY_DAYS',
    type: wholeNumber('days', 1),
    default: '30',
    description: 'How long the bodies of processed webhooks are kept. Their log entries stay.',
  },
  invitationDays: {
    name: 'INVITATION_DAYS',
    type: wholeNumber('days', 1, 365),
    default: '7',
    description: 'How long an invitation can be accepted.',
  },
} as const satisfies Variables;
