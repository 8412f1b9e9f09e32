import { NestFactory } from '@nestjs/core';
import { AppModule } from '../../../src/app.module.js';
import { Clock } from '../../../src/platform/time/clock.service.js';
import { loadConfig } from '../../../src/platform/config/config.js';
import { JobsService } from '../../../src/jobs/jobs.service.js';
import { UsagePartitions } from '../../../src/usage/partitions/usage-partitions.job.js';
import { UsageReconciliation } from '../../../src/usage/reconciliation/usage-reconciliation.service.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import { testEnvironment } from '../app.js';
import type { TestDatabase } from '../database.js';

export type UsageApp = Awaited<ReturnType<typeof startUsageApp>>;

/** The application without its HTTP server and with a clock that stands still, on a database that others may use too. */
export async function startUsageApp(db: TestDatabase, { now, ...environment }: { now: string } & Record<string, string>) {
  const config = loadConfig({ ...testEnvironment(db.url), ...environment });
  const app = await NestFactory.create(AppModule.register(config), { logger: false, abortOnError: false });
  const clock = new VirtualClock(Date.parse(now));
  app.get(Clock).now = () => clock.now();
  await app.init();
  return {
    app,
    clock,
    partitions: app.get(UsagePartitions),
    reconciliation: app.get(UsageReconciliation),
    /** Runs a job outside its schedule. */
    run: async (name: string) => {
      const jobs = await app.get(JobsService).list();
      return jobs.find(({ job }) => job.name === name)!.job.run(new AbortController().signal);
    },
  };
}
