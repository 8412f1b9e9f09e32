import { Injectable, type OnModuleInit } from '@nestjs/common';
import { OutboxService } from '../../outbox/outbox.service.js';
import { BillingProviders } from '../sync/billing-provider.port.js';
import { SUBSCRIPTION_CANCELLATION, type SubscriptionCancellation } from './subscription-owners.service.js';
import { SyncedSubscriptionsRepository } from '../sync/synced-subscriptions.repository.js';

/** Ends at its provider what nobody is there any more to pay for. */
@Injectable()
export class ProviderCancellation implements OnModuleInit {
  constructor(
    private readonly outbox: OutboxService,
    private readonly providers: BillingProviders,
    private readonly repository: SyncedSubscriptionsRepository,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(SUBSCRIPTION_CANCELLATION, (payload) => this.cancel(payload as SubscriptionCancellation));
  }

  private async cancel({ provider: name, providerSubscriptionId }: SubscriptionCancellation): Promise<void> {
    // It is over meanwhile, or its owner is back.
    if (!(await this.repository.isEndRequested({ provider: name, providerSubscriptionId }))) return;
    const provider = this.providers.get(name);
    if (provider === undefined) throw new Error(`Nobody knows how to reach ${name}`);
    await provider.cancelSubscription(providerSubscriptionId);
  }
}
