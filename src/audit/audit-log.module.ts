import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { AuditController } from './audit.controller.js';
import { AuditModule } from './audit.module.js';
import { AuditRetention } from './audit-retention.job.js';

/** Reading the log and letting it go. */
@Module({ imports: [AuditModule, JobsModule], controllers: [AuditController], providers: [AuditRetention] })
export class AuditLogModule {}
