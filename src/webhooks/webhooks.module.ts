import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { JobsModule } from '../jobs/jobs.module.js';
import { InboxWorker } from './inbox.worker.js';
import { OperatorWebhooksController } from './operator-webhooks.controller.js';
import { WebhooksController } from './webhooks.controller.js';
import { WebhooksRepository } from './webhooks.repository.js';
import { WebhooksService } from './webhooks.service.js';

@Module({
  imports: [AuditModule, JobsModule],
  controllers: [WebhooksController, OperatorWebhooksController],
  providers: [WebhooksRepository, WebhooksService, InboxWorker],
  exports: [WebhooksService],
})
export class WebhooksModule {}
