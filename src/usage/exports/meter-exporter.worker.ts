import { type BeforeApplicationShutdown, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Clock } from '../../platform/time/clock.service.js';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { sharedRead } from '../../platform/metrics/shared-read.js';
import { Poller } from '../../platform/queue/poller.js';
import { DISPATCH_LIMITS, MeterDispatcher } from './meter-dispatcher.js';
import { type Meter, MeterRegistry } from './meter.port.js';
import { MeterExportsRepository } from './meter-exports.repository.js';

/** Runs one dispatcher for each configured meter: an unavailable provider does not delay the others. */
@Injectable()
export class MeterExporter implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly limits = { ...DISPATCH_LIMITS };
  private readonly logger = new Logger(MeterExporter.name);
  private readonly exported: Counter<'provider' | 'outcome'>;
  private pollers: Poller[] = [];

  constructor(
    private readonly meters: MeterRegistry,
    private readonly repository: MeterExportsRepository,
    private readonly clock: Clock,
    metrics: Metrics,
  ) {
    const registers = [metrics.registry];
    this.exported = new Counter({
      name: 'tenantry_meter_exports_total',
      help: 'Usage events that a provider has accepted (taken), refused permanently, or could not receive (failed, retried)',
      labelNames: ['provider', 'outcome'],
      registers,
    });
    const backlog = sharedRead(() => repository.backlog());
    for (const [name, help, of] of [
      ['tenantry_meter_exports_pending', 'Usage events that wait to be sent to a provider', 'pending'],
      ['tenantry_meter_exports_refused', 'Usage events that a provider has refused permanently', 'refused'],
    ] as const) {
      new Gauge({
        name,
        help,
        labelNames: ['provider'],
        registers,
        async collect() {
          this.reset();
          for (const { provider, [of]: value } of await backlog()) this.set({ provider }, value);
        },
      });
    }
    new Gauge({
      name: 'tenantry_meter_export_lag_seconds',
      help: 'Age of the oldest usage event that waits to be sent to a provider',
      labelNames: ['provider'],
      registers,
      async collect() {
        this.reset();
        for (const { provider, oldestAt } of await backlog())
          this.set({ provider }, oldestAt === null ? 0 : Math.max(0, (clock.now().getTime() - oldestAt.getTime()) / 1000));
      },
    });
  }

  onApplicationBootstrap(): void {
    this.pollers = this.meters.configured().map((meter) => this.createPoller(meter));
    for (const poller of this.pollers) poller.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.pollers.map((poller) => poller.stop()));
  }

  wake(): void {
    for (const poller of this.pollers) poller.wake();
  }

  private createPoller(meter: Meter): Poller {
    const { provider } = meter;
    const dispatcher = new MeterDispatcher(meter, this.repository, this.clock, this.limits, (outcome, readings) =>
      this.exported.inc({ provider, outcome }, readings),
    );
    return new Poller((signal) => dispatcher.dispatchBatch(signal), {
      pauseMs: 500,
      onError: (error) => this.logger.error({ err: error, provider }, 'Meter exports could not be read or updated'),
    });
  }
}
