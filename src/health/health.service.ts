import { createHash, timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import { RouteNotFound, ServiceUnavailable } from '../platform/problems/problems.errors.js';
import { Metrics } from '../platform/metrics/metrics.service.js';
import { Config } from '../platform/config/config.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import { pendingMigrations } from '../platform/database/migrations.js';

@Injectable()
export class HealthService implements BeforeApplicationShutdown {
  private stopping = false;
  private migrated = false;

  constructor(
    private readonly config: Config,
    private readonly appMetrics: Metrics,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  /** Load balancers get time to see the failed readiness before requests are refused. Ctrl-C does not wait. */
  async beforeApplicationShutdown(signal?: string): Promise<void> {
    this.stopping = true;
    if (signal === 'SIGTERM') await sleep(this.config.shutdownDelaySeconds * 1000);
  }

  get isStopping(): boolean {
    return this.stopping;
  }

  async requireReady(): Promise<void> {
    const unavailable = (detail: string) => new ServiceUnavailable({ detail, headers: { 'retry-after': '1' } });
    if (this.stopping) throw unavailable('This process is stopping.');
    const query = (text: string): Promise<{ rows: Record<string, unknown>[] }> => this.db.$client.query(text);
    if (this.migrated) {
      await query('SELECT 1');
      return;
    }
    const pending = await pendingMigrations(query);
    if (pending.length > 0) throw unavailable(`${pending.length} migrations have not run.`);
    this.migrated = true;
  }

  async metrics(authorization: string | undefined): Promise<string> {
    const { metricsToken, isProduction } = this.config;
    if (metricsToken === undefined && isProduction) throw new RouteNotFound();
    if (metricsToken !== undefined && !isSame(authorization ?? '', `Bearer ${metricsToken}`)) throw new RouteNotFound();
    return this.appMetrics.scrape();
  }
}

/** In constant time; the digests hide the lengths. */
function isSame(given: string, expected: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}
