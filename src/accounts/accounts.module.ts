import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { MailModule } from '../mail/mail.module.js';
import { AccountsController } from './accounts.controller.js';
import { AccountsRepository } from './accounts.repository.js';
import { AccountsService } from './accounts.service.js';
import { ProviderTokens } from './provider-tokens.service.js';
import { SecurityMails } from './security-mails.service.js';

@Module({
  imports: [AuditModule, JobsModule, MailModule],
  controllers: [AccountsController],
  providers: [AccountsRepository, AccountsService, ProviderTokens, SecurityMails],
  exports: [AccountsService, ProviderTokens, SecurityMails],
})
export class AccountsModule {}
