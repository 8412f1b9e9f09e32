import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { Metrics } from '../common/metrics.js';
import { sweepInBatches } from '../common/sweep.js';
import { JobsService } from '../jobs/jobs.service.js';
import { PlansService } from '../plans/plans.service.js';
import { SubscriptionOwners } from './subscription-owners.js';
import { SubscriptionsRepository } from './subscriptions.repository.js';

type Oddities = Awaited<ReturnType<SubscriptionsRepository['countOddities']>>;

const COUNTED_MS = 60_000;

/** Looks after living subscriptions that nobody has, or that give nobody anything. */
@Injectable()
export class SubscriptionWatch implements OnModuleInit {
  private readonly logger = new Logger(SubscriptionWatch.name);
  private readonly products: string[];
  private counted?: { at: number; oddities: Promise<Oddities> };

  constructor(
    private readonly repository: SubscriptionsRepository,
    private readonly owners: SubscriptionOwners,
    private readonly jobs: JobsService,
    plans: PlansService,
    metrics: Metrics,
  ) {
    this.products = plans.list().flatMap(({ products }) => Object.values(products).flat());
    const count = async () => this.count();
    new Gauge({
      name: 'tenantry_subscriptions_odd',
      help: 'Living subscriptions that nobody owns (ownerless), or of products in no plan (unknown_product), a minute old at most',
      labelNames: ['kind'],
      registers: [metrics.registry],
      collect: async function () {
        const { ownerless, unknownProduct } = await count();
        this.set({ kind: 'ownerless' }, ownerless);
        this.set({ kind: 'unknown_product' }, unknownProduct);
      },
    });
  }

  onModuleInit(): void {
    this.jobs.register({
      name: 'watch_subscriptions',
      description: 'Tells in the log of living subscriptions that nobody owns, or whose product is in no plan',
      everySeconds: 300,
      run: () => this.watch(),
    });
    this.jobs.register({
      name: 'end_subscriptions',
      description: 'Has subscriptions ended that owners are charged for who are gone',
      everySeconds: 3600,
      run: (signal) => sweepInBatches(signal, (limit) => this.owners.releaseGone(limit)),
    });
  }

  /** Whoever scrapes often must not have all living ones read each time. */
  private async count(): Promise<Oddities> {
    if (this.counted === undefined || Date.now() > this.counted.at + COUNTED_MS)
      this.counted = { at: Date.now(), oddities: this.repository.countOddities(this.products) };
    try {
      return await this.counted.oddities;
    } catch (error) {
      this.counted = undefined;
      throw error;
    }
  }

  /** It takes a person to say whose, or what, they are. */
  private async watch(): Promise<number> {
    const { ownerless, unknownProduct } = await this.repository.countOddities(this.products);
    if (ownerless > 0)
      this.logger.error({ count: ownerless }, `${ownerless} living subscriptions belong to nobody: link them, or end them`);
    if (unknownProduct > 0)
      this.logger.error({ count: unknownProduct }, `${unknownProduct} living subscriptions are of products in no plan`);
    return ownerless + unknownProduct;
  }
}
