import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { InvitationEndsModule } from '../invitations/invitation-ends.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { MemberCountReconciliation } from './member-counts.service.js';
import { CountedMembershipsRepository } from './counted-memberships.repository.js';
import { MembershipEnds } from './membership-ends.service.js';
import { MembershipsController } from './memberships.controller.js';
import { MembershipsRepository } from './memberships.repository.js';
import { MembershipsService } from './memberships.service.js';
import { SyncedMembershipsRepository } from './synced-memberships.repository.js';
import { SyncedMembershipsService } from './synced-memberships.service.js';

@Module({
  imports: [AuditModule, InvitationEndsModule, OutboxModule, SubscriptionsModule],
  controllers: [MembershipsController],
  providers: [
    MembershipsRepository,
    MembershipsService,
    MembershipEnds,
    SyncedMembershipsRepository,
    SyncedMembershipsService,
    CountedMembershipsRepository,
    MemberCountReconciliation,
  ],
  exports: [MembershipsService, MembershipEnds, SyncedMembershipsService, MemberCountReconciliation],
})
export class MembershipsModule {}
