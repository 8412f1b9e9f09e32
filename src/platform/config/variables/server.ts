import { headerLines, secretText } from '../secret-types.js';
import {
  amount,
  baseUrl,
  choice,
  onOrOff,
  origin,
  port,
  share,
  text,
  trustedOrigins,
  trustedProxies,
  wholeNumber,
} from '../value-types.js';
import type { Variables } from '../variable.js';

export const SERVER_VARIABLES = {
  environment: {
    name: 'NODE_ENV',
    type: choice('development', 'test', 'production'),
    default: 'development',
    description:
      '`development`, `test` or `production`. Production needs `DATABASE_URL`, `PUBLIC_URL`, `AUTH_SECRET` and `ENCRYPTION_KEYS`, and never starts the embedded database.',
  },
  host: {
    name: 'HOST',
    type: text,
    whenUnset: '`127.0.0.1`, in production `0.0.0.0`',
    example: '127.0.0.1',
    description: 'The address to listen on.',
  },
  port: { name: 'PORT', type: port, default: '3000', description: 'The port to listen on.' },
  publicUrl: {
    name: 'PUBLIC_URL',
    type: origin,
    whenUnset: '`http://localhost:PORT`, required in production',
    example: 'https://api.example.com',
    description:
      'The origin of this API as its users see it. With https, cookies are `Secure`. Production accepts http only for the machine itself (`http://localhost:3000`).',
  },
  trustedOrigins: {
    name: 'TRUSTED_ORIGINS',
    type: trustedOrigins,
    default: '',
    example: 'https://app.example.com,https://*.preview.example.com',
    description:
      'The origins of your front ends, separated by commas, for CORS, cookies and redirects. `https://*.example.com` matches every host one label below.',
  },
  apiDocs: { name: 'API_DOCS', type: onOrOff, default: 'on', description: '`off` removes `/docs` and `/openapi.json`.' },
  trustProxy: {
    name: 'TRUST_PROXY',
    type: trustedProxies,
    default: '0',
    description:
      'The proxies in front of this process that may set `X-Forwarded-For`: how many there are, or their addresses and subnets, such as `10.0.0.0/8,fd00::/8`.',
  },
  metricsToken: {
    name: 'METRICS_TOKEN',
    type: secretText(16),
    secret: true,
    description: 'The bearer token for `/metrics`, at least 16 characters. In production there are no metrics without it.',
  },
  otlpEndpoint: {
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    type: baseUrl,
    example: 'http://localhost:4318',
    description: 'Where to send traces (OTLP over HTTP, `/v1/traces` is appended). Without it there are none.',
  },
  otlpHeaders: {
    name: 'OTEL_EXPORTER_OTLP_HEADERS',
    type: headerLines,
    secret: true,
    requires: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    example: 'authorization=Bearer%20a-token',
    description: 'Headers for the collector, as `name=value` pairs separated by commas, with percent-encoded values.',
  },
  otelSampledShare: {
    name: 'OTEL_TRACES_SAMPLER_ARG',
    type: share,
    default: '1',
    description: 'The share of traces to keep, from 0 to 1. A caller that sends `traceparent` decides for itself.',
  },
  otelServiceName: { name: 'OTEL_SERVICE_NAME', type: text, default: 'tenantry', description: 'The `service.name` of traces.' },
  logLevel: {
    name: 'LOG_LEVEL',
    type: choice('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    default: 'info',
    description: '`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`.',
  },
  shutdownDelaySeconds: {
    name: 'SHUTDOWN_DELAY_SECONDS',
    type: amount('seconds', 0, 60),
    default: '2',
    description: 'How long after SIGTERM the server still accepts requests while its readiness check already fails.',
  },
  shutdownTimeoutSeconds: {
    name: 'SHUTDOWN_TIMEOUT_SECONDS',
    type: wholeNumber('seconds', 1),
    default: '20',
    description: 'How long requests in flight may take after that. Then their connections are closed.',
  },
} as const satisfies Variables;
