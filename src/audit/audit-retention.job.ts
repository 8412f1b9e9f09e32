import { Injectable, type OnModuleInit } from '@nestjs/common';
import { sweepInBatches } from '../platform/queue/sweep.js';
import { Config } from '../platform/config/config.js';
import { JobsService } from '../jobs/jobs.service.js';
import { AuditService } from './audit.service.js';
import { AuditSeals } from './seals/audit-seals.service.js';
import { Clock } from '../platform/time/clock.service.js';
import { daysBefore } from '../platform/time/durations.js';

/** Apart from `AuditService`, which the jobs themselves use. */
@Injectable()
export class AuditRetention implements OnModuleInit {
  constructor(
    private readonly audit: AuditService,
    private readonly seals: AuditSeals,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    private readonly config: Config,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'prune_audit_log',
      description: 'Removes audit entries older than the retention time',
      everySeconds: 3600,
      run: async (signal) => {
        const { auditRetentionDays } = this.config;
        if (auditRetentionDays === 0) return 0;
        const before = daysBefore(this.clock.now(), auditRetentionDays);
        const removed = await sweepInBatches(signal, (limit) => this.audit.removeBefore(before, limit));
        await sweepInBatches(signal, (limit) => this.seals.removeBefore(before, limit));
        return removed;
      },
    });
  }
}
