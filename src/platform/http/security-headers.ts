import type { NextFunction, Request, Response } from 'express';

type Headers = Readonly<Record<string, string>>;

/** The defaults of helmet. The test of this file compares them. */
const COMMON: Headers = {
  'cross-origin-opener-policy': 'same-origin',
  'origin-agent-cluster': '?1',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000; includeSubDomains',
  'x-content-type-options': 'nosniff',
  'x-dns-prefetch-control': 'off',
  'x-download-options': 'noopen',
  'x-frame-options': 'SAMEORIGIN',
  'x-permitted-cross-domain-policies': 'none',
  'x-xss-protection': '0',
};

/** For every response of the API. No cache may store one. */
export const API_HEADERS: Headers = {
  ...COMMON,
  // `default-src` does not cover the last three.
  'content-security-policy': "default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
  'cross-origin-resource-policy': 'cross-origin',
  'cache-control': 'no-store',
};

/** Swagger UI runs its own scripts, and caches may store its files. */
export const DOCS_HEADERS: Headers = {
  ...COMMON,
  'content-security-policy': [
    "default-src 'self'",
    "style-src 'self' 'unsafe-inline'",
    "script-src 'self'",
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join(';'),
  'cross-origin-resource-policy': 'same-origin',
};

const API_ENTRIES = Object.entries(API_HEADERS);
const DOCS_ENTRIES = Object.entries(DOCS_HEADERS);

export function securityHeaders(request: Request, response: Response, next: NextFunction): void {
  for (const [name, value] of request.path.startsWith('/docs') ? DOCS_ENTRIES : API_ENTRIES) response.setHeader(name, value);
  next();
}
