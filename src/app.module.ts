import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { AccessModule } from './access/access.module.js';
import { AccountsModule } from './accounts/accounts.module.js';
import { ApiKeysModule } from './api-keys/api-keys.module.js';
import { AuditLogModule } from './audit/audit-log.module.js';
import { AuthModule } from './auth/auth.module.js';
import { AllowedMethods } from './platform/http/routing/allowed-methods.service.js';
import { PlatformModule } from './platform/platform.module.js';
import { LoggingModule } from './platform/logging/logging.module.js';
import { ProblemFilter } from './platform/problems/problem.filter.js';
import { RequestValidationPipe } from './platform/http/bodies/validation.pipe.js';
import type { Config } from './platform/config/config.js';
import { ConfigModule } from './platform/config/config.module.js';
import { DatabaseModule } from './platform/database/database.module.js';
import { HealthModule } from './health/health.module.js';
import { InvitationsModule } from './invitations/invitations.module.js';
import { JobsModule } from './jobs/jobs.module.js';
import { MembershipsModule } from './memberships/memberships.module.js';
import { MeterExportsModule } from './usage/exports/meter-exports.module.js';
import { OrganizationsModule } from './organizations/organizations.module.js';
import { SyncModule } from './sync/sync.module.js';
import { PlansModule } from './plans/plans.module.js';
import { PricesModule } from './prices/prices.module.js';
import { SessionsModule } from './sessions/sessions.module.js';
import { SubscriptionsModule } from './subscriptions/subscriptions.module.js';
import { UsageModule } from './usage/usage.module.js';
import { UsageReportsModule } from './usage/reports/usage-reports.module.js';
import { UsersModule } from './users/users.module.js';
import { ClerkModule } from './providers/clerk/clerk.module.js';
import { DodoModule } from './providers/dodo/dodo.module.js';
import { PolarModule } from './providers/polar/polar.module.js';
import { RevocationsModule } from './revocations/revocations.module.js';
import { VerificationModule } from './verification/verification.module.js';
import { WebhooksModule } from './webhooks/webhooks.module.js';

@Module({})
export class AppModule {
  static register(config: Config): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.register(config),
        LoggingModule,
        PlatformModule,
        SyncModule,
        DatabaseModule,
        AccessModule,
        AuthModule,
        // Before users: the first route that matches answers, and "me/accounts" is the longer one.
        AccountsModule,
        UsersModule,
        SessionsModule,
        OrganizationsModule,
        MembershipsModule,
        InvitationsModule,
        ApiKeysModule,
        AuditLogModule,
        PlansModule,
        WebhooksModule,
        ClerkModule,
        PolarModule,
        DodoModule,
        SubscriptionsModule,
        UsageModule,
        MeterExportsModule,
        PricesModule,
        UsageReportsModule,
        RevocationsModule,
        VerificationModule,
        JobsModule,
        HealthModule,
      ],
      providers: [{ provide: APP_FILTER, useClass: ProblemFilter }, AllowedMethods, { provide: APP_PIPE, useClass: RequestValidationPipe }],
    };
  }
}
