import { Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import type { RateLimit } from '../../platform/config/value-types.js';
import type { Queryable } from '../../platform/database/database.js';
import type { Limit } from '../access.decorators.js';
import { type LimitBucket, type LimitResult, type LimitSubject, secondsUntilRetry } from './buckets.js';
import { RateLimitsRepository } from './rate-limits.repository.js';

/** Counts in the database, so that all replicas share one count. */
@Injectable()
export class RateLimiter {
  private readonly policies: Record<Limit, RateLimit>;

  constructor(
    private readonly repository: RateLimitsRepository,
    config: Config,
  ) {
    this.policies = {
      api: config.apiRateLimit,
      usage: config.usageRateLimit,
      auth: config.authRateLimit,
      mail: config.mailRateLimit,
    };
  }

  async consumeCall(limit: Limit, subject: LimitSubject): Promise<LimitResult> {
    const policy = this.policies[limit];
    return { name: limit, policy, ...(await this.repository.consumeCall(limit, policy, subject)) };
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
