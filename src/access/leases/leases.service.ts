import { type BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { Config } from '../../platform/config/config.js';
import type { RateLimit } from '../../platform/config/value-types.js';
import type { BucketState } from '../rate-limits/buckets.js';
import { RateLimitsRepository } from '../rate-limits/rate-limits.repository.js';
import { type LeaseGrant, type LeaseRequest, type LeaseTerms, leaseTerms } from './lease-terms.js';
import { LeasedLimit } from './leased-limit.js';
import { LeasesRepository } from './leases.repository.js';

type LeasedLimitName = 'api' | 'usage';

/** Other limits are counted exactly, one statement a call. */
export function isLeased(limit: string): limit is LeasedLimitName {
  return limit === 'api' || limit === 'usage';
}

/** Counts frequent calls in memory, from calls that the database has counted already (docs/decisions/0065). */
@Injectable()
export class Leases implements BeforeApplicationShutdown {
  private readonly limits: Record<LeasedLimitName, LeasedLimit>;

  constructor(
    private readonly repository: LeasesRepository,
    private readonly rateLimits: RateLimitsRepository,
    config: Config,
  ) {
    const leased = (policy: RateLimit) =>
      new LeasedLimit(leaseTerms(policy), {
        grant: (terms, requests) => this.grant(policy, terms, requests),
        now: () => performance.now(),
        after: (milliseconds, work) => (milliseconds === 0 ? setImmediate(work) : setTimeout(work, milliseconds).unref()),
      });
    this.limits = { api: leased(config.apiRateLimit), usage: leased(config.usageRateLimit) };
  }

  spend(limit: LeasedLimitName, key: string): BucketState | Promise<BucketState> {
    return this.limits[limit].spend(key);
  }

  refusalOf(limit: LeasedLimitName, key: string): BucketState | undefined {
    return this.limits[limit].refusalOf(key);
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(Object.values(this.limits).map((limit) => limit.close()));
  }

  private async grant(policy: RateLimit, terms: LeaseTerms, requests: LeaseRequest[]): Promise<LeaseGrant[]> {
    const [one, ...others] = requests;
    const isOneCall = one !== undefined && others.length === 0 && one.waiting === 1 && one.ahead + one.unused === 0;
    if (!isOneCall) return this.repository.grant(terms, requests);
    const { allowed, secondsUntilFull } = await this.rateLimits.consume({ key: one.key, policy });
    return [{ key: one.key, admitted: allowed ? 1 : 0, leased: 0, backlog: secondsUntilFull * 1e6, mark: 0 }];
  }
}
