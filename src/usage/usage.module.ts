import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { MeterExportsModule } from './exports/meter-exports.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { OrganizationUsageController } from './organization-usage.controller.js';
import { UsageAlerts } from './alerts/usage-alerts.service.js';
import { UsageMetrics } from './ledger/usage-metrics.service.js';
import { UsageLedger } from './ledger/usage-ledger.service.js';
import { UsageController } from './usage.controller.js';
import { PartitionedUsageRepository } from './partitions/partitioned-usage.repository.js';
import { UsagePartitions } from './partitions/usage-partitions.job.js';
import { UsagePeriods } from './quotas/usage-periods.service.js';
import { UsageRetention } from './partitions/usage-retention.job.js';
import { HoldExpiry } from './holds/hold-expiry.job.js';
import { UsageAlertsRepository } from './alerts/usage-alerts.repository.js';
import { UsageEventsRepository } from './events/usage-events.repository.js';
import { UsageHoldsRepository } from './holds/usage-holds.repository.js';
import { UsageLedgerRepository } from './ledger/usage-ledger.repository.js';
import { UsageQuotasRepository } from './quotas/usage-quotas.repository.js';
import { UsageRollupsRepository } from './rollups/usage-rollups.repository.js';
import { RollupReconciliationRepository } from './reconciliation/rollup-reconciliation.repository.js';
import { ComparedUsageRepository } from './reconciliation/compared-usage.repository.js';
import { UsageCaps } from './reconciliation/usage-caps.service.js';
import { ScreenedUsageRepository } from './reconciliation/screened-usage.repository.js';
import { UsageReconciliation } from './reconciliation/usage-reconciliation.service.js';
import { UsageService } from './usage.service.js';

@Module({
  imports: [JobsModule, MeterExportsModule, OutboxModule, PlansModule, SubscriptionsModule],
  controllers: [UsageController, OrganizationUsageController],
  providers: [
    UsageService,
    UsageLedger,
    UsageMetrics,
    UsageLedgerRepository,
    UsageEventsRepository,
    UsageRollupsRepository,
    UsageQuotasRepository,
    UsageHoldsRepository,
    UsageAlerts,
    UsageAlertsRepository,
    UsagePeriods,
    UsagePartitions,
    PartitionedUsageRepository,
    UsageRetention,
    HoldExpiry,
    RollupReconciliationRepository,
    ComparedUsageRepository,
    ScreenedUsageRepository,
    UsageReconciliation,
    UsageCaps,
  ],
  exports: [UsageService, UsageAlerts, UsageReconciliation, UsageCaps],
})
export class UsageModule {}
