import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { BillingProviders } from './sync/billing-provider.port.js';
import { BillingReconciliation } from './reconciliation/billing-reconciliation.service.js';
import { CheckoutService } from './checkout/checkout.service.js';
import { ComparedSubscriptionsRepository } from './reconciliation/compared-subscriptions.repository.js';
import { OperatorSubscriptionsController } from './operator-subscriptions.controller.js';
import { OrganizationSubscriptionsController } from './organization-subscriptions.controller.js';
import { SeatSync } from './entitlements/seat-sync.job.js';
import { RenewalChecks } from './reconciliation/renewal-checks.job.js';
import { PaymentsRepository } from './payments/payments.repository.js';
import { ProviderCancellation } from './customers/provider-cancellation.listener.js';
import { OrphanMonitor } from './reconciliation/orphan-monitor.job.js';
import { SubscriptionOwners } from './customers/subscription-owners.service.js';
import { SubscriptionsController } from './subscriptions.controller.js';
import { SubscriptionsRepository } from './subscriptions.repository.js';
import { SubscriptionsService } from './subscriptions.service.js';
import { SyncedSubscriptionsRepository } from './sync/synced-subscriptions.repository.js';
import { SyncedSubscriptionsService } from './sync/synced-subscriptions.service.js';

@Module({
  imports: [AuditModule, IdempotencyModule, JobsModule, OutboxModule, PlansModule],
  controllers: [SubscriptionsController, OrganizationSubscriptionsController, OperatorSubscriptionsController],
  providers: [
    SubscriptionsRepository,
    PaymentsRepository,
    SubscriptionsService,
    SyncedSubscriptionsRepository,
    SyncedSubscriptionsService,
    SubscriptionOwners,
    CheckoutService,
    SeatSync,
    OrphanMonitor,
    BillingProviders,
    ComparedSubscriptionsRepository,
    BillingReconciliation,
    RenewalChecks,
    ProviderCancellation,
  ],
  exports: [SubscriptionsService, SyncedSubscriptionsService, SubscriptionOwners, BillingProviders, BillingReconciliation],
})
export class SubscriptionsModule {}
