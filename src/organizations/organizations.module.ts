import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { MembershipsModule } from '../memberships/memberships.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { OrganizationsController } from './organizations.controller.js';
import { OrganizationsRepository } from './organizations.repository.js';
import { OrganizationsService } from './organizations.service.js';
import { SyncedOrganizationsRepository } from './synced-organizations.repository.js';
import { SyncedOrganizationsService } from './synced-organizations.service.js';

@Module({
  imports: [AuditModule, IdempotencyModule, JobsModule, MembershipsModule, SubscriptionsModule],
  controllers: [OrganizationsController],
  providers: [OrganizationsRepository, OrganizationsService, SyncedOrganizationsRepository, SyncedOrganizationsService],
  exports: [OrganizationsService, SyncedOrganizationsService],
})
export class OrganizationsModule {}
