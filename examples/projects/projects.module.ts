import { Module } from '@nestjs/common';
import { AuditModule } from '../../src/audit/audit.module.js';
import { IdempotencyModule } from '../../src/idempotency/idempotency.module.js';
import { JobsModule } from '../../src/jobs/jobs.module.js';
import { SubscriptionsModule } from '../../src/subscriptions/subscriptions.module.js';
import { ProjectsPurge } from './projects-purge.job.js';
import { ProjectsController } from './projects.controller.js';
import { ProjectsRepository } from './projects.repository.js';
import { ProjectsService } from './projects.service.js';

@Module({
  imports: [AuditModule, IdempotencyModule, JobsModule, SubscriptionsModule],
  controllers: [ProjectsController],
  providers: [ProjectsRepository, ProjectsService, ProjectsPurge],
  exports: [ProjectsService],
})
export class ProjectsModule {}
