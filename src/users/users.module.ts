import { Module } from '@nestjs/common';
import { AccountsModule } from '../accounts/accounts.module.js';
import { ApiKeysModule } from '../api-keys/api-keys.module.js';
import { AuditModule } from '../audit/audit.module.js';
import { InvitationEndsModule } from '../invitations/invitation-ends.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { MailModule } from '../mail/mail.module.js';
import { MembershipsModule } from '../memberships/memberships.module.js';
import { SessionsModule } from '../sessions/sessions.module.js';
import { SubscriptionsModule } from '../subscriptions/subscriptions.module.js';
import { SyncedUsersRepository } from './synced-users.repository.js';
import { SyncedUsersService } from './synced-users.service.js';
import { Takeovers } from './takeovers.service.js';
import { UserMerges } from './user-merges.service.js';
import { UsersController } from './users.controller.js';
import { UsersRepository } from './users.repository.js';
import { UsersService } from './users.service.js';

@Module({
  imports: [
    AccountsModule,
    ApiKeysModule,
    AuditModule,
    InvitationEndsModule,
    MailModule,
    MembershipsModule,
    SessionsModule,
    SubscriptionsModule,
    JobsModule,
  ],
  controllers: [UsersController],
  providers: [UsersRepository, UsersService, SyncedUsersRepository, SyncedUsersService, Takeovers, UserMerges],
  exports: [UsersService, SyncedUsersService, Takeovers],
})
export class UsersModule {}
