import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { MembershipsModule } from '../memberships/memberships.module.js';
import { ClerkModule } from '../providers/clerk/clerk.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { UsageModule } from '../usage/usage.module.js';
import { VerificationRepository } from './verification.repository.js';
import { VerificationReports } from './verification-reports.service.js';
import { VerificationService } from './verification.service.js';

@Module({
  imports: [AuditModule, JobsModule, MembershipsModule, UsageModule, ClerkModule, SubscriptionsModule],
  providers: [VerificationRepository, VerificationService, VerificationReports],
  exports: [VerificationService, VerificationReports],
})
export class VerificationModule {}
