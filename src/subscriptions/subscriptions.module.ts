import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { PlansModule } from '../plans/plans.module.js';
import { BillingProviders } from './billing-provider.js';
import { SyncedSubscriptionsRepository } from './synced-subscriptions.repository.js';
import { SyncedSubscriptionsService } from './synced-subscriptions.service.js';

@Module({
  imports: [AuditModule, OutboxModule, PlansModule],
  providers: [SyncedSubscriptionsRepository, SyncedSubscriptionsService, BillingProviders],
  exports: [SyncedSubscriptionsService, BillingProviders],
})
export class SubscriptionsModule {}
