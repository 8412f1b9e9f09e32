import { Global, Module } from '@nestjs/common';
import { AccessModule } from '../access/access.module.js';
import { ClerkSignIn } from '../access/clerk-sign-in.port.js';
import { AccountsModule } from '../accounts/accounts.module.js';
import { AuditModule } from '../audit/audit.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { MailModule } from '../mail/mail.module.js';
import { OrganizationsModule } from '../organizations/organizations.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { SessionsModule } from '../sessions/sessions.module.js';
import { UsersModule } from '../users/users.module.js';
import { AuthController } from './auth.controller.js';
import { AuthRepository } from './auth.repository.js';
import { AuthMails } from './auth-mails.js';
import { AuthService } from './auth.service.js';
import { ClerkFirstSight } from './clerk-first-sight.js';
import { EmailChanges } from './email-changes.js';
import { EmailVerifications } from './email-verifications.js';
import { LinkVisitors } from './link-visitors.js';
import { MailLinksController } from './mail-link-auth.controller.js';
import { LegacyCookies } from './legacy-cookies.js';
import { DemoAccounts } from './demo-accounts.js';
import { KnownDevices } from './known-devices.js';
import { PasswordAttempts } from './password-attempts.js';
import { PasswordRules } from './password-rules.js';
import { Passwords } from './passwords.js';

/** Global only for `ClerkSignIn`, which the guard asks for without knowing us. */
@Global()
@Module({
  imports: [
    AccessModule,
    AuditModule,
    UsersModule,
    AccountsModule,
    SessionsModule,
    OrganizationsModule,
    OutboxModule,
    MailModule,
    JobsModule,
  ],
  controllers: [AuthController, MailLinksController],
  providers: [
    AuthService,
    AuthMails,
    AuthRepository,
    DemoAccounts,
    KnownDevices,
    PasswordAttempts,
    PasswordRules,
    EmailChanges,
    EmailVerifications,
    LegacyCookies,
    LinkVisitors,
    Passwords,
    { provide: ClerkSignIn, useClass: ClerkFirstSight },
  ],
  exports: [ClerkSignIn, AuthService, DemoAccounts],
})
export class AuthModule {}
