import { Inject, Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { ClockOffset } from '../time/clock.service.js';
import { SECOND_MS } from '../time/durations.js';
import { DATABASE, type Database } from './database.js';

const EVERY_MS = 10 * SECOND_MS;
/** The quickest answer is the most exact one. */
const ATTEMPTS = 3;
const LONGEST_MS = SECOND_MS;

/** Measures the database's clock again and again, so that processes with different clocks agree on the time. */
@Injectable()
export class DatabaseClock implements OnModuleInit, OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(DatabaseClock.name);
  private timer?: NodeJS.Timeout;

  constructor(
    private readonly offset: ClockOffset,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  async onModuleInit(): Promise<void> {
    await this.measure();
  }

  onApplicationBootstrap(): void {
    this.timer = setInterval(() => void this.measure(), EVERY_MS).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** While the database is unavailable or slow, the last measurement stays. */
  async measure(): Promise<void> {
    try {
      let best = await this.ask();
      for (let count = 1; count < ATTEMPTS; count += 1) {
        const next = await this.ask();
        if (next.tookMs < best.tookMs) best = next;
      }
      if (best.tookMs > LONGEST_MS || !this.offset.correct(best)) return;
      this.logger.warn({ offsetMs: best.aheadMs }, "The database's clock differs from this machine's, and is the one that counts");
    } catch (error) {
      this.logger.debug({ err: error }, "The database's clock could not be read");
    }
  }

  private async ask() {
    const query = (text: string): Promise<{ rows: { now: Date }[] }> => this.db.$client.query(text);
    const sentAt = performance.now();
    const { rows } = await query('SELECT clock_timestamp() AS now');
    return this.offset.measurement(rows[0]!.now, performance.now() - sentAt);
  }
}
