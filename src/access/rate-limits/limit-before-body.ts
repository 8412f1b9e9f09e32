import type { NextFunction, Request, Response } from 'express';
import { hasBody } from '../../platform/http/bodies/json-body.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import { type LimitResult, waitSeconds } from './buckets.js';
import type { RateLimiter } from './rate-limiter.service.js';
import { countBeforeBody, reportLimits } from './request-limits.js';

const MAX_CLIENTS = 10_000;

/**
 * Counts requests to the sign-in routes before their body is read, so that an address over its limit cannot make us
 * read one. Other routes are counted by credential after the body: a session may be revoked while the body arrives.
 */
export function limitBeforeBody(limiter: RateLimiter, now = () => performance.now()) {
  const refusals = new RefusalCache();
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    if (/^\/v1\/auth\//i.test(request.path) && hasBody(request)) {
      const client = addressBlockOf(clientAddressOf(request));
      const cached = refusals.get(client, now());
      const result = cached ?? (await countBeforeBody(limiter, request));
      if (cached === undefined && !result.allowed) refusals.add(client, result, now());
      // Otherwise Node would read the body to its end and throw it away.
      if (!result.allowed) response.setHeader('connection', 'close');
      reportLimits([result], response);
    }
    next();
  };
}

/**
 * Remembers refused clients until their limit lets a call through, so that a flood costs no statement per request.
 * Exact: a refused call consumes nothing, and other processes can only prolong the wait.
 */
export class RefusalCache {
  private readonly byClient = new Map<string, { result: LimitResult; at: number }>();

  add(client: string, result: LimitResult, at: number): void {
    this.byClient.delete(client);
    this.byClient.set(client, { result, at });
    if (this.byClient.size > MAX_CLIENTS) this.byClient.delete(this.byClient.keys().next().value!);
  }

  get(client: string, now: number): LimitResult | undefined {
    const known = this.byClient.get(client);
    if (known === undefined) return undefined;
    const { result, at } = known;
    const current = { ...result, secondsUntilFull: result.secondsUntilFull - (now - at) / 1000 };
    if (waitSeconds(current) > 0) return current;
    this.byClient.delete(client);
    return undefined;
  }
}
