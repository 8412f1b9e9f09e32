import { Injectable, type OnModuleInit } from '@nestjs/common';
import { JobsService } from '../../src/jobs/jobs.service.js';
import { sweepInBatches } from '../../src/platform/queue/sweep.js';
import { Clock } from '../../src/platform/time/clock.service.js';
import { ProjectsRepository } from './projects.repository.js';

const KEEP_MS = 30 * 86_400_000;

/** Every night, deletes the projects that were archived 30 days ago. */
@Injectable()
export class ProjectsPurge implements OnModuleInit {
  constructor(
    private readonly repository: ProjectsRepository,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'purge_archived_projects',
      description: 'Deletes projects that were archived 30 days ago',
      dailyAt: '03:30',
      run: async (signal) => {
        const before = new Date(this.clock.now().getTime() - KEEP_MS);
        return sweepInBatches(signal, (limit) => this.repository.deleteArchivedBefore(before, limit));
      },
    });
  }
}
