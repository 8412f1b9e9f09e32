import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { CheckoutService } from './checkout/checkout.service.js';
import { BillingCustomersRepository } from './customers/billing-customers.repository.js';
import { ChargedSubscriptionsRepository } from './customers/charged-subscriptions.repository.js';
import { ProviderCancellation } from './customers/provider-cancellation.listener.js';
import { SubscriptionOwners } from './customers/subscription-owners.service.js';
import { EntitlementsRepository } from './entitlements/entitlements.repository.js';
import { EntitlementsService } from './entitlements/entitlements.service.js';
import { SeatSync } from './entitlements/seat-sync.job.js';
import { OperatorSubscriptionsController } from './operator-subscriptions.controller.js';
import { OrganizationSubscriptionsController } from './organization-subscriptions.controller.js';
import { PaymentsRepository } from './payments/payments.repository.js';
import { PaymentsService } from './payments/payments.service.js';
import { BillingReconciliation } from './reconciliation/billing-reconciliation.service.js';
import { ComparedSubscriptionsRepository } from './reconciliation/compared-subscriptions.repository.js';
import { OrphanMonitor } from './reconciliation/orphan-monitor.job.js';
import { RenewalChecks } from './reconciliation/renewal-checks.job.js';
import { SubscriptionsController } from './subscriptions.controller.js';
import { SubscriptionsRepository } from './subscriptions.repository.js';
import { SubscriptionsService } from './subscriptions.service.js';
import { BillingProviders } from './sync/billing-provider.port.js';
import { SyncedSubscriptionsRepository } from './sync/synced-subscriptions.repository.js';
import { SyncedSubscriptionsService } from './sync/synced-subscriptions.service.js';

@Module({
  imports: [AuditModule, IdempotencyModule, JobsModule, OutboxModule, PlansModule],
  controllers: [SubscriptionsController, OrganizationSubscriptionsController, OperatorSubscriptionsController],
  providers: [
    SubscriptionsRepository,
    SubscriptionsService,
    EntitlementsRepository,
    EntitlementsService,
    SeatSync,
    BillingCustomersRepository,
    ChargedSubscriptionsRepository,
    SubscriptionOwners,
    ProviderCancellation,
    PaymentsRepository,
    PaymentsService,
    CheckoutService,
    BillingProviders,
    SyncedSubscriptionsRepository,
    SyncedSubscriptionsService,
    ComparedSubscriptionsRepository,
    BillingReconciliation,
    RenewalChecks,
    OrphanMonitor,
  ],
  exports: [EntitlementsService, SyncedSubscriptionsService, SubscriptionOwners, BillingProviders, BillingReconciliation],
})
export class SubscriptionsModule {}
