import { Global, Module } from '@nestjs/common';
import { AccessModule } from '../access/access.module.js';
import { ClerkSignIn } from '../access/credentials/clerk-sign-in.port.js';
import { AccountsModule } from '../accounts/accounts.module.js';
import { AuditModule } from '../audit/audit.module.js';
import { MailModule } from '../mail/mail.module.js';
import { OrganizationsModule } from '../organizations/organizations.module.js';
import { OutboxModule } from '../outbox/outbox.module.js';
import { SessionsModule } from '../sessions/sessions.module.js';
import { UsersModule } from '../users/users.module.js';
import { AuthController } from './auth.controller.js';
import { AuthRepository } from './auth.repository.js';
import { AuthMails } from './mails/auth-mails.service.js';
import { AuthService } from './auth.service.js';
import { SignInMetrics } from './sign-in-metrics.service.js';
import { ClerkProvisioning } from './clerk-provisioning.service.js';
import { EmailChanges } from './emails/email-changes.service.js';
import { EmailVerifications } from './emails/email-verifications.service.js';
import { LinkVisitors } from './links/link-visitors.service.js';
import { MailLinksController } from './links/links.controller.js';
import { BetterAuthClient } from './better-auth/better-auth.client.js';
import { LegacyCookies } from './better-auth/legacy-cookies.service.js';
import { DemoAccounts } from './demo-accounts.service.js';
import { KnownDevices } from './passwords/known-devices.service.js';
import { PasswordAttempts } from './passwords/password-attempts.service.js';
import { PasswordRules } from './passwords/password-rules.service.js';
import { Passwords } from './passwords/passwords.service.js';

/** Global only because of `ClerkSignIn`, which the guard needs without importing this module. */
@Global()
@Module({
  imports: [AccessModule, AuditModule, UsersModule, AccountsModule, SessionsModule, OrganizationsModule, OutboxModule, MailModule],
  controllers: [AuthController, MailLinksController],
  providers: [
    AuthService,
    SignInMetrics,
    AuthMails,
    AuthRepository,
    BetterAuthClient,
    DemoAccounts,
    KnownDevices,
    PasswordAttempts,
    PasswordRules,
    EmailChanges,
    EmailVerifications,
    LegacyCookies,
    LinkVisitors,
    Passwords,
    { provide: ClerkSignIn, useClass: ClerkProvisioning },
  ],
  exports: [ClerkSignIn, AuthService, DemoAccounts],
})
export class AuthModule {}
