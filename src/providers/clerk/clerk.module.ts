import { Module } from '@nestjs/common';
import { InvitationsModule } from '../../invitations/invitations.module.js';
import { JobsModule } from '../../jobs/jobs.module.js';
import { MembershipsModule } from '../../memberships/memberships.module.js';
import { OrganizationsModule } from '../../organizations/organizations.module.js';
import { OutboxModule } from '../../outbox/outbox.module.js';
import { SessionsModule } from '../../sessions/sessions.module.js';
import { UsersModule } from '../../users/users.module.js';
import { WebhooksModule } from '../../webhooks/webhooks.module.js';
import { ClerkApi } from './clerk-api.client.js';
import { ClerkComparison } from './clerk-comparison.service.js';
import { ClerkReconciliation } from './clerk-reconciliation.service.js';
import { ClerkSessionRevocation } from './clerk-session-revocation.listener.js';
import { ClerkSync } from './clerk-sync.service.js';
import { ClerkWebhooks } from './clerk-webhooks.service.js';

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
  providers: [ClerkWebhooks, ClerkSync, ClerkApi, ClerkSessionRevocation, ClerkComparison, ClerkReconciliation],
  exports: [ClerkReconciliation],
})
export class ClerkModule {}
