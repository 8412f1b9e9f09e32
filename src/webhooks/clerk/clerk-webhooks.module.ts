import { Module } from '@nestjs/common';
import { InvitationsModule } from '../../invitations/invitations.module.js';
import { JobsModule } from '../../jobs/jobs.module.js';
import { MembershipsModule } from '../../memberships/memberships.module.js';
import { OrganizationsModule } from '../../organizations/organizations.module.js';
import { OutboxModule } from '../../outbox/outbox.module.js';
import { SessionsModule } from '../../sessions/sessions.module.js';
import { UsersModule } from '../../users/users.module.js';
import { WebhooksModule } from '../webhooks.module.js';
import { ClerkApi } from './clerk-api.js';
import { ClerkComparison } from './clerk-comparison.js';
import { ClerkReconciliation } from './clerk-reconciliation.js';
import { ClerkSessionEnds } from './clerk-session-ends.js';
import { ClerkSync } from './clerk-sync.js';
import { ClerkWebhooks } from './clerk-webhooks.js';

@Module({
  imports: [
    WebhooksModule,
    UsersModule,
    OrganizationsModule,
    MembershipsModule,
    InvitationsModule,
    SessionsModule,
    JobsModule,
    OutboxModule,
  ],
  providers: [ClerkWebhooks, ClerkSync, ClerkApi, ClerkSessionEnds, ClerkComparison, ClerkReconciliation],
  exports: [ClerkReconciliation],
})
export class ClerkWebhooksModule {}
