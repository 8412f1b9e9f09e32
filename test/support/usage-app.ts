import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from '../../src/app.module.js';
import { Clock } from '../../src/common/clock.js';
import { loadConfig } from '../../src/config/config.js';
import { JobsModule } from '../../src/jobs/jobs.module.js';
import { PartitionedUsageRepository } from '../../src/usage/partitioned-usage.repository.js';
import { UsagePartitions } from '../../src/usage/usage-partitions.js';
import { VirtualClock } from '../simulators/virtual-time.js';
import { testEnvironment } from './app.js';
import type { TestDatabase } from './database.js';

export type UsageApp = Awaited<ReturnType<typeof startUsageApp>>;

/** The application without its server, and with a clock that stands still, over a database that others may use too. */
export async function startUsageApp(db: TestDatabase, { now, ...environment }: { now: string } & Record<string, string>) {
  class WithUsage {}
  const config = loadConfig({ ...testEnvironment(db.url), ...environment });
  Module({ imports: [AppModule.register(config), JobsModule], providers: [PartitionedUsageRepository, UsagePartitions] })(WithUsage);
  const app = await NestFactory.create(WithUsage, { logger: false, abortOnError: false });
  const clock = new VirtualClock(Date.parse(now));
  app.get(Clock).now = () => clock.now();
  await app.init();
  return { app, clock, partitions: app.get(UsagePartitions) };
}
