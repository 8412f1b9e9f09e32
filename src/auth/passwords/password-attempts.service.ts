import { Injectable } from '@nestjs/common';
import { RateLimited } from '../../access/access.errors.js';
import type { LimitBucket } from '../../access/rate-limits/buckets.js';
import { hashEmail } from '../../access/rate-limits/hashed-email.js';
import { RateLimiter } from '../../access/rate-limits/rate-limiter.service.js';
import { addressBlockOf } from '../../platform/http/network-addresses.js';
import { Config } from '../../platform/config/config.js';
import type { RateLimit } from '../../platform/config/value-types.js';
import { WrongCredentials, WrongPassword } from '../auth.errors.js';
import type { AuthRequest } from '../better-auth/auth-request.js';
import { KnownDevices } from './known-devices.service.js';

/** The account that a password is checked for: by email, or by the session of the caller. */
export type Target = { email: string } | { sessionId: string };

/**
 * Factors for the limit and the window of RATE_LIMIT_SIGN_IN. With the defaults: 10 wrong passwords in five minutes,
 * 20 in an hour, 50 in a day.
 */
const STEPS = [
  [1, 1],
  [2, 12],
  [5, 288],
] as const;

/** For all unknown senders of one account together. With the defaults: 100 in a day. */
const UNKNOWN_SENDERS = [10, 288] as const;

/** Limits guesses at a password, without letting an attacker lock the owner out (docs/decisions/0026). */
@Injectable()
export class PasswordAttempts {
  constructor(
    private readonly limiter: RateLimiter,
    private readonly devices: KnownDevices,
    private readonly config: Config,
  ) {}

  /**
   * Runs a password check. Only a wrong password counts, for which the check throws `WrongCredentials` or `WrongPassword`.
   * @throws {RateLimited} before the check, after too many wrong passwords
   */
  async run<T>(target: Target, request: AuthRequest, check: () => Promise<T>): Promise<T> {
    const buckets = await this.bucketsOf(target, request);
    // Counted before the check, so that parallel guesses get as many tries as sequential ones.
    const wait = await this.limiter.consumeAll(buckets);
    if (wait !== undefined)
      throw new RateLimited({
        detail: 'Too many wrong passwords. Wait for the number of seconds in Retry-After, or reset the password.',
        headers: { 'retry-after': String(wait) },
      });
    try {
      const result = await check();
      await this.limiter.refund(buckets);
      return result;
    } catch (error) {
      const isWrong = error instanceof WrongCredentials || error instanceof WrongPassword;
      if (!isWrong) await this.limiter.refund(buckets);
      throw error;
    }
  }

  private async bucketsOf(target: Target, request: AuthRequest): Promise<LimitBucket[]> {
    if ('sessionId' in target) return this.stepsOf(`session:${target.sessionId}`);
    const email = hashEmail(target.email);
    const known = await this.devices.recognize(target.email, request);
    if (known !== undefined) return this.stepsOf('deviceId' in known ? `device:${known.deviceId}` : `known:${email}:${known.addressBlock}`);
    const block = addressBlockOf(request.origin.ipAddress ?? undefined);
    return [
      ...this.stepsOf(`stranger:${email}:${block}`),
      // Last, so that a refusal of one address does not count against all.
      { key: `signIn:strangers:${email}`, policy: this.times(UNKNOWN_SENDERS) },
    ];
  }

  private stepsOf(key: string): LimitBucket[] {
    return STEPS.map((factors, step) => ({ key: `signIn:${key}:${step}`, policy: this.times(factors) }));
  }

  private times([limit, window]: readonly [number, number]): RateLimit {
    const { signInRateLimit: base } = this.config;
    return { limit: base.limit * limit, windowSeconds: base.windowSeconds * window };
  }
}
