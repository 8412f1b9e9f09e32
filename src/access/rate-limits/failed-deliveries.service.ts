import { Injectable } from '@nestjs/common';
import type { NextFunction, Request, Response } from 'express';
import { RateLimited } from '../access.errors.js';
import { Clock } from '../../platform/time/clock.service.js';
import { isForWebhooks } from '../../platform/http/bodies/json-body.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';

export const MAX_FAILURES = 20;
export const WINDOW_SECONDS = 60;
const TRUST_MS = 24 * 3600_000;
const MAX_CLIENTS = 10_000;
/** How often one delivery of a refused address is read all the same. */
const PROBE_MS = 5000;

interface Window {
  failures: number;
  endsAt: number;
  nextProbeAt: number;
}

/**
 * Counts deliveries that failed, by address, and refuses an address with too many of them before its body is read and
 * hashed. An address that delivered a valid message within a day is never refused: anybody can have a provider send
 * wrongly signed messages to us from the provider's own addresses. One delivery in five seconds is read in any case, so
 * that a provider earns that trust. Kept in the process, which a flood must not leave.
 */
@Injectable()
export class FailedDeliveries {
  private readonly windows = new Map<string, Window>();
  private readonly trusted = new Map<string, number>();

  constructor(private readonly clock: Clock) {}

  readonly refuse = (request: Request, response: Response, next: NextFunction): void => {
    if (!isForWebhooks(request)) return next();
    const client = addressBlockOf(clientAddressOf(request));
    const wait = this.secondsToWait(client);
    if (wait > 0 && !this.takeProbe(client)) {
      response.setHeader('RateLimit-Policy', `"webhook-failures";q=${MAX_FAILURES};w=${WINDOW_SECONDS}`);
      response.setHeader('RateLimit', `"webhook-failures";r=0;t=${wait}`);
      throw new RateLimited({
        detail: 'Too many deliveries from this address failed. Wait for the time in Retry-After.',
        // Closed, or Node would read the body to the end and throw it away.
        headers: { 'retry-after': String(wait), connection: 'close' },
      });
    }
    response.once('close', () => {
      const { statusCode } = response;
      if (statusCode === 202) this.succeeded(client);
      // What is our own fault does not count, nor does what is no delivery.
      else if (statusCode < 500 && request.method === 'POST') this.failed(client);
    });
    next();
  };

  /** Returns how long the address is refused; 0 when it is not. */
  secondsToWait(client: string): number {
    const now = this.clock.now().getTime();
    const window = this.windows.get(client);
    if (window === undefined || window.failures < MAX_FAILURES || window.endsAt <= now) return 0;
    if (now - (this.trusted.get(client) ?? -Infinity) < TRUST_MS) return 0;
    return Math.ceil((window.endsAt - now) / 1000);
  }

  /** Whether a delivery of a refused address is read now; the next one is not. */
  takeProbe(client: string): boolean {
    const now = this.clock.now().getTime();
    const window = this.windows.get(client);
    if (window === undefined || now < window.nextProbeAt) return false;
    window.nextProbeAt = now + PROBE_MS;
    return true;
  }

  failed(client: string): void {
    const now = this.clock.now().getTime();
    const known = this.windows.get(client);
    const failures = known === undefined || known.endsAt <= now ? 1 : known.failures + 1;
    // From the last allowed failure on, the address waits for a whole window.
    const endsAt = failures === 1 || failures === MAX_FAILURES ? now + WINDOW_SECONDS * 1000 : known!.endsAt;
    const nextProbeAt = failures <= MAX_FAILURES ? now + PROBE_MS : known!.nextProbeAt;
    remember(this.windows, client, { failures, endsAt, nextProbeAt });
  }

  succeeded(client: string): void {
    remember(this.trusted, client, this.clock.now().getTime());
  }

  /** How many addresses are remembered. */
  get size(): number {
    return this.windows.size + this.trusted.size;
  }
}

/** Forgets the address that was heard of the longest ago where there are too many. */
function remember<T>(map: Map<string, T>, client: string, value: T): void {
  map.delete(client);
  map.set(client, value);
  if (map.size > MAX_CLIENTS) map.delete(map.keys().next().value!);
}
