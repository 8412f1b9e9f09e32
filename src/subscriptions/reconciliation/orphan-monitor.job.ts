import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { Metrics } from '../../platform/metrics/metrics.service.js';
import { sweepInBatches } from '../../platform/queue/sweep.js';
import { JobsService } from '../../jobs/jobs.service.js';
import { PlansService } from '../../plans/plans.service.js';
import { PaymentsRepository, RETURNED_PAYMENT_STATES, type ReturnedPaymentState } from '../payments/payments.repository.js';
import { SubscriptionOwners } from '../customers/subscription-owners.service.js';
import { SubscriptionsRepository } from '../subscriptions.repository.js';
import { Clock } from '../../platform/time/clock.service.js';
import { daysBefore, MINUTE_MS } from '../../platform/time/durations.js';

interface Counts {
  oddities: Awaited<ReturnType<SubscriptionsRepository['countAnomalies']>>;
  returned: Map<ReturnedPaymentState, number>;
}

const COUNTED_MS = MINUTE_MS;
const ORPHAN_DAYS = 7;

/** Reports live subscriptions without an owner or a known product, and cancels those of deleted owners. */
@Injectable()
export class OrphanMonitor implements OnModuleInit {
  private readonly logger = new Logger(OrphanMonitor.name);
  private readonly products: string[];
  private counted?: { at: number; counts: Promise<Counts> };

  constructor(
    private readonly repository: SubscriptionsRepository,
    private readonly paid: PaymentsRepository,
    private readonly owners: SubscriptionOwners,
    private readonly jobs: JobsService,
    private readonly clock: Clock,
    plans: PlansService,
    metrics: Metrics,
  ) {
    this.products = plans.list().flatMap(({ products }) => Object.values(products).flat());
    const count = async () => this.count();
    new Gauge({
      name: 'tenantry_subscriptions_odd',
      help: 'Live subscriptions without an owner (ownerless), or with a product of no plan (unknown_product), at most a minute old',
      labelNames: ['kind'],
      registers: [metrics.registry],
      collect: async function () {
        const { ownerless, unknownProduct } = (await count()).oddities;
        this.set({ kind: 'ownerless' }, ownerless);
        this.set({ kind: 'unknown_product' }, unknownProduct);
      },
    });
    new Gauge({
      name: 'tenantry_payments_returned',
      help: 'Refunded and disputed payments by status, at most a minute old',
      labelNames: ['status'],
      registers: [metrics.registry],
      collect: async function () {
        const { returned } = await count();
        for (const status of RETURNED_PAYMENT_STATES) this.set({ status }, returned.get(status) ?? 0);
      },
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'watch_subscriptions',
      description: 'Logs live subscriptions without an owner or with a product of no plan, and open disputes',
      everySeconds: 300,
      run: () => this.watch(),
    });
    this.jobs.register({
      name: 'end_subscriptions',
      description: 'Cancels subscriptions of owners deleted in the last week',
      everySeconds: 3600,
      run: (signal) => sweepInBatches(signal, (limit) => this.owners.cancelOrphans(daysBefore(this.clock.now(), ORPHAN_DAYS), limit)),
    });
  }

  /** Cached, so that frequent scrapes do not read all live subscriptions each time. */
  private async count(): Promise<Counts> {
    const at = this.clock.now().getTime();
    if (this.counted === undefined || at > this.counted.at + COUNTED_MS) this.counted = { at, counts: this.countAll() };
    try {
      return await this.counted.counts;
    } catch (error) {
      this.counted = undefined;
      throw error;
    }
  }

  private async countAll(): Promise<Counts> {
    const [oddities, returned] = await Promise.all([this.repository.countAnomalies(this.products), this.paid.countReturned()]);
    return { oddities, returned };
  }

  /** An operator has to decide about these. */
  private async watch(): Promise<number> {
    const { oddities, returned } = await this.countAll();
    const { ownerless, unknownProduct } = oddities;
    const disputed = returned.get('disputed') ?? 0;
    if (disputed > 0) this.logger.warn({ count: disputed }, `${disputed} payments are disputed: respond at the provider`);
    if (ownerless > 0) this.logger.error({ count: ownerless }, `${ownerless} live subscriptions have no owner: link or cancel them`);
    if (unknownProduct > 0) this.logger.error({ count: unknownProduct }, `${unknownProduct} live subscriptions have a product of no plan`);
    return ownerless + unknownProduct + disputed;
  }
}
