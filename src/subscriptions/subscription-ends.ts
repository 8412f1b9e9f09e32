import { Injectable, type OnModuleInit } from '@nestjs/common';
import { OutboxService } from '../outbox/outbox.service.js';
import { BillingProviders } from './billing-provider.js';
import { SUBSCRIPTION_END, type SubscriptionEnd } from './subscription-owners.js';

/** Ends at its provider what nobody is there any more to pay for. */
@Injectable()
export class SubscriptionEnds implements OnModuleInit {
  constructor(
    private readonly outbox: OutboxService,
    private readonly providers: BillingProviders,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(SUBSCRIPTION_END, (payload) => this.end(payload as SubscriptionEnd));
  }

  private async end({ provider: name, providerSubscriptionId }: SubscriptionEnd): Promise<void> {
    const provider = this.providers.get(name);
    if (provider === undefined) throw new Error(`Nobody knows how to reach ${name}`);
    await provider.endSubscription(providerSubscriptionId);
  }
}
