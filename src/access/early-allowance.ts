import type { NextFunction, Request, Response } from 'express';
import { hasBody } from '../common/json-body.js';
import { RateLimiter } from './rate-limiter.js';

/**
 * Spends the allowance of an address on the routes of signing in before the body is read, so that an address that
 * is over it cannot make us read one. On other routes the caller is known by a credential that the guard checks
 * after the body has arrived: checked before, a session revoked meanwhile would still get through.
 */
export function spendBeforeBody(limiter: RateLimiter) {
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    if (/^\/v1\/auth\//i.test(request.path) && hasBody(request)) limiter.report(await limiter.prepay('auth', request), response);
    next();
  };
}
