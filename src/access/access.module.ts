import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { JobsModule } from '../jobs/jobs.module.js';
import { AccessGuard } from './access.guard.js';
import { AccessRepository } from './access.repository.js';
import { ClerkTokens } from './credentials/clerk-tokens.service.js';
import { FailedDeliveries } from './rate-limits/failed-deliveries.service.js';
import { Leases } from './leases/leases.service.js';
import { LeasesRepository } from './leases/leases.repository.js';
import { RateLimiter } from './rate-limits/rate-limiter.service.js';
import { RateLimitsCleanup } from './rate-limits/rate-limits.job.js';
import { RateLimitsRepository } from './rate-limits/rate-limits.repository.js';
import { UsesRepository } from './uses/uses.repository.js';
import { Uses } from './uses/uses.service.js';

/** The guard of every route. Needs a global provider of `ClerkSignIn`. */
@Module({
  imports: [JobsModule],
  providers: [
    AccessRepository,
    ClerkTokens,
    FailedDeliveries,
    Leases,
    LeasesRepository,
    RateLimiter,
    RateLimitsCleanup,
    RateLimitsRepository,
    Uses,
    UsesRepository,
    { provide: APP_GUARD, useClass: AccessGuard },
  ],
  exports: [RateLimiter],
})
export class AccessModule {}
