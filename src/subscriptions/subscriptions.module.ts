import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { BillingProviders } from './billing-provider.js';
import { BillingReconciliation } from './billing-reconciliation.js';
import { Checkouts } from './checkouts.js';
import { ComparedSubscriptionsRepository } from './compared-subscriptions.repository.js';
import { OperatorSubscriptionsController } from './operator-subscriptions.controller.js';
import { OrganizationSubscriptionsController } from './organization-subscriptions.controller.js';
import { Seats } from './seats.js';
import { SubscriptionChecks } from './subscription-checks.js';
import { PaidSubscriptionsRepository } from './paid-subscriptions.repository.js';
import { SubscriptionEnds } from './subscription-ends.js';
import { SubscriptionWatch } from './subscription-watch.js';
import { SubscriptionOwners } from './subscription-owners.js';
import { SubscriptionsController } from './subscriptions.controller.js';
import { SubscriptionsRepository } from './subscriptions.repository.js';
import { SubscriptionsService } from './subscriptions.service.js';
import { SyncedSubscriptionsRepository } from './synced-subscriptions.repository.js';
import { SyncedSubscriptionsService } from './synced-subscriptions.service.js';

@Module({
  imports: [AuditModule, IdempotencyModule, JobsModule, OutboxModule, PlansModule],
  controllers: [SubscriptionsController, OrganizationSubscriptionsController, OperatorSubscriptionsController],
  providers: [
    SubscriptionsRepository,
    PaidSubscriptionsRepository,
    SubscriptionsService,
    SyncedSubscriptionsRepository,
    SyncedSubscriptionsService,
    SubscriptionOwners,
    Checkouts,
    Seats,
    SubscriptionWatch,
    BillingProviders,
    ComparedSubscriptionsRepository,
    BillingReconciliation,
    SubscriptionChecks,
    SubscriptionEnds,
  ],
  exports: [SubscriptionsService, SyncedSubscriptionsService, SubscriptionOwners, BillingProviders, BillingReconciliation],
})
export class SubscriptionsModule {}
