import type { NextFunction, Request, Response } from 'express';
import { isForWebhooks } from '../../platform/http/bodies/json-body.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import { RateLimited } from '../access.errors.js';
import { type FailedDeliveries, MAX_FAILURES, WINDOW_SECONDS } from './failed-deliveries.service.js';

/** Refuses webhook deliveries of an address with too many failures, before the body is read and hashed. */
export function refuseFailedDeliveries(deliveries: FailedDeliveries) {
  return (request: Request, response: Response, next: NextFunction): void => {
    if (!isForWebhooks(request)) return next();
    const client = addressBlockOf(clientAddressOf(request));
    const wait = deliveries.secondsToWait(client);
    if (wait > 0 && !deliveries.takeProbe(client)) {
      response.setHeader('RateLimit-Policy', `"webhook-failures";q=${MAX_FAILURES};w=${WINDOW_SECONDS}`);
      response.setHeader('RateLimit', `"webhook-failures";r=0;t=${wait}`);
      throw new RateLimited({
        detail: 'Too many deliveries from this address failed. Wait for the time in Retry-After.',
        // Closed, because otherwise Node would read the body to its end and throw it away.
        headers: { 'retry-after': String(wait), connection: 'close' },
      });
    }
    response.once('close', () => {
      const { statusCode } = response;
      if (statusCode === 202) deliveries.recordSuccess(client);
      // Our own failures do not count, and neither do requests that are no deliveries.
      else if (statusCode < 500 && request.method === 'POST') deliveries.recordFailure(client);
    });
    next();
  };
}
