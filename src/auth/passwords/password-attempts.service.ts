import { Injectable } from '@nestjs/common';
import type { Request } from 'express';
import { RateLimited } from '../../access/access.errors.js';
import type { Bucket } from '../../access/rate-limits/buckets.js';
import { hashEmail } from '../../access/rate-limits/hashed-email.js';
import { RateLimiter } from '../../access/rate-limits/rate-limiter.service.js';
import { addressBlockOf, clientAddressOf } from '../../platform/http/network-addresses.js';
import { Config } from '../../platform/config/config.js';
import type { RateLimit } from '../../platform/config/value-types.js';
import { WrongCredentials, WrongPassword } from '../auth.errors.js';
import { KnownDevices } from './known-devices.service.js';

/** Whose password is checked: of the account with an email, or of the user whose session asks. */
export type Target = { email: string } | { sessionId: string };

/**
 * The longer somebody guesses, the longer they wait: 10 in five minutes, 20 in an hour, 50 in a day with the defaults.
 * The factors apply to the limit and to the window of RATE_LIMIT_SIGN_IN.
 */
const STEPS = [
  [1, 1],
  [2, 12],
  [5, 288],
] as const;

/** Of all strangers together, against one account: 100 in a day with the defaults. */
const STRANGERS = [10, 288] as const;

/** Bounds guesses at the password of an account, so that nobody can lock its owner out (docs/decisions/0026). */
@Injectable()
export class PasswordAttempts {
  constructor(
    private readonly limiter: RateLimiter,
    private readonly devices: KnownDevices,
    private readonly config: Config,
  ) {}

  /**
   * Runs a check of a password. Only a wrong one counts: the check throws `WrongCredentials` or `WrongPassword` for it.
   *
   * @throws {RateLimited} before the check, with `Retry-After`, after too many wrong ones
   */
  async run<T>(target: Target, request: Request, check: () => Promise<T>): Promise<T> {
    const bounds = await this.boundsOf(target, request);
    // Counted before the outcome is known: of a thousand guesses at once no more get through than one after the other.
    const wait = await this.limiter.consumeAll(bounds);
    if (wait !== undefined)
      throw new RateLimited({
        detail: 'Too many wrong passwords. Wait for the time in Retry-After, or reset the password.',
        headers: { 'retry-after': String(wait) },
      });
    try {
      const result = await check();
      await this.limiter.refund(bounds);
      return result;
    } catch (error) {
      const isWrong = error instanceof WrongCredentials || error instanceof WrongPassword;
      if (!isWrong) await this.limiter.refund(bounds);
      throw error;
    }
  }

  private async boundsOf(target: Target, request: Request): Promise<Bucket[]> {
    if ('sessionId' in target) return this.stepsOf(`session:${target.sessionId}`);
    const email = hashEmail(target.email);
    const known = await this.devices.recognize(target.email, request);
    if (known !== undefined) return this.stepsOf('deviceId' in known ? `device:${known.deviceId}` : `known:${email}:${known.addressBlock}`);
    const block = addressBlockOf(clientAddressOf(request));
    return [
      ...this.stepsOf(`stranger:${email}:${block}`),
      // Last: what one address is refused must not count toward the bound of all.
      { key: `signIn:strangers:${email}`, policy: this.times(STRANGERS) },
    ];
  }

  private stepsOf(key: string): Bucket[] {
    return STEPS.map((factors, step) => ({ key: `signIn:${key}:${step}`, policy: this.times(factors) }));
  }

  private times([limit, window]: readonly [number, number]): RateLimit {
    const { signInRateLimit: base } = this.config;
    return { limit: base.limit * limit, windowSeconds: base.windowSeconds * window };
  }
}
