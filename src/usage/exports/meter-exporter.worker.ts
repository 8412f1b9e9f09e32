import { type BeforeApplicationShutdown, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { Counter, Gauge } from 'prom-client';
import { Clock } from '../../platform/time/clock.service.js';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { Poller } from '../../platform/queue/poller.js';
import { LINE_LIMITS, MeterDispatcher } from './meter-dispatcher.js';
import { type Meter, Meters } from './meter.port.js';
import { type ExportBacklog, MetersRepository } from './meter-exports.repository.js';

/** Works off what the meters are to be told; a provider that is away holds up nobody but itself. */
@Injectable()
export class MeterExporter implements OnApplicationBootstrap, BeforeApplicationShutdown {
  readonly limits = { ...LINE_LIMITS };
  private readonly logger = new Logger(MeterExporter.name);
  private readonly exported: Counter<'provider' | 'outcome'>;
  private pollers: Poller[] = [];

  constructor(
    private readonly meters: Meters,
    private readonly repository: MetersRepository,
    private readonly clock: Clock,
    metrics: Metrics,
  ) {
    const registers = [metrics.registry];
    this.exported = new Counter({
      name: 'tenantry_meter_exports_total',
      help: 'Usage events that a provider has taken, refused for good, or could not be told of (failed, to be told again)',
      labelNames: ['provider', 'outcome'],
      registers,
    });
    // The gauges are read together, and what they tell is counted once.
    let counting: Promise<ExportBacklog[]> | undefined;
    const backlog = async () => (counting ??= repository.backlog().finally(() => (counting = undefined)));
    for (const [name, help, of] of [
      ['tenantry_meter_exports_pending', 'Usage events that a provider is still to be told of', 'pending'],
      ['tenantry_meter_exports_refused', 'Usage events that a provider has refused for good', 'refused'],
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
      help: 'Since when the oldest usage event waits that a provider is still to be told of',
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
    this.pollers = this.meters.configured().map((meter) => this.pollerOf(meter));
    for (const poller of this.pollers) poller.start();
  }

  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all(this.pollers.map((poller) => poller.stop()));
  }

  wake(): void {
    for (const poller of this.pollers) poller.wake();
  }

  private pollerOf(meter: Meter): Poller {
    const { provider } = meter;
    const line = new MeterDispatcher(meter, this.repository, this.clock, this.limits, (outcome, readings) =>
      this.exported.inc({ provider, outcome }, readings),
    );
    return new Poller((signal) => line.work(signal), {
      pauseMs: 500,
      onError: (error) => this.logger.error({ err: error, provider }, 'Usage to export could not be read, or written down'),
    });
  }
}
