import { Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { AccessGuard } from './access.guard.js';
import { AccessRepository } from './access.repository.js';
import { ClerkTokens } from './credentials/clerk-tokens.service.js';
import { FailedDeliveries } from './rate-limits/failed-deliveries.service.js';
import { RateLimiter } from './rate-limits/rate-limiter.service.js';

/** The guard before every route. Whoever uses it provides `ClerkSignIn` globally. */
@Module({
  providers: [AccessRepository, FailedDeliveries, RateLimiter, ClerkTokens, { provide: APP_GUARD, useClass: AccessGuard }],
  exports: [RateLimiter],
})
export class AccessModule {}
