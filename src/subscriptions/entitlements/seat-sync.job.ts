import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { JobsService } from '../../jobs/jobs.service.js';
import { PlansService } from '../../plans/plans.service.js';
import { type BillingProvider, BillingProviderFailed, BillingProviders } from '../sync/billing-provider.port.js';
import { SubscriptionsRepository } from '../subscriptions.repository.js';

const BATCH = 100;

/**
 * Sets the seats of per-seat subscriptions to the number of members. It runs on a schedule instead of on every change,
 * so that the next run makes up for failures.
 */
@Injectable()
export class SeatSync implements OnModuleInit {
  private readonly logger = new Logger(SeatSync.name);

  constructor(
    private readonly repository: SubscriptionsRepository,
    private readonly plans: PlansService,
    private readonly providers: BillingProviders,
    private readonly jobs: JobsService,
  ) {}

  onModuleInit(): void {
    this.jobs.register({
      name: 'follow_seats',
      description: 'Sets the paid seats of per-seat plans to the number of members',
      everySeconds: 300,
      run: (signal) => this.syncAll(signal),
    });
  }

  /** Returns how many subscriptions were changed. Our rows follow with the provider's events. */
  async syncAll(signal: AbortSignal): Promise<number> {
    let changed = 0;
    for (const provider of this.providers.configured()) changed += await this.syncProvider(provider, signal);
    return changed;
  }

  private async syncProvider(provider: BillingProvider, signal: AbortSignal): Promise<number> {
    const bySeat = this.plans.list().filter(({ limits }) => limits.perSeat);
    const products = bySeat.flatMap((plan) => plan.products[provider.name]);
    let changed = 0;
    for (let after: string | undefined; ;) {
      const wrong = await this.repository.listSeatMismatches(provider.name, products, { after, limit: BATCH });
      for (const { id, providerSubscriptionId, members } of wrong) {
        if (signal.aborted) return changed;
        try {
          await provider.setSeats(providerSubscriptionId, members);
          changed += 1;
        } catch (error) {
          if (!(error instanceof BillingProviderFailed)) throw error;
          this.logger.error({ err: error, subscriptionId: id, seats: members }, 'Seats could not be changed; the next run tries again');
          // The provider is unavailable: its other subscriptions would fail too.
          if (error.isRetryable) return changed;
        }
      }
      if (wrong.length < BATCH) return changed;
      after = wrong.at(-1)!.id;
    }
  }
}
