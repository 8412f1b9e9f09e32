import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { NextFunction, Request, Response } from 'express';
import helmet, { type HelmetOptions } from 'helmet';

/** helmet's headers for every answer of the API. No cache may keep one. */
export const API_HEADERS: readonly (readonly [string, string])[] = [
  ...headersOf({
    contentSecurityPolicy: {
      useDefaults: false,
      // `default-src` does not cover the last three.
      directives: { 'default-src': ["'none'"], 'base-uri': ["'none'"], 'form-action': ["'none'"], 'frame-ancestors': ["'none'"] },
    },
    crossOriginResourcePolicy: { policy: 'cross-origin' },
  }),
  ['cache-control', 'no-store'],
];

/** Swagger UI runs its own scripts, and caches may keep its files. */
const PAGE_HEADERS = headersOf({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      'default-src': ["'self'"],
      'style-src': ["'self'", "'unsafe-inline'"],
      'script-src': ["'self'"],
      'img-src': ["'self'", 'data:'],
      'object-src': ["'none'"],
      'base-uri': ["'none'"],
      'form-action': ["'none'"],
      'frame-ancestors': ["'none'"],
    },
  },
});

export function securityHeaders(request: Request, response: Response, next: NextFunction): void {
  for (const [name, value] of request.path.startsWith('/docs') ? PAGE_HEADERS : API_HEADERS) response.setHeader(name, value);
  next();
}

/** The headers are the same for every answer, so helmet runs once. */
function headersOf(options: HelmetOptions): [string, string][] {
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  helmet(options)(response.req, response, (error) => {
    if (error !== undefined) throw new Error('helmet could not make its headers', { cause: error });
  });
  return Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]);
}
