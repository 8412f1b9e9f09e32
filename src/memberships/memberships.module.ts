import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { InvitationEndsModule } from '../invitations/invitation-ends.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { MembershipsController } from './memberships.controller.js';
import { MembershipsRepository } from './memberships.repository.js';
import { MembershipsService } from './memberships.service.js';
import { SyncedMembershipsRepository } from './synced-memberships.repository.js';
import { SyncedMembershipsService } from './synced-memberships.service.js';

@Module({
  imports: [AuditModule, InvitationEndsModule, SubscriptionsModule],
  controllers: [MembershipsController],
  providers: [MembershipsRepository, MembershipsService, SyncedMembershipsRepository, SyncedMembershipsService],
  exports: [MembershipsService, SyncedMembershipsService],
})
export class MembershipsModule {}
