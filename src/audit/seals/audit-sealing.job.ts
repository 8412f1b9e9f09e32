import { Injectable, type OnModuleInit } from '@nestjs/common';
import { JobsService } from '../../jobs/jobs.service.js';
import { AuditSeals } from './audit-seals.service.js';

@Injectable()
export class AuditSealing implements OnModuleInit {
  constructor(
    private readonly seals: AuditSeals,
    private readonly jobs: JobsService,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'seal_audit_log',
      description: 'Seals new audit entries, so that changes by hand are found',
      everySeconds: 60,
      run: async (signal) => {
        let sealed = 0;
        for (let entries = await this.seals.sealNext(); entries > 0; entries = await this.seals.sealNext()) {
          sealed += entries;
          if (signal.aborted) break;
        }
        return sealed;
      },
    });
  }
}
