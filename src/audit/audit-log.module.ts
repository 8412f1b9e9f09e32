import { Module } from '@nestjs/common';
import { JobsModule } from '../jobs/jobs.module.js';
import { AuditController } from './audit.controller.js';
import { AuditModule } from './audit.module.js';
import { AuditSealing } from './seals/audit-sealing.job.js';
import { AuditRetention } from './audit-retention.job.js';

/** Apart from `AuditModule`, which `JobsModule` imports. */
@Module({ imports: [AuditModule, JobsModule], controllers: [AuditController], providers: [AuditRetention, AuditSealing] })
export class AuditLogModule {}
