import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { IdempotencyModule } from '../idempotency/idempotency.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { MailModule } from '../mail/mail.module.js';
import { MembershipsModule } from '../memberships/memberships.module.js';
import { OrganizationsModule } from '../organizations/organizations.module.js';
import { UsersModule } from '../users/users.module.js';
import { InvitationsController } from './invitations.controller.js';
import { InvitationsRepository } from './invitations.repository.js';
import { InvitationsService } from './invitations.service.js';
import { OwnInvitationsController } from './own-invitations.controller.js';
import { SyncedInvitationsRepository } from './synced-invitations.repository.js';
import { SyncedInvitationsService } from './synced-invitations.service.js';

@Module({
  imports: [AuditModule, IdempotencyModule, JobsModule, MailModule, MembershipsModule, OrganizationsModule, UsersModule],
  controllers: [InvitationsController, OwnInvitationsController],
  providers: [InvitationsRepository, InvitationsService, SyncedInvitationsRepository, SyncedInvitationsService],
  exports: [InvitationsService, SyncedInvitationsService],
})
export class InvitationsModule {}
