import { generateKeyPairSync } from 'node:crypto';
import { type Config, ConfigError, loadConfig } from './config.js';

const KEY = Buffer.alloc(32, 1).toString('base64');
const PEM = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }).toString();
const REQUIRED = { DATABASE_URL: 'postgres://localhost/tenantry', AUTH_SECRET: 's'.repeat(32), ENCRYPTION_KEYS: `one:${KEY}` };

function mistakesOf(environment: Record<string, string | undefined>): string[] {
  try {
    loadConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.mistakes;
    throw error;
  }
  return [];
}

const configOf = (environment: Record<string, string>): Config => loadConfig({ ...REQUIRED, ...environment });

describe('the configuration', () => {
  it('requires a database and two secrets, and reports all three at once', () => {
    expect(mistakesOf({})).toEqual(['DATABASE_URL is not set', 'AUTH_SECRET is not set', 'ENCRYPTION_KEYS is not set']);
  });

  it('reports every mistake at once', () => {
    const mistakes = mistakesOf({
      DATABASE_URL: 'mysql://localhost/x',
      AUTH_SECRET: 'short',
      ENCRYPTION_KEYS: 'one:c2hvcnQ=',
      PORT: '70000',
      PUBLIC_URL: 'ftp://example.com',
      TRUSTED_ORIGINS: 'https://app.example.com,nonsense',
      TRUST_PROXY: 'yes',
      SMTP_URL: 'http://mail',
      NODE_ENV: 'staging',
      RATE_LIMIT_API: 'fast',
      SESSION_IDLE_SECONDS: '100',
      SESSION_ABSOLUTE_SECONDS: '99',
      GOOGLE_CLIENT_ID: 'id',
      GITHUB_CLIENT_SECRET: 'secret',
      CLERK_JWT_KEY: 'key',
      METRICS_TOKEN: 'short',
      LOG_LEVEL: 'loud',
      SHUTDOWN_DELAY_SECONDS: 'long',
      DATABASE_POOL_SIZE: 'big',
      POLAR_METER_EVENT: 'tokens',
      DODO_METER_EVENT: 'x'.repeat(129),
    });
    const named = [
      'DATABASE_URL must be a postgres:// URL',
      'AUTH_SECRET must be at least 32 characters',
      'ENCRYPTION_KEYS must be id:key pairs, each key 32 bytes in base64',
      'PORT must be a port, from 0 to 65535',
      'PUBLIC_URL must be an http(s) URL',
      'TRUSTED_ORIGINS must be an http(s) URL',
      'TRUST_PROXY must be the number of proxies in front',
      'SMTP_URL must be an smtp:// or smtps:// URL',
      'NODE_ENV must be one of development, test, production',
      'RATE_LIMIT_API must be requests/seconds',
      'SESSION_IDLE_SECONDS must not exceed SESSION_ABSOLUTE_SECONDS',
      'GOOGLE_CLIENT_SECRET is not set, but GOOGLE_CLIENT_ID needs it',
      'GITHUB_CLIENT_ID is not set, but GITHUB_CLIENT_SECRET needs it',
      'CLERK_ISSUER is not set, but CLERK_JWT_KEY needs it',
      'CLERK_JWT_KEY must be a public key in PEM',
      'METRICS_TOKEN must be at least 16 characters',
      'LOG_LEVEL must be one of fatal, ',
      'SHUTDOWN_DELAY_SECONDS must be a number of seconds, from 0 to 60',
      'DATABASE_POOL_SIZE must be a whole number of connections, from 2 to 500',
      'POLAR_ACCESS_TOKEN is not set, but POLAR_METER_EVENT needs it',
      'DODO_PAYMENTS_API_KEY is not set, but DODO_METER_EVENT needs it',
      'DODO_METER_EVENT must be at most 128 characters',
    ];
    for (const start of named) expect(mistakes.filter((mistake) => mistake.startsWith(start))).toHaveLength(1);
    expect(mistakes).toHaveLength(named.length);
    expect(new ConfigError(mistakes).message.split('\n')).toHaveLength(named.length + 1);
  });

  it.each(Object.keys(REQUIRED))('treats an empty %s as not set', (name) => {
    for (const empty of ['', '  ', undefined]) expect(mistakesOf({ ...REQUIRED, [name]: empty })).toEqual([`${name} is not set`]);
  });

  it('treats empty optional variables as not set', () => {
    const config = configOf({
      SMTP_URL: '',
      PORT: ' ',
      GOOGLE_CLIENT_ID: '',
      GOOGLE_CLIENT_SECRET: '',
      CLERK_ISSUER: '',
      METRICS_TOKEN: '',
    });
    expect(config).toMatchObject({ port: 3000, smtpUrl: undefined, google: undefined, clerk: undefined, metricsToken: undefined });
  });

  it('has defaults for development', () => {
    expect(configOf({})).toMatchObject({
      environment: 'development',
      isProduction: false,
      host: '127.0.0.1',
      port: 3000,
      publicUrl: 'http://localhost:3000',
      trustedOrigins: ['http://localhost:3000'],
      trustProxy: 0,
      databaseDirectUrl: REQUIRED.DATABASE_URL,
      sessionIdleSeconds: 604_800,
      sessionAbsoluteSeconds: 2_592_000,
      apiRateLimit: { limit: 1000, windowSeconds: 60 },
      bodyLimitBytes: 1_048_576,
      shutdownDelaySeconds: 2,
      shutdownTimeoutSeconds: 20,
    });
  });

  it('puts the port into the public URL of development, and listens on every address in production', () => {
    expect(configOf({ PORT: '8080' })).toMatchObject({ publicUrl: 'http://localhost:8080' });
    expect(configOf({ NODE_ENV: 'production', PUBLIC_URL: 'https://api.example.com' })).toMatchObject({
      isProduction: true,
      host: '0.0.0.0',
    });
  });

  it('requires the public URL in production, with https unless it is this machine', () => {
    const inProduction = (PUBLIC_URL: string) => mistakesOf({ ...REQUIRED, NODE_ENV: 'production', PUBLIC_URL });
    for (const url of ['https://api.example.com', 'http://localhost:3000', 'http://127.0.0.1', 'http://127.1.2.3:80', 'http://[::1]:3000'])
      expect(inProduction(url)).toEqual([]);
    expect(inProduction(' ')).toEqual(['PUBLIC_URL is not set']);
    expect(inProduction('nonsense')).toEqual(['PUBLIC_URL must be an http(s) URL']);
    for (const url of [
      'http://api.example.com',
      'http://localhost.example.com',
      'http://127.0.0.1.example.com',
      'http://10.0.0.1',
      'http://0.0.0.0',
    ])
      expect(inProduction(url)).toEqual(['PUBLIC_URL must be an https URL in production (http only for localhost)']);
    expect(mistakesOf({ ...REQUIRED, PUBLIC_URL: 'http://api.example.com' })).toEqual([]);
  });

  it('trusts its own origin and the listed ones, each once', () => {
    const config = configOf({
      PUBLIC_URL: 'https://API.example.com/',
      TRUSTED_ORIGINS: 'https://app.example.com/, https://app.example.com,https://api.example.com',
    });
    expect(config.publicUrl).toBe('https://api.example.com');
    expect(config.trustedOrigins).toEqual(['https://api.example.com', 'https://app.example.com']);
  });

  it('reads the trusted proxies as a number, or as addresses and subnets', () => {
    expect(configOf({ TRUST_PROXY: '2' }).trustProxy).toBe(2);
    expect(configOf({ TRUST_PROXY: '10' }).trustProxy).toBe(10);
    expect(configOf({ TRUST_PROXY: '10.0.0.0/8, fd00::/8,192.0.2.1,2001:db8::1,loopback' }).trustProxy).toEqual([
      '10.0.0.0/8',
      'fd00::/8',
      '192.0.2.1',
      '2001:db8::1',
      'loopback',
    ]);
    for (const TRUST_PROXY of ['true', '11', '-1', '0x2', '1e1', '0.0.0.0/0', '::/0', '10.0.0.0/33', '10.0.0', '10.0.0.0/8,all'])
      expect(mistakesOf({ ...REQUIRED, TRUST_PROXY })).toEqual([
        'TRUST_PROXY must be the number of proxies in front (0 to 10), or their addresses and subnets, for example 10.0.0.0/8',
      ]);
  });

  it('accepts a wildcard for one label below a domain only', () => {
    expect(configOf({ TRUSTED_ORIGINS: 'https://*.Example.com' }).trustedOrigins).toEqual([
      'http://localhost:3000',
      'https://*.example.com',
    ]);
    for (const wrong of ['*', 'https://*', 'https://*.com', 'http://*.example.com', 'https://*.*.example.com'])
      expect(
        mistakesOf({ ...REQUIRED, TRUSTED_ORIGINS: wrong, CLERK_ISSUER: 'https://clerk.test', CLERK_AUTHORIZED_PARTIES: wrong }),
      ).toEqual([
        expect.stringMatching(/^TRUSTED_ORIGINS must be/),
        expect.stringMatching(/^CLERK_AUTHORIZED_PARTIES may have a wildcard only/),
      ]);
  });

  it('reads encryption keys newest first', () => {
    const { encryptionKeys } = configOf({ ENCRYPTION_KEYS: `new:${Buffer.alloc(32, 2).toString('base64')}, old:${KEY}` });
    expect(encryptionKeys.map(({ id, key }) => [id, key[0], key.length])).toEqual([
      ['new', 2, 32],
      ['old', 1, 32],
    ]);
  });

  it('reads headers for a collector of traces', () => {
    const configured = (headers: string) => ({
      ...REQUIRED,
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318/',
      OTEL_EXPORTER_OTLP_HEADERS: headers,
    });
    const { otlpEndpoint, otlpHeaders, otelSampledShare } = loadConfig(configured('X-Key=a%20b, other=c=d'));
    expect({ otlpEndpoint, otlpHeaders, otelSampledShare }).toEqual({
      otlpEndpoint: 'http://localhost:4318',
      otlpHeaders: { 'x-key': 'a b', other: 'c=d' },
      otelSampledShare: 1,
    });
    const mistake = 'OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs, with percent-encoded values';
    for (const wrong of ['x', '=x', 'x=', 'x=%ff', 'a b=c']) expect([wrong, mistakesOf(configured(wrong))]).toEqual([wrong, [mistake]]);
    expect(mistakesOf({ ...REQUIRED, OTEL_TRACES_SAMPLER_ARG: '1.1' })).toEqual(['OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1']);
  });

  it('refuses two encryption keys with the same id', () => {
    expect(mistakesOf({ ...REQUIRED, ENCRYPTION_KEYS: `one:${KEY},one:${Buffer.alloc(32, 2).toString('base64')}` })).toEqual([
      'ENCRYPTION_KEYS must not use an id twice',
    ]);
    expect(mistakesOf({ ...REQUIRED, ENCRYPTION_KEYS: ',' })).toEqual(['ENCRYPTION_KEYS must hold at least one id:key pair']);
  });

  it('compares the session lifetimes with each other, also against a default and next to other mistakes', () => {
    const wrong = 'SESSION_IDLE_SECONDS must not exceed SESSION_ABSOLUTE_SECONDS';
    expect(mistakesOf({ ...REQUIRED, SESSION_ABSOLUTE_SECONDS: '3600' })).toEqual([wrong]);
    expect(mistakesOf({ ...REQUIRED, SESSION_ABSOLUTE_SECONDS: '3600', AUTH_SECRET: 'short' })).toContain(wrong);
  });

  it('accepts equal session lifetimes, but not an idle one that is a second longer', () => {
    const lifetimes = (idle: number, absolute: number) => ({
      ...REQUIRED,
      SESSION_IDLE_SECONDS: String(idle),
      SESSION_ABSOLUTE_SECONDS: String(absolute),
    });
    expect(mistakesOf(lifetimes(3600, 3600))).toEqual([]);
    expect(mistakesOf(lifetimes(3601, 3600))).toEqual(['SESSION_IDLE_SECONDS must not exceed SESSION_ABSOLUTE_SECONDS']);
  });

  it('switches a provider on when its credentials are set', () => {
    const config = configOf({
      GOOGLE_CLIENT_ID: 'id',
      GOOGLE_CLIENT_SECRET: 'secret',
      CLERK_ISSUER: 'https://clerk.example.com/',
      CLERK_JWT_KEY: PEM.replaceAll('\n', '\\n'),
      TRUSTED_ORIGINS: 'https://app.example.com',
    });
    expect(config.google).toEqual({ clientId: 'id', clientSecret: 'secret' });
    expect(config.github).toBeUndefined();
    expect(config.clerk).toEqual({
      issuer: 'https://clerk.example.com',
      jwtKey: PEM,
      jwksUrl: 'https://clerk.example.com/.well-known/jwks.json',
      authorizedParties: ['http://localhost:3000', 'https://app.example.com'],
    });
  });
});
