import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { MetersModule } from './exports/meter-exports.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { OrganizationUsageController } from './organization-usage.controller.js';
import { UsageAlerts } from './alerts/usage-alerts.service.js';
import { UsageLedger } from './ledger/usage-ledger.service.js';
import { UsageController } from './usage.controller.js';
import { PartitionedUsageRepository } from './partitions/partitioned-usage.repository.js';
import { UsagePartitions } from './partitions/usage-partitions.job.js';
import { UsagePeriods } from './quotas/usage-periods.service.js';
import { UsageRetention } from './partitions/usage-retention.job.js';
import { HoldExpiry } from './holds/hold-expiry.job.js';
import { HeldUsageRepository } from './holds/held-usage.repository.js';
import { UsageRepository } from './ledger/usage.repository.js';
import { ComparedUsageRepository } from './reconciliation/compared-usage.repository.js';
import { UsageReconciliation } from './reconciliation/usage-reconciliation.service.js';
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
    HoldExpiry,
    HeldUsageRepository,
    ComparedUsageRepository,
    UsageReconciliation,
  ],
  exports: [UsageService, UsageAlerts, UsageReconciliation],
})
export class UsageModule {}
