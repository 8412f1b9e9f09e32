import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { AccountsController } from './accounts.controller.js';
import { AccountsRepository } from './accounts.repository.js';
import { AccountsService } from './accounts.service.js';
import { ProviderTokens } from './provider-tokens.js';

@Module({
  imports: [AuditModule, JobsModule],
  controllers: [AccountsController],
  providers: [AccountsRepository, AccountsService, ProviderTokens],
  exports: [AccountsService, ProviderTokens],
})
export class AccountsModule {}
