import type { NextFunction, Request, Response } from 'express';
import { hasBody } from '../../platform/http/bodies/json-body.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import { RateLimiter, type Spent, waitOf } from './rate-limiter.service.js';

const MAX_CLIENTS = 10_000;

/**
 * Spends the allowance of an address on the routes of signing in before the body is read, so that an address that
 * is over it cannot make us read one. On other routes the caller is known by a credential that the guard checks
 * after the body has arrived: checked before, a session revoked meanwhile would still get through.
 */
export function spendBeforeBody(limiter: RateLimiter, now = () => performance.now()) {
  const refusals = new Refusals();
  return async (request: Request, response: Response, next: NextFunction): Promise<void> => {
    if (/^\/v1\/auth\//i.test(request.path) && hasBody(request)) {
      const client = addressBlockOf(clientAddressOf(request));
      const refused = refusals.of(client, now());
      const spent = refused ?? (await limiter.prepay('auth', request));
      if (refused === undefined && !spent.allowance.allowed) refusals.add(client, spent, now());
      // Closed, or Node would read the body to the end and throw it away.
      if (!spent.allowance.allowed) response.setHeader('connection', 'close');
      limiter.report([spent], response);
    }
    next();
  };
}

/**
 * Remembers who was refused, until the allowance gives something back: a flood must not cost a statement for each
 * request. Exact, because a refused call spends nothing and other processes can only prolong the wait.
 */
export class Refusals {
  private readonly byClient = new Map<string, { spent: Spent; at: number }>();

  add(client: string, spent: Spent, at: number): void {
    this.byClient.delete(client);
    this.byClient.set(client, { spent, at });
    if (this.byClient.size > MAX_CLIENTS) this.byClient.delete(this.byClient.keys().next().value!);
  }

  of(client: string, now: number): Spent | undefined {
    const known = this.byClient.get(client);
    if (known === undefined) return undefined;
    const { spent, at } = known;
    const debt = spent.allowance.debt - (now - at) / 1000;
    const left = { ...spent, allowance: { allowed: false, debt } };
    if (waitOf(left) > 0) return left;
    this.byClient.delete(client);
    return undefined;
  }
}
