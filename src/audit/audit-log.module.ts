import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { AuditController } from './audit.controller.js';
import { AuditModule } from './audit.module.js';
import { AuditRetention } from './audit-retention.job.js';

/** Apart from `AuditModule`, which `JobsModule` imports. */
@Module({ imports: [AuditModule, JobsModule], controllers: [AuditController], providers: [AuditRetention] })
export class AuditLogModule {}
