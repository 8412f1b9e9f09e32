import { Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import type { RateLimit } from '../../platform/config/value-types.js';
import type { Queryable } from '../../platform/database/database.js';
import type { Limit } from '../access.decorators.js';
import { isLeased, Leases } from '../leases/leases.service.js';
import { type BucketState, type LimitBucket, type LimitResult, secondsUntilRetry } from './buckets.js';
import { RateLimitsRepository } from './rate-limits.repository.js';

/** Counts in the database, so that all replicas share one count. */
@Injectable()
export class RateLimiter {
  private readonly policies: Record<Limit, RateLimit>;

  constructor(
    private readonly repository: RateLimitsRepository,
    private readonly leases: Leases,
    config: Config,
  ) {
    this.policies = {
      api: config.apiRateLimit,
      usage: config.usageRateLimit,
      auth: config.authRateLimit,
      mail: config.mailRateLimit,
    };
  }

  /** Returns at once for a leased limit while the lease lasts. @param subject the caller or address that the call is counted for */
  consumeCall(limit: Limit, subject: string): LimitResult | Promise<LimitResult> {
    const policy = this.policies[limit];
    const key = `${limit}:${subject}`;
    const state = isLeased(limit) ? this.leases.spend(limit, key) : this.repository.consume({ key, policy });
    return state instanceof Promise ? state.then((later) => resultOf(limit, policy, later)) : resultOf(limit, policy, state);
  }

  /** Undefined unless this process knows that the bucket refuses the subject. */
  refusalOf(limit: Limit, subject: string): LimitResult | undefined {
    const state = isLeased(limit) ? this.leases.refusalOf(limit, `${limit}:${subject}`) : undefined;
    return state && resultOf(limit, this.policies[limit], state);
  }

  /**
   * Consumes from a bucket in the transaction of the limited action; a rollback refunds it.
   * @returns undefined, or the seconds to wait when the bucket is empty
   */
  async consumeIn(db: Queryable, bucket: LimitBucket): Promise<number | undefined> {
    const state = await this.repository.consumeIn(db, bucket);
    return state.allowed ? undefined : secondsUntilRetry({ ...state, policy: bucket.policy });
  }

  /** Consumes from all of these buckets, or from none. @returns undefined, or the seconds to wait for the first empty bucket */
  async consumeAll(buckets: readonly LimitBucket[]): Promise<number | undefined> {
    for (const [index, bucket] of buckets.entries()) {
      const state = await this.repository.consume(bucket);
      if (state.allowed) continue;
      await this.refund(buckets.slice(0, index));
      return secondsUntilRetry({ ...state, policy: bucket.policy });
    }
    return undefined;
  }

  async refund(buckets: readonly LimitBucket[]): Promise<void> {
    for (const bucket of buckets) await this.repository.refund(bucket);
  }
}

function resultOf(name: Limit, policy: RateLimit, { allowed, secondsUntilFull, left }: BucketState): LimitResult {
  return { name, policy, allowed, secondsUntilFull, left };
}
