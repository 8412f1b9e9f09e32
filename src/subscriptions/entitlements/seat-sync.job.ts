import { Injectable, Logger, type OnModuleInit } from '@nestjs/common';
import { JobsService } from '../../jobs/jobs.service.js';
import { PlansService } from '../../plans/plans.service.js';
import { type BillingProvider, BillingProviderFailed, BillingProviders } from '../sync/billing-provider.port.js';
import { SubscriptionsRepository } from '../subscriptions.repository.js';

const BATCH = 100;

/**
 * Where a plan is paid by the seat, as many are paid for as an organization has members. Looked at from time to
 * time and not at every change: whatever was missed, or refused, is made up for by the next look.
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
      description: 'Has as many seats paid for as there are members, where a plan is by the seat',
      everySeconds: 300,
      run: (signal) => this.syncAll(signal),
    });
  }

  /** Answers how many were changed at their provider; our rows follow when it tells. */
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
          this.logger.error({ err: error, subscriptionId: id, seats: members }, 'Seats could not be changed and will be tried again');
          // It is away: the rest of its own would fail as well.
          if (error.isRetryable) return changed;
        }
      }
      if (wrong.length < BATCH) return changed;
      after = wrong.at(-1)!.id;
    }
  }
}
