import { Global, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Config } from '../config/config.js';
import { DatabaseClock } from './database-clock.service.js';
import { createDatabase, DATABASE, type Database } from './database.js';

@Global()
@Module({
  providers: [{ provide: DATABASE, useFactory: (config: Config) => createDatabase(config), inject: [Config] }, DatabaseClock],
  exports: [DATABASE],
})
export class DatabaseModule implements OnApplicationShutdown {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async onApplicationShutdown(): Promise<void> {
    await this.db.$client.end();
  }
}
