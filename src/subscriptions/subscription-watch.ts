import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { Gauge } from 'prom-client';
import { Metrics } from '../common/metrics.js';
import { JobsService } from '../jobs/jobs.service.js';
import { PlansService } from '../plans/plans.service.js';
import { SubscriptionsRepository } from './subscriptions.repository.js';

/** Tells of living subscriptions that give nobody anything: it takes a person to say whose they are, or what they are. */
@Injectable()
export class SubscriptionWatch implements OnModuleInit {
  private readonly logger = new Logger(SubscriptionWatch.name);
  private readonly products: string[];

  constructor(
    private readonly repository: SubscriptionsRepository,
    private readonly jobs: JobsService,
    plans: PlansService,
    metrics: Metrics,
  ) {
    this.products = plans.list().flatMap(({ products }) => Object.values(products).flat());
    const count = () => this.repository.countOddities(this.products);
    new Gauge({
      name: 'tenantry_subscriptions_odd',
      help: 'Living subscriptions that nobody owns (ownerless), or of products that are in no plan (unknown_product)',
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
      everySeconds: 3600,
      run: () => this.watch(),
    });
  }

  private async watch(): Promise<number> {
    const { ownerless, unknownProduct } = await this.repository.countOddities(this.products);
    if (ownerless > 0)
      this.logger.error({ count: ownerless }, `${ownerless} living subscriptions belong to nobody: link them, or end them`);
    if (unknownProduct > 0)
      this.logger.error({ count: unknownProduct }, `${unknownProduct} living subscriptions are of products in no plan`);
    return ownerless + unknownProduct;
  }
}
