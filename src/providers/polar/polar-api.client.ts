import { Injectable } from '@nestjs/common';
import { createCheckoutsService } from '@polar-sh/sdk/2026-10/services/checkouts';
import { createCustomerSessionsService } from '@polar-sh/sdk/2026-10/services/customer_sessions';
import { createSubscriptionsService } from '@polar-sh/sdk/2026-10/services/subscriptions';
import { EventRank } from '../../sync/event-version.js';
import { Config } from '../../platform/config/config.js';
import {
  type BillingProvider,
  BillingProviders,
  type CheckoutOrder,
  type CheckoutSession,
  type ProviderSubscription,
  type ProviderSubscriptionPage,
} from '../../subscriptions/sync/billing-provider.port.js';
import { BillingHttpClient, ProviderRequestRejected, type Send } from '../billing-http.client.js';
import { MalformedPayload } from '../../webhooks/webhook-provider.port.js';
import { createPolarSdk, parsePolarErrorBody } from './polar-sdk.js';
import { polarDatedObject, parsePolarSubscription } from './polar.schema.js';
import { DAY_MS } from '../../platform/time/durations.js';

const NEVER = '-infinity';

/** Polar's API: https://polar.sh/docs/api-reference */
@Injectable()
export class PolarApi implements BillingProvider {
  readonly name = 'polar';
  readonly calls = new BillingHttpClient('polar', parsePolarErrorBody);

  constructor(
    private readonly config: Config,
    providers: BillingProviders,
  ) {
    // In the constructor: commands of the CLI do not run `onModuleInit`.
    providers.register(this);
  }

  get isConfigured(): boolean {
    return this.config.polarApi !== undefined;
  }

  async findSubscription(id: string, signal?: AbortSignal): Promise<ProviderSubscription | undefined> {
    const operation = 'read a subscription';
    try {
      const found = await this.calls.find(operation, async (send) => this.client(operation, send).subscriptions.get(id), signal);
      return found && this.toProviderSubscription(operation, found);
    } catch (error) {
      // The id is the only input. Polar answers 422 for an id that is not a UUID, so there is no such subscription.
      if (error instanceof ProviderRequestRejected && error.status === 422) return undefined;
      throw error;
    }
  }

  /** Sorted by start, so that new subscriptions do not shift the pages. Those that have not started come last. */
  async listSubscriptions(from = '1', signal?: AbortSignal): Promise<ProviderSubscriptionPage> {
    const operation = 'list subscriptions';
    const page = Number(from);
    const query = { page, limit: this.calls.limits.pageSize, sorting: ['started_at' as const] };
    const list = await this.calls.read(operation, async (send) => this.client(operation, send).subscriptions.list(query), signal);
    const items = this.calls.expect<unknown[]>(operation, Array.isArray(list.items) ? list.items : null, 'items');
    const lastPage = this.calls.expect(operation, list.pagination?.max_page, 'pagination');
    return {
      subscriptions: items.map((item) => this.toProviderSubscription(operation, item)),
      next: page < lastPage ? String(page + 1) : null,
    };
  }

  async createCheckout({ owner, providerCustomerId, productId, ...order }: CheckoutOrder): Promise<CheckoutSession> {
    const operation = 'open a checkout';
    const checkout = await this.calls.write(
      operation,
      async (send) =>
        this.client(operation, send).checkouts.create({
          products: [productId],
          metadata: owner.kind === 'organization' ? { organizationId: owner.id } : { userId: owner.id },
          ...(providerCustomerId === undefined ? { external_customer_id: owner.id } : { customer_id: providerCustomerId }),
          seats: order.seats,
          customer_email: order.email,
          success_url: order.successUrl,
        }),
      { idempotencyKey: order.idempotencyKey },
    );
    const expiresAt = this.calls.expect(operation, checkout.expires_at, 'end');
    return { url: this.calls.expect(operation, checkout.url, 'address'), expiresAt: new Date(expiresAt) };
  }

  async createPortal(providerCustomerId: string, returnUrl: string): Promise<{ url: string }> {
    const operation = 'open a portal';
    const order = { customer_id: providerCustomerId, return_url: returnUrl };
    const session = await this.calls.write(operation, async (send) => this.client(operation, send).customerSessions.create(order));
    return { url: this.calls.expect(operation, session.customer_portal_url, 'address') };
  }

  async setSeats(providerSubscriptionId: string, seats: number): Promise<void> {
    const operation = 'set the seats of a subscription';
    await this.calls.write(operation, async (send) => this.client(operation, send).subscriptions.update(providerSubscriptionId, { seats }));
  }

  async cancelSubscription(providerSubscriptionId: string): Promise<void> {
    const operation = 'end a subscription';
    try {
      await this.calls.write(operation, async (send) => this.client(operation, send).subscriptions.revoke(providerSubscriptionId));
    } catch (error) {
      const isOver = error instanceof ProviderRequestRejected && (error.isNotFound || error.code === 'AlreadyCanceledSubscription');
      if (!isOver) throw error;
    }
  }

  private client(operation: string, send: Send) {
    const core = createPolarSdk(this.config, operation, send);
    return {
      subscriptions: createSubscriptionsService(core),
      checkouts: createCheckoutsService(core),
      customerSessions: createCustomerSessionsService(core),
    };
  }

  private toProviderSubscription(operation: string, object: unknown): ProviderSubscription {
    const { id, ...dates } = (object ?? {}) as { id?: string };
    const { modified_at: modifiedAt, created_at: createdAt } = polarDatedObject.parse(dates);
    const at = modifiedAt ?? createdAt ?? NEVER;
    const subscription: ProviderSubscription = {
      id: this.calls.expect(operation, id, 'id'),
      version: { at, modifiedAt: modifiedAt ?? NEVER, rank: EventRank.update, messageId: 'reconciliation' },
    };
    try {
      return { ...subscription, snapshot: parsePolarSubscription(object, { at, graceMs: this.config.billingGraceDays * DAY_MS }) };
    } catch (error) {
      if (!(error instanceof MalformedPayload)) throw error;
      return { ...subscription, readError: error.message };
    }
  }
}
