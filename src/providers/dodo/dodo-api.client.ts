import { Injectable } from '@nestjs/common';
import type DodoPayments from 'dodopayments';
import { type EventVersion, EventRank } from '../../sync/event-version.js';
import type { Owner } from '../../owners/owner.js';
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
import { createDodoSdk, parseDodoErrorBody } from './dodo-sdk.js';
import { parseDodoSubscription } from './dodo.schema.js';
import { DAY_MS } from '../../platform/time/durations.js';

/** Dodo's API: https://docs.dodopayments.com/api-reference */
@Injectable()
export class DodoApi implements BillingProvider {
  readonly name = 'dodo';
  readonly calls = new BillingHttpClient('dodo', parseDodoErrorBody);

  constructor(
    private readonly config: Config,
    providers: BillingProviders,
  ) {
    // In the constructor: commands of the CLI do not run `onModuleInit`.
    providers.register(this);
  }

  get isConfigured(): boolean {
    return this.config.dodoApi !== undefined;
  }

  async findSubscription(id: string, signal?: AbortSignal): Promise<ProviderSubscription | undefined> {
    const operation = 'read a subscription';
    const found = await this.calls.find(operation, async (send) => dated(this.client(operation, send).subscriptions.retrieve(id)), signal);
    return found && this.toProviderSubscription(operation, found.answer, found.version);
  }

  /**
   * Ends at an empty page: Dodo reports no total, and may return fewer items than requested. The SDK's own pagination
   * skips the second page.
   */
  async listSubscriptions(from = '0', signal?: AbortSignal): Promise<ProviderSubscriptionPage> {
    const operation = 'list subscriptions';
    const page = Number(from);
    const query = { page_number: page, page_size: this.calls.limits.pageSize };
    const list = await this.calls.read(operation, async (send) => dated(this.client(operation, send).subscriptions.list(query)), signal);
    const { items: given } = list.answer as { items?: unknown };
    const items = this.calls.expect<unknown[]>(operation, Array.isArray(given) ? given : null, 'items');
    const subscriptions = items.map((item) => ({
      ...this.toProviderSubscription(operation, item, list.version),
      omittedFields: omittedFieldsOf(item),
    }));
    return { subscriptions, next: items.length === 0 ? null : String(page + 1) };
  }

  async createCheckout({ owner, productId, seats = 1, successUrl, idempotencyKey, ...buyer }: CheckoutOrder): Promise<CheckoutSession> {
    const operation = 'open a checkout';
    const customerId = buyer.providerCustomerId ?? (await this.findOrCreateCustomer(owner, buyer.email, idempotencyKey));
    const order = {
      product_cart: [{ product_id: productId, quantity: seats }],
      metadata: ownerMetadata(owner),
      return_url: successUrl,
      ...(customerId !== undefined && { customer: { customer_id: customerId } }),
    };
    const session = await this.calls.write(operation, async (send) => this.client(operation, send).checkoutSessions.create(order), {
      idempotencyKey,
    });
    // Dodo reports no expiry: https://docs.dodopayments.com/developer-resources/checkout-session
    return { url: this.calls.expect(operation, session.checkout_url, 'address'), expiresAt: null, providerCustomerId: customerId };
  }

  async createPortal(providerCustomerId: string, returnUrl: string): Promise<{ url: string }> {
    const operation = 'open a portal';
    const query = { return_url: returnUrl };
    const session = await this.calls.write(operation, async (send) =>
      this.client(operation, send).customers.customerPortal.create(providerCustomerId, query),
    );
    return { url: this.calls.expect(operation, session.link, 'address') };
  }

  async setSeats(providerSubscriptionId: string, seats: number): Promise<void> {
    const operation = 'set the seats of a subscription';
    const found = await this.calls.read(operation, async (send) =>
      this.client(operation, send).subscriptions.retrieve(providerSubscriptionId),
    );
    // Dodo charges even for a change to the same quantity.
    if (found.quantity === seats) return;
    const plan = {
      product_id: found.product_id,
      quantity: seats,
      proration_billing_mode: 'prorated_immediately' as const,
      // Addons that are left out are removed.
      addons: found.addons?.map(({ addon_id, quantity }) => ({ addon_id, quantity })),
    };
    await this.calls.write(operation, async (send) => this.client(operation, send).subscriptions.changePlan(providerSubscriptionId, plan));
  }

  async cancelSubscription(providerSubscriptionId: string): Promise<void> {
    const operation = 'end a subscription';
    const change = { status: 'cancelled' as const };
    try {
      await this.calls.write(operation, async (send) => this.client(operation, send).subscriptions.update(providerSubscriptionId, change));
    } catch (error) {
      if (!(error instanceof ProviderRequestRejected) || error.isRetryable) throw error;
      // Dodo documents no error code for a subscription that has ended.
      const subscription = error.isNotFound ? undefined : await this.findSubscription(providerSubscriptionId);
      if (subscription !== undefined && subscription.snapshot?.status !== 'canceled') throw error;
    }
  }

  /**
   * Dodo has no external ids, so our metadata identifies the owner's customer. Without an email address there is no
   * customer yet; the checkout form asks for it.
   */
  private async findOrCreateCustomer(owner: Owner, email: string | undefined, idempotencyKey: string): Promise<string | undefined> {
    if (email === undefined) return undefined;
    const metadata = ownerMetadata(owner);
    const isOwners = (customer: DodoPayments.Customer) => Object.entries(metadata).every(([name, id]) => customer.metadata?.[name] === id);
    const lookUp = 'look for a customer';
    const { items } = await this.calls.read(lookUp, async (send) => this.client(lookUp, send).customers.list({ email, page_size: 100 }));
    const known = items.find(isOwners);
    if (known !== undefined) return known.customer_id;
    const create = 'make a customer';
    const order = { email, name: email, metadata };
    const created = await this.calls.write(create, async (send) => this.client(create, send).customers.create(order), {
      idempotencyKey: `${idempotencyKey}-customer`,
    });
    // Dodo may return another owner's customer with the same address.
    return isOwners(created) ? created.customer_id : undefined;
  }

  private client(operation: string, send: Send): DodoPayments {
    return createDodoSdk(this.config, operation, send);
  }

  private toProviderSubscription(operation: string, object: unknown, version: EventVersion | undefined): ProviderSubscription {
    const { subscription_id: given } = (object ?? {}) as { subscription_id?: string };
    const id = this.calls.expect(operation, given, 'id');
    if (version === undefined) return { id, readError: 'the response has no date', version: NO_VERSION };
    try {
      return { id, version, snapshot: parseDodoSubscription(object, { at: version.at, graceMs: this.config.billingGraceDays * DAY_MS }) };
    } catch (error) {
      if (!(error instanceof MalformedPayload)) throw error;
      return { id, version, readError: error.message };
    }
  }
}

const NO_VERSION: EventVersion = { at: '-infinity', modifiedAt: '-infinity', rank: EventRank.embedded, messageId: 'reconciliation' };

/** A response with a version from its date, since Dodo's objects have no modified time. */
async function dated(call: { asResponse(): Promise<Response> }): Promise<{ answer: unknown; version: EventVersion | undefined }> {
  const response = await call.asResponse();
  const date = new Date(response.headers.get('date') ?? '');
  const isDated = !Number.isNaN(date.getTime());
  return {
    answer: await response.json(),
    version: isDated ? { ...NO_VERSION, at: date.toISOString(), rank: EventRank.update } : undefined,
  };
}

/** Lists leave out the end of a fixed term. */
function omittedFieldsOf(item: unknown): ProviderSubscription['omittedFields'] {
  return Object.hasOwn(item as object, 'expires_at') ? [] : ['endsAt'];
}

function ownerMetadata(owner: Owner): Record<string, string> {
  return owner.kind === 'organization' ? { organizationId: owner.id } : { userId: owner.id };
}
