import type { VariableValues } from './variables.js';

export interface OAuthClient {
  clientId: string;
  clientSecret: string;
}

export interface ClerkConfig {
  issuer: string;
  /** A public key in PEM. Without it the keys are fetched from `jwksUrl`. */
  jwtKey?: string;
  jwksUrl: string;
  authorizedParties: string[];
}

export interface ClerkApiConfig {
  secretKey: string;
  /** The origin of Clerk's Backend API where it is not the public one. */
  url?: string;
}

export interface BillingApiConfig {
  token: string;
  url: string;
}

/** Settings that depend on more than one variable. A feature without its secret is undefined. */
export function derivedSettings(values: VariableValues) {
  const isProduction = values.environment === 'production';
  const publicUrl = values.publicUrl ?? `http://localhost:${values.port}`;
  const trustedOrigins = [...new Set([publicUrl, ...values.trustedOrigins])];
  return {
    isProduction,
    host: values.host ?? (isProduction ? '0.0.0.0' : '127.0.0.1'),
    publicUrl,
    /** Exact origins and `https://*.…` patterns, for `isTrustedOrigin` alone. */
    trustedOrigins,
    databaseDirectUrl: values.databaseDirectUrl ?? values.databaseUrl,
    google: oauthClient(values.googleClientId, values.googleClientSecret),
    github: oauthClient(values.githubClientId, values.githubClientSecret),
    clerk: clerkConfig(values, trustedOrigins),
    clerkApi: clerkApi(values),
    polarApi: billingApi(values.polarAccessToken, values.polarApiUrl),
    dodoApi: billingApi(values.dodoApiKey, values.dodoApiUrl),
  };
}

function oauthClient(clientId: string | undefined, clientSecret: string | undefined): OAuthClient | undefined {
  return clientId !== undefined && clientSecret !== undefined ? { clientId, clientSecret } : undefined;
}

function clerkConfig(values: VariableValues, trustedOrigins: string[]): ClerkConfig | undefined {
  const issuer = values.clerkIssuer;
  if (issuer === undefined) return undefined;
  return {
    issuer,
    jwtKey: values.clerkJwtKey,
    jwksUrl: values.clerkJwksUrl ?? `${issuer}/.well-known/jwks.json`,
    authorizedParties: values.clerkAuthorizedParties.length > 0 ? values.clerkAuthorizedParties : trustedOrigins,
  };
}

function clerkApi({ clerkSecretKey, clerkApiUrl }: VariableValues): ClerkApiConfig | undefined {
  return clerkSecretKey === undefined ? undefined : { secretKey: clerkSecretKey, url: clerkApiUrl };
}

function billingApi(token: string | undefined, url: string): BillingApiConfig | undefined {
  return token === undefined ? undefined : { token, url };
}
