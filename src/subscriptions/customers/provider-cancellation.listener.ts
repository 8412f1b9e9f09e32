import { Injectable, type OnModuleInit } from '@nestjs/common';
import { OutboxService } from '../../outbox/outbox.service.js';
import { BillingProviders } from '../sync/billing-provider.port.js';
import { SUBSCRIPTION_END, type SubscriptionEnd } from './subscription-owners.service.js';
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
    this.outbox.handle(SUBSCRIPTION_END, (payload) => this.end(payload as SubscriptionEnd));
  }

  private async end({ provider: name, providerSubscriptionId }: SubscriptionEnd): Promise<void> {
    // It is over meanwhile, or its owner is back.
    if (!(await this.repository.isEndRequested({ provider: name, providerSubscriptionId }))) return;
    const provider = this.providers.get(name);
    if (provider === undefined) throw new Error(`Nobody knows how to reach ${name}`);
    await provider.endSubscription(providerSubscriptionId);
  }
}
