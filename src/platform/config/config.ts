import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { originPattern } from './trusted-origins.js';

/** A secret that encrypts what is stored; `id` is written beside each ciphertext. */
export interface EncryptionKey {
  id: string;
  /** 32 bytes. */
  key: Buffer;
}

/** `limit` requests in `windowSeconds`; spent ones come back evenly over the window. */
export interface RateLimit {
  limit: number;
  windowSeconds: number;
}

export interface OAuthClient {
  clientId: string;
  clientSecret: string;
}

export interface ClerkConfig {
  issuer: string;
  /** PEM public key; when absent the keys are read from `jwksUrl`. */
  jwtKey?: string;
  jwksUrl: string;
  authorizedParties: string[];
}

export interface ClerkApiConfig {
  secretKey: string;
  /** Origin of Clerk's Backend API when it is not the public one. */
  url?: string;
}

export interface BillingApiConfig {
  /** What opens the provider's API. */
  token: string;
  /** Origin of the API; the sandbox is one of its own. */
  url: string;
}

/** Where the plans stand. Who owns them reads and checks both. */
export interface PlanSettings {
  /** An absolute path. */
  readonly plansFile: string;
  /** `provider:product=plan` each. */
  readonly billingProducts: string[];
}

/** Everything the process was told from outside. The only reader of `process.env` is this file. */
export class Config implements PlanSettings {
  readonly environment!: 'development' | 'test' | 'production';
  readonly isProduction!: boolean;
  readonly host!: string;
  readonly port!: number;
  /** Origin of this API as its users see it, without a trailing slash. */
  readonly publicUrl!: string;
  /** Exact origins and `https://*.…` patterns, for `isTrustedOrigin` alone. */
  readonly trustedOrigins!: string[];
  /** Whether `/docs` and the OpenAPI document are served. */
  readonly apiDocs!: boolean;
  /** How many proxies stand in front, or their addresses and subnets. */
  readonly trustProxy!: number | string[];
  readonly databaseUrl!: string;
  /** Past a transaction pooler: migrations hold a lock on their connection. */
  readonly databaseDirectUrl!: string;
  readonly databasePoolSize!: number;
  readonly authSecret!: string;
  /** Newest first: the first encrypts, all decrypt. */
  readonly encryptionKeys!: EncryptionKey[];
  readonly smtpUrl?: string;
  readonly mailFrom!: string;
  readonly google?: OAuthClient;
  readonly github?: OAuthClient;
  readonly clerk?: ClerkConfig;
  /** HMAC keys; with none there is no such endpoint. */
  readonly clerkWebhookKeys!: KeyObject[];
  /** Events of other instances are kept and ignored. */
  readonly clerkInstanceId?: string;
  readonly clerkApi?: ClerkApiConfig;
  /** HMAC keys; with none there is no such endpoint. */
  readonly polarWebhookKeys!: KeyObject[];
  readonly polarApi?: BillingApiConfig;
  /** What usage is called there, for a meter to count it; without it none is told. */
  readonly polarMeterEvent?: string;
  readonly dodoWebhookKeys!: KeyObject[];
  readonly dodoApi?: BillingApiConfig;
  /** What usage is called there, for a meter to count it; without it none is told. */
  readonly dodoMeterEvent?: string;
  /** How long a subscription goes on granting whose renewal failed, where the provider does not say. */
  readonly billingGraceDays!: number;
  /** How long a subscription goes on granting whose period is over, while its provider cannot be asked. */
  readonly billingUnconfirmedDays!: number;
  readonly plansFile!: string;
  readonly billingProducts!: string[];
  /** How long the bodies of webhooks stay that are done with. */
  readonly webhookBodyDays!: number;
  /** A session ends this long after its last use. */
  readonly sessionIdleSeconds!: number;
  /** A session ends this long after sign-in, used or not. */
  readonly sessionAbsoluteSeconds!: number;
  /** How often, at most, the use of a session is written down. */
  readonly sessionTouchSeconds!: number;
  readonly apiRateLimit!: RateLimit;
  /** Of recording usage; a plan's own limits count besides. */
  readonly usageRateLimit!: RateLimit;
  readonly authRateLimit!: RateLimit;
  readonly signInRateLimit!: RateLimit;
  /** Of mails of one kind to one recipient. */
  readonly mailRateLimit!: RateLimit;
  /** Of mails to others that one user, or one organization, causes. */
  readonly mailSenderRateLimit!: RateLimit;
  readonly bodyLimitBytes!: number;
  /** More at a time are refused with 503, by each process. */
  readonly maxConcurrentRequests!: number;
  /** How long a request may take to arrive, and how long an answer may wait for its reader. */
  readonly requestTimeoutSeconds!: number;
  /** How long a soft-deleted user stays before the purge. */
  readonly purgeAfterDays!: number;
  /** 0 keeps the audit log for ever; otherwise at least 30, which the database sees to as well. */
  readonly auditRetentionDays!: number;
  /** How old an event of usage may be that is recorded, and how long it stays: by whole months. */
  readonly usageRetentionDays!: number;
  /** How long an invitation can be accepted. */
  readonly invitationDays!: number;
  readonly metricsToken?: string;
  readonly logLevel!: string;
  /** Seconds that readiness is already false before the server stops accepting. */
  readonly shutdownDelaySeconds!: number;
  /** Seconds that requests get to finish after that; what is still open then is cut. */
  readonly shutdownTimeoutSeconds!: number;

  constructor(values: Config) {
    Object.assign(this, values);
  }
}

/** Every mistake in the environment, one line each. */
export class ConfigError extends Error {
  constructor(readonly mistakes: string[]) {
    super(`The configuration is wrong:\n${mistakes.map((mistake) => `  - ${mistake}`).join('\n')}`);
  }
}

/** Beside `package.json`, from `dist/config/` and from `src/config/` alike. */
const PLANS_FILE = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../plans.json');

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);

const origin = z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).transform((text) => new URL(text).origin);

const trustedOrigin = z.string().transform((text, context) => {
  const pattern = originPattern(text);
  if (pattern === undefined)
    context.addIssue({ code: 'custom', message: 'must be an http(s) URL, or https://*.example.com for every host one label below' });
  return pattern ?? z.NEVER;
});

/** Clerk's `azp` is an origin for browsers and something else for extensions: only wildcards are checked. */
const authorizedParty = z
  .string()
  .refine((text) => !text.includes('*') || originPattern(text) !== undefined, 'may have a wildcard only as in https://*.example.com');

const seconds = (fallback: number) => z.coerce.number({ error: 'must be a number of seconds' }).int().positive().default(fallback);

const rateLimit = (fallback: string) =>
  z
    .string()
    .regex(/^[1-9]\d{0,8}\/[1-9]\d{0,6}$/, 'must be requests/seconds, for example 1000/60')
    .default(fallback)
    .transform((text): RateLimit => {
      const [limit, windowSeconds] = text.split('/').map(Number) as [number, number];
      return { limit, windowSeconds };
    });

const encryptionKeys = list.transform((entries, context): EncryptionKey[] => {
  const keys = entries.map((entry) => {
    const [id = '', encoded = ''] = entry.split(':');
    const key = Buffer.from(encoded, 'base64');
    if (!/^[A-Za-z0-9_-]{1,32}$/.test(id) || key.length !== 32) {
      context.addIssue({ code: 'custom', message: 'must be id:key pairs, each key 32 bytes in base64 (openssl rand -base64 32)' });
    }
    return { id, key };
  });
  // Ciphertexts name their key: with two of one name half of them would not open again.
  if (new Set(keys.map(({ id }) => id)).size < keys.length) context.addIssue({ code: 'custom', message: 'must not use an id twice' });
  return keys;
});

/** In one line, as an environment often has to hold it, or in several. */
const publicKey = z
  .string()
  .transform((text) => text.replaceAll('\\n', '\n'))
  .refine(isPublicKey, 'must be a public key in PEM');

function isPublicKey(pem: string): boolean {
  try {
    createPublicKey(pem);
    return true;
  } catch {
    // Whatever is wrong with it, it is none.
    return false;
  }
}

/** As providers show them: `whsec_` and base64; several while one is replaced by another. */
const webhookSecrets = list.transform((secrets, context): KeyObject[] =>
  secrets.map((secret) => {
    const encoded = secret.replace(/^whsec_/, '');
    const key = Buffer.from(encoded, 'base64');
    const isBase64 = key.toString('base64').replace(/=+$/, '') === encoded.replace(/=+$/, '');
    if (!isBase64 || key.length < 16) context.addIssue({ code: 'custom', message: 'must be signing secrets: whsec_ and base64' });
    return createSecretKey(key);
  }),
);

/**
 * Polar signs with the secret's own characters or, on newer endpoints, with what its base64 holds; an endpoint
 * does not say which.
 */
const polarSecrets = list.transform((secrets, context): KeyObject[] =>
  secrets.flatMap((secret) => {
    if (secret.length < 16) context.addIssue({ code: 'custom', message: 'must be signing secrets of at least 16 characters' });
    const decoded = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    return [Buffer.from(secret), ...(decoded.length < 16 ? [] : [decoded])].map((key) => createSecretKey(key));
  }),
);

/** Also the names that Express knows. A prefix of 0 would believe what every client says about itself. */
const proxies = z
  .union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6(), z.enum(['loopback', 'linklocal', 'uniquelocal'])])
  .refine((text) => !text.endsWith('/0'));

const trustProxy = list.transform((entries, context): number | string[] => {
  const [first = ''] = entries;
  if (entries.length === 1 && /^(\d|10)$/.test(first)) return Number(first);
  if (!entries.every((entry) => proxies.safeParse(entry).success)) {
    context.addIssue({
      code: 'custom',
      message: 'must be the number of proxies in front (0 to 10), or their addresses and subnets, for example 10.0.0.0/8',
    });
  }
  return entries;
});

const meterEvent = z.string().trim().max(128, 'must be at most 128 characters');

const postgresUrl = z.url({ protocol: /^postgres(ql)?$/, error: 'must be a postgres:// URL' });

const schema = z.object({
  NODE_ENV: z.enum(['development', 'test', 'production']).default('development'),
  HOST: z.string().optional(),
  PORT: z.coerce.number({ error: 'must be a port' }).int().min(0).max(65_535).default(3000),
  PUBLIC_URL: origin.optional(),
  TRUSTED_ORIGINS: list.pipe(z.array(trustedOrigin)).default([]),
  API_DOCS: z.enum(['on', 'off']).default('on'),
  TRUST_PROXY: trustProxy.default(0),
  DATABASE_URL: postgresUrl,
  DATABASE_DIRECT_URL: postgresUrl.optional(),
  DATABASE_POOL_SIZE: z.coerce.number({ error: 'must be a number of connections' }).int().min(2).max(500).default(10),
  AUTH_SECRET: z.string().min(32, 'must be at least 32 characters (openssl rand -base64 32)'),
  ENCRYPTION_KEYS: encryptionKeys.pipe(z.array(z.custom<EncryptionKey>()).min(1, 'must hold at least one id:key pair')),
  SMTP_URL: z.url({ protocol: /^smtps?$/, error: 'must be an smtp:// or smtps:// URL' }).optional(),
  MAIL_FROM: z.string().default('Tenantry <no-reply@localhost>'),
  GOOGLE_CLIENT_ID: z.string().optional(),
  GOOGLE_CLIENT_SECRET: z.string().optional(),
  GITHUB_CLIENT_ID: z.string().optional(),
  GITHUB_CLIENT_SECRET: z.string().optional(),
  CLERK_ISSUER: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  CLERK_JWT_KEY: publicKey.optional(),
  CLERK_JWKS_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  CLERK_AUTHORIZED_PARTIES: list.pipe(z.array(authorizedParty)).default([]),
  CLERK_WEBHOOK_SIGNING_SECRET: webhookSecrets.default([]),
  CLERK_INSTANCE_ID: z.string().optional(),
  CLERK_SECRET_KEY: z
    .string()
    .regex(/^sk_[A-Za-z0-9_]+$/, 'must be a secret key: sk_test_… or sk_live_…')
    .optional(),
  CLERK_API_URL: z.url({ protocol: /^https?$/, error: 'must be an http(s) URL' }).optional(),
  POLAR_WEBHOOK_SECRET: polarSecrets.default([]),
  POLAR_ACCESS_TOKEN: z.string().optional(),
  POLAR_API_URL: origin.default('https://api.polar.sh'),
  POLAR_METER_EVENT: meterEvent.optional(),
  DODO_PAYMENTS_WEBHOOK_KEY: webhookSecrets.default([]),
  DODO_PAYMENTS_API_KEY: z.string().optional(),
  DODO_PAYMENTS_API_URL: origin.default('https://live.dodopayments.com'),
  DODO_METER_EVENT: meterEvent.optional(),
  BILLING_GRACE_DAYS: z.coerce.number({ error: 'must be a number of days' }).min(0).max(365).default(7),
  BILLING_UNCONFIRMED_DAYS: z.coerce.number({ error: 'must be a number of days' }).min(0).max(365).default(7),
  PLANS_FILE: z
    .string()
    .transform((file) => path.resolve(file))
    .default(PLANS_FILE),
  BILLING_PRODUCTS: list.default([]),
  SESSION_IDLE_SECONDS: seconds(7 * 24 * 3600),
  SESSION_ABSOLUTE_SECONDS: seconds(30 * 24 * 3600),
  SESSION_TOUCH_SECONDS: seconds(60),
  RATE_LIMIT_API: rateLimit('1000/60'),
  RATE_LIMIT_USAGE: rateLimit('12000/60'),
  RATE_LIMIT_AUTH: rateLimit('60/60'),
  RATE_LIMIT_SIGN_IN: rateLimit('10/300'),
  RATE_LIMIT_MAIL: rateLimit('5/3600'),
  RATE_LIMIT_MAIL_SENDER: rateLimit('50/3600'),
  BODY_LIMIT_BYTES: z.coerce
    .number({ error: 'must be a number of bytes' })
    .int()
    .min(1024)
    .default(1024 * 1024),
  MAX_CONCURRENT_REQUESTS: z.coerce.number({ error: 'must be a number of requests' }).int().min(1).default(1000),
  REQUEST_TIMEOUT_SECONDS: seconds(30),
  PURGE_AFTER_DAYS: z.coerce.number({ error: 'must be a number of days' }).min(0).default(30),
  AUDIT_RETENTION_DAYS: z.coerce
    .number({ error: 'must be a number of days' })
    .int()
    .refine((days) => days === 0 || days >= 30, 'must be 0, or at least 30 days')
    .default(400),
  USAGE_RETENTION_DAYS: z.coerce.number({ error: 'must be a number of days' }).int().min(62).max(36_500).default(400),
  INVITATION_DAYS: z.coerce.number({ error: 'must be a number of days' }).int().min(1).max(365).default(7),
  WEBHOOK_BODY_DAYS: z.coerce.number({ error: 'must be a number of days' }).int().min(1).default(30),
  METRICS_TOKEN: z.string().min(16, 'must be at least 16 characters').optional(),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  SHUTDOWN_DELAY_SECONDS: z.coerce.number({ error: 'must be a number of seconds' }).min(0).max(60).default(2),
  SHUTDOWN_TIMEOUT_SECONDS: seconds(20),
});

const lifetimes = schema.pick({ SESSION_IDLE_SECONDS: true, SESSION_ABSOLUTE_SECONDS: true });
const plans = schema.pick({ PLANS_FILE: true, BILLING_PRODUCTS: true });

/** Every variable that is read; the README and `.env.example` explain each. */
export const CONFIGURATION_NAMES = Object.keys(schema.shape);

/**
 * Reads and checks the environment.
 *
 * @param mistakesIn tells what is wrong with the plans, for all mistakes to come together
 * @throws {ConfigError} with every mistake at once
 */
export function loadConfig(
  environment: Record<string, string | undefined>,
  mistakesIn: (plans: PlanSettings) => string[] = () => [],
): Config {
  // An empty variable is one that was not set: compose files and CI write `FOO=`.
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== undefined && value.trim() !== ''));
  const parsed = schema.safeParse(given);
  const mistakes = parsed.success
    ? []
    : parsed.error.issues.map((issue) => {
        const name = String(issue.path[0]);
        return given[name] === undefined ? `${name} is not set` : `${name} ${issue.message}`;
      });

  const together = (a: string, b: string) => {
    if ((given[a] === undefined) !== (given[b] === undefined)) mistakes.push(`${a} and ${b} go together: set both or neither`);
  };
  together('GOOGLE_CLIENT_ID', 'GOOGLE_CLIENT_SECRET');
  together('GITHUB_CLIENT_ID', 'GITHUB_CLIENT_SECRET');
  if (given['CLERK_ISSUER'] === undefined && (given['CLERK_JWT_KEY'] ?? given['CLERK_JWKS_URL']) !== undefined) {
    mistakes.push('CLERK_ISSUER is not set: without it a token of any Clerk instance could pass');
  }
  const needs = (a: string, b: string) => {
    if (given[a] !== undefined && given[b] === undefined) mistakes.push(`${b} is not set: without it nobody can be told of ${a}`);
  };
  needs('POLAR_METER_EVENT', 'POLAR_ACCESS_TOKEN');
  needs('DODO_METER_EVENT', 'DODO_PAYMENTS_API_KEY');
  // By themselves: another mistake must not hide this one.
  const { data: lifetime } = lifetimes.safeParse(given);
  if (lifetime !== undefined && lifetime.SESSION_IDLE_SECONDS > lifetime.SESSION_ABSOLUTE_SECONDS) {
    mistakes.push('SESSION_IDLE_SECONDS must not exceed SESSION_ABSOLUTE_SECONDS');
  }
  const { PLANS_FILE: plansFile, BILLING_PRODUCTS: billingProducts } = plans.parse(given);
  mistakes.push(...mistakesIn({ plansFile, billingProducts }));
  if (!parsed.success || mistakes.length > 0) throw new ConfigError([...new Set(mistakes)]);

  const values = parsed.data;
  const publicUrl = values.PUBLIC_URL ?? `http://localhost:${values.PORT}`;
  const trustedOrigins = [...new Set([publicUrl, ...values.TRUSTED_ORIGINS])];
  return new Config({
    environment: values.NODE_ENV,
    isProduction: values.NODE_ENV === 'production',
    host: values.HOST ?? (values.NODE_ENV === 'production' ? '0.0.0.0' : '127.0.0.1'),
    port: values.PORT,
    publicUrl,
    trustedOrigins,
    apiDocs: values.API_DOCS === 'on',
    trustProxy: values.TRUST_PROXY,
    databaseUrl: values.DATABASE_URL,
    databaseDirectUrl: values.DATABASE_DIRECT_URL ?? values.DATABASE_URL,
    databasePoolSize: values.DATABASE_POOL_SIZE,
    authSecret: values.AUTH_SECRET,
    encryptionKeys: values.ENCRYPTION_KEYS,
    smtpUrl: values.SMTP_URL,
    mailFrom: values.MAIL_FROM,
    google: oauthClient(values.GOOGLE_CLIENT_ID, values.GOOGLE_CLIENT_SECRET),
    github: oauthClient(values.GITHUB_CLIENT_ID, values.GITHUB_CLIENT_SECRET),
    clerk:
      values.CLERK_ISSUER === undefined
        ? undefined
        : {
            issuer: values.CLERK_ISSUER.replace(/\/$/, ''),
            jwtKey: values.CLERK_JWT_KEY,
            jwksUrl: values.CLERK_JWKS_URL ?? `${values.CLERK_ISSUER.replace(/\/$/, '')}/.well-known/jwks.json`,
            authorizedParties: values.CLERK_AUTHORIZED_PARTIES.length > 0 ? values.CLERK_AUTHORIZED_PARTIES : trustedOrigins,
          },
    clerkWebhookKeys: values.CLERK_WEBHOOK_SIGNING_SECRET,
    clerkInstanceId: values.CLERK_INSTANCE_ID,
    clerkApi:
      values.CLERK_SECRET_KEY === undefined
        ? undefined
        : { secretKey: values.CLERK_SECRET_KEY, url: values.CLERK_API_URL?.replace(/\/$/, '') },
    polarWebhookKeys: values.POLAR_WEBHOOK_SECRET,
    polarApi: billingApi(values.POLAR_ACCESS_TOKEN, values.POLAR_API_URL),
    polarMeterEvent: values.POLAR_METER_EVENT,
    dodoWebhookKeys: values.DODO_PAYMENTS_WEBHOOK_KEY,
    dodoApi: billingApi(values.DODO_PAYMENTS_API_KEY, values.DODO_PAYMENTS_API_URL),
    dodoMeterEvent: values.DODO_METER_EVENT,
    billingGraceDays: values.BILLING_GRACE_DAYS,
    billingUnconfirmedDays: values.BILLING_UNCONFIRMED_DAYS,
    plansFile,
    billingProducts,
    webhookBodyDays: values.WEBHOOK_BODY_DAYS,
    sessionIdleSeconds: values.SESSION_IDLE_SECONDS,
    sessionAbsoluteSeconds: values.SESSION_ABSOLUTE_SECONDS,
    sessionTouchSeconds: values.SESSION_TOUCH_SECONDS,
    apiRateLimit: values.RATE_LIMIT_API,
    usageRateLimit: values.RATE_LIMIT_USAGE,
    authRateLimit: values.RATE_LIMIT_AUTH,
    signInRateLimit: values.RATE_LIMIT_SIGN_IN,
    mailRateLimit: values.RATE_LIMIT_MAIL,
    mailSenderRateLimit: values.RATE_LIMIT_MAIL_SENDER,
    bodyLimitBytes: values.BODY_LIMIT_BYTES,
    maxConcurrentRequests: values.MAX_CONCURRENT_REQUESTS,
    requestTimeoutSeconds: values.REQUEST_TIMEOUT_SECONDS,
    purgeAfterDays: values.PURGE_AFTER_DAYS,
    auditRetentionDays: values.AUDIT_RETENTION_DAYS,
    usageRetentionDays: values.USAGE_RETENTION_DAYS,
    invitationDays: values.INVITATION_DAYS,
    metricsToken: values.METRICS_TOKEN,
    logLevel: values.LOG_LEVEL,
    shutdownDelaySeconds: values.SHUTDOWN_DELAY_SECONDS,
    shutdownTimeoutSeconds: values.SHUTDOWN_TIMEOUT_SECONDS,
  });
}

function oauthClient(clientId: string | undefined, clientSecret: string | undefined): OAuthClient | undefined {
  return clientId !== undefined && clientSecret !== undefined ? { clientId, clientSecret } : undefined;
}

function billingApi(token: string | undefined, url: string): BillingApiConfig | undefined {
  return token === undefined ? undefined : { token, url };
}

/** The process's environment, completed from an `.env` file where there is one. */
export function readEnvironment(): Record<string, string | undefined> {
  if (existsSync('.env')) process.loadEnvFile('.env');
  return { ...process.env };
}
