import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { MetersModule } from '../meters/meters.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { OrganizationUsageController } from './organization-usage.controller.js';
import { UsageAlerts } from './usage-alerts.js';
import { UsageLedger } from './usage-ledger.js';
import { UsageController } from './usage.controller.js';
import { PartitionedUsageRepository } from './partitioned-usage.repository.js';
import { UsagePartitions } from './usage-partitions.js';
import { UsagePeriods } from './usage-periods.js';
import { UsageRetention } from './usage-retention.js';
import { HoldSweeps } from './hold-sweeps.js';
import { HeldUsageRepository } from './held-usage.repository.js';
import { UsageRepository } from './usage.repository.js';
import { ComparedUsageRepository } from './compared-usage.repository.js';
import { UsageVerification } from './usage-verification.js';
import { UsageService } from './usage.service.js';

@Module({
  imports: [JobsModule, MetersModule, OutboxModule, PlansModule, SubscriptionsModule],
  controllers: [UsageController, OrganizationUsageController],
  providers: [
    UsageRepository,
    UsageLedger,
    UsageAlerts,
    UsageService,
    UsagePeriods,
    UsagePartitions,
    PartitionedUsageRepository,
    UsageRetention,
    HoldSweeps,
    HeldUsageRepository,
    ComparedUsageRepository,
    UsageVerification,
  ],
  exports: [UsageService, UsageAlerts, UsageVerification],
})
export class UsageModule {}
