import { Injectable, type OnModuleInit } from '@nestjs/common';
import { OutboxService } from '../../outbox/outbox.service.js';
import { BillingProviders } from '../sync/billing-provider.port.js';
import { ChargedSubscriptionsRepository } from './charged-subscriptions.repository.js';
import { SUBSCRIPTION_CANCELLATION, type SubscriptionCancellation } from './subscription-owners.service.js';

/** Cancels at the provider the subscriptions of deleted owners. */
@Injectable()
export class ProviderCancellation implements OnModuleInit {
  constructor(
    private readonly outbox: OutboxService,
    private readonly providers: BillingProviders,
    private readonly repository: ChargedSubscriptionsRepository,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(SUBSCRIPTION_CANCELLATION, (payload) => this.cancel(payload as SubscriptionCancellation));
  }

  private async cancel({ provider: name, providerSubscriptionId }: SubscriptionCancellation): Promise<void> {
    // It may have ended since, or its owner may have been restored.
    if (!(await this.repository.isEndRequested({ provider: name, providerSubscriptionId }))) return;
    const provider = this.providers.get(name);
    if (provider === undefined) throw new Error(`There is no client for the billing provider ${name}`);
    await provider.cancelSubscription(providerSubscriptionId);
  }
}
