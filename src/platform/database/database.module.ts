import { Global, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Config } from '../config/config.js';
import { DatabaseClock } from './database-clock.service.js';
import { createDatabase, DATABASE, type Database } from './database.js';
import { DatabaseMetrics } from './statements/database-metrics.service.js';

function openWatched(config: Config, metrics: DatabaseMetrics): Database {
  const db = createDatabase(config);
  metrics.watch('main', db.$client);
  return db;
}

@Global()
@Module({
  providers: [{ provide: DATABASE, useFactory: openWatched, inject: [Config, DatabaseMetrics] }, DatabaseClock, DatabaseMetrics],
  exports: [DATABASE, DatabaseMetrics],
})
export class DatabaseModule implements OnApplicationShutdown {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async onApplicationShutdown(): Promise<void> {
    await this.db.$client.end();
  }
}
