import type { CorsOptions } from '@nestjs/common/interfaces/external/cors-options.interface.js';
import { isTrustedOrigin } from '../config/trusted-origins.js';

const EXPOSED_HEADERS = [
  'X-Request-Id',
  'RateLimit',
  'RateLimit-Policy',
  'Retry-After',
  'Set-Auth-Token',
  'Idempotent-Replayed',
  'Content-Disposition',
];

export function corsFor(trustedOrigins: readonly string[]): CorsOptions {
  return {
    // An empty list refuses the origin and still responds to the preflight.
    origin: (origin: string | undefined, decide) =>
      decide(null, origin !== undefined && isTrustedOrigin(trustedOrigins, origin) ? true : []),
    credentials: true,
    // Chromium keeps a preflight for two hours at most.
    maxAge: 7200,
    exposedHeaders: EXPOSED_HEADERS,
  };
}
