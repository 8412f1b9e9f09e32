import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from '../../src/app.module.js';
import { Clock } from '../../src/common/clock.js';
import { loadConfig } from '../../src/config/config.js';
import { JobsModule } from '../../src/jobs/jobs.module.js';
import { JobsService } from '../../src/jobs/jobs.service.js';
import { ComparedUsageRepository } from '../../src/usage/compared-usage.repository.js';
import { HeldUsageRepository } from '../../src/usage/held-usage.repository.js';
import { HoldSweeps } from '../../src/usage/hold-sweeps.js';
import { PartitionedUsageRepository } from '../../src/usage/partitioned-usage.repository.js';
import { UsagePartitions } from '../../src/usage/usage-partitions.js';
import { UsageRetention } from '../../src/usage/usage-retention.js';
import { UsageVerification } from '../../src/usage/usage-verification.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { testEnvironment } from './app.js';
import type { TestDatabase } from './database.js';

export type UsageApp = Awaited<ReturnType<typeof startUsageApp>>;

/** The application without its server, and with a clock that stands still, over a database that others may use too. */
export async function startUsageApp(db: TestDatabase, { now, ...environment }: { now: string } & Record<string, string>) {
  class WithUsage {}
  const config = loadConfig({ ...testEnvironment(db.url), ...environment });
  const providers = [
    PartitionedUsageRepository,
    UsagePartitions,
    UsageRetention,
    HeldUsageRepository,
    HoldSweeps,
    ComparedUsageRepository,
    UsageVerification,
  ];
  Module({ imports: [AppModule.register(config), JobsModule], providers })(WithUsage);
  const app = await NestFactory.create(WithUsage, { logger: false, abortOnError: false });
  const clock = new VirtualClock(Date.parse(now));
  app.get(Clock).now = () => clock.now();
  await app.init();
  return {
    app,
    clock,
    partitions: app.get(UsagePartitions),
    verification: app.get(UsageVerification),
    /** Beside the schedule's own runs. */
    run: async (name: string) => {
      const jobs = await app.get(JobsService).list();
      return jobs.find(({ job }) => job.name === name)!.job.run(new AbortController().signal);
    },
  };
}
