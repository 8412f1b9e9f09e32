import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Registry } from 'prom-client';

/** The application's own registry: the library's global one would mix two applications in one process. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();

  constructor() {
    // Sampling the event loop every 10 ms, the default, was more than half of the CPU of an idle process.
    collectDefaultMetrics({ register: this.registry, eventLoopMonitoringPrecision: 100 });
  }
}
