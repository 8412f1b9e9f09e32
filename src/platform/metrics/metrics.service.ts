import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { isDatabaseUnavailable } from '../database/database-errors.js';

const OMITTED = 'tenantry_metrics_omitted';

/** The application's own registry: the library's global one would mix two applications in one process. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();
  private readonly omitted: Gauge;

  constructor() {
    // Sampling the event loop every 10 ms, the default, was more than half of the CPU of an idle process.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 });
    this.omitted = new Gauge({
      name: OMITTED,
      help: 'Metrics that this scrape leaves out because the database is unavailable',
      registers: [this.registry],
    });
  }

  /** Omits metrics that are read from a database that is unavailable, which is when the others matter most. */
  async scrape(): Promise<string> {
    const names = this.registry.getMetricsAsArray().flatMap(({ name }) => (name === OMITTED ? [] : [name]));
    const read = await Promise.allSettled(names.map(async (name) => this.registry.getSingleMetricAsString(name)));
    const failures = read.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []));
    const fault = failures.find((failure) => !isDatabaseUnavailable(failure));
    if (fault !== undefined) throw fault as Error;
    this.omitted.set(failures.length);
    const texts = read.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    return `${[...texts, await this.registry.getSingleMetricAsString(OMITTED)].join('\n\n')}\n`;
  }
}
