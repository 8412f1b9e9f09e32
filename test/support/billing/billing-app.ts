import type { SubscriptionResponse } from '../../../src/subscriptions/operator-subscriptions.dto.js';
import type { EffectiveSubscriptionResponse } from '../../../src/subscriptions/entitlements/entitlements.dto.js';
import type { PaymentResponse } from '../../../src/subscriptions/payments/payments.dto.js';
import { microsOf, polarTime } from '../../simulators/virtual-time.js';
import type { TestApp } from '../app.js';
import { ClerkApp } from '../clerk/clerk-app.js';
import { untilProcessed } from '../clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET, deliver, newMessageId } from '../clerk/clerk-events.js';
import { dodoEvent, dodoSubscription, type DodoSubscription } from './dodo-events.js';
import { type SignedInPerson, signUp } from '../people.js';
import { polarCustomer, polarEvent, polarSubscription } from './polar-events.js';
import { createOrganization } from '../tenants.js';

const DAY_MS = 86_400_000;

/** The webhook secret of every provider. */
export const BILLING_SECRET = CLERK_WEBHOOK_SECRET;

/** The products of `BILLING_PRODUCTS`; any other product is unknown. */
export const PRODUCT = { pro: 'a-pro-product', business: 'a-business-product' } as const;

export const BILLING_ENVIRONMENT = {
  POLAR_WEBHOOK_SECRET: BILLING_SECRET,
  DODO_PAYMENTS_WEBHOOK_KEY: BILLING_SECRET,
  BILLING_PRODUCTS: ['polar', 'dodo']
    .flatMap((provider) => Object.entries(PRODUCT).map(([tier, id]) => `${provider}:${id}=${tier}`))
    .join(','),
};

/** A time in `days` days, in the providers' format. */
export function inDays(days: number): string {
  return new Date(Date.now() + days * DAY_MS).toISOString();
}

type Json<T> = { [K in keyof T]: T[K] extends Date | null ? string | Extract<T[K], null> : T[K] };
export type Effective = Json<EffectiveSubscriptionResponse>;
export type Listed = Json<SubscriptionResponse>;
export type Paid = Json<PaymentResponse>;

type Provider = 'polar' | 'dodo';
export type PolarSubscription = ReturnType<typeof polarSubscription>;
type PolarGiven = Parameters<typeof polarSubscription>[0];

/** The application with simulated Clerk, Polar and Dodo events, and an operator. */
export class BillingApp {
  private constructor(readonly clerk: ClerkApp) {}

  static async start(environment: Record<string, string> = {}): Promise<BillingApp> {
    return new BillingApp(await ClerkApp.start({ ...BILLING_ENVIRONMENT, ...environment }));
  }

  get t(): TestApp {
    return this.clerk.t;
  }

  get operator(): SignedInPerson {
    return this.clerk.operator;
  }

  async close(): Promise<void> {
    await this.clerk.close();
  }

  /** The time of the next event, one second after the previous one. */
  tick(): string {
    return polarTime(microsOf(new Date(this.clerk.tick())));
  }

  /** Delivers an event with the current time, waits until it is processed, and returns its message id. */
  async emitPolar(type: string, data: object, at = this.tick()): Promise<string> {
    return this.deliver('polar', polarEvent(type, data, { at }));
  }

  async emitDodo(type: string, data: object, at = this.tick()): Promise<string> {
    return this.deliver('dodo', dodoEvent(type, data, { at }));
  }

  async deliver(provider: Provider, event: object | string, id = newMessageId()): Promise<string> {
    const body = typeof event === 'string' ? event : JSON.stringify(event);
    const { status } = await deliver(this.t.url, body, { id, provider });
    if (status !== 202) throw new Error(`${body.slice(0, 200)} was answered with ${status}`);
    await untilProcessed({ db: this.t.db, urls: () => [this.t.url] });
    return id;
  }

  /** Buys a subscription at Polar for the owner in the metadata. */
  async buyAtPolar({ externalId = null, ...given }: PolarGiven & { externalId?: string | null } = {}): Promise<PolarSubscription> {
    const customer = given.customer ?? polarCustomer({ external_id: externalId, ...(given.customer_id && { id: given.customer_id }) });
    const subscription = polarSubscription({ product_id: PRODUCT.pro, ...given, customer });
    await this.emitPolar('subscription.updated', subscription);
    return subscription;
  }

  async buyAtDodo(given: Partial<DodoSubscription> = {}): Promise<DodoSubscription> {
    const subscription = dodoSubscription({ product_id: PRODUCT.pro, ...given });
    await this.emitDodo('subscription.active', subscription);
    return subscription;
  }

  /** A new organization with its admin. */
  async newTenant(): Promise<{ admin: SignedInPerson; id: string; path: string }> {
    const admin = await signUp(this.t);
    return { admin, ...(await createOrganization(this.t, admin)) };
  }

  /** The effective subscription of a user. */
  async userSubscription({ auth }: Pick<SignedInPerson, 'auth'>): Promise<Effective> {
    return (await this.t.http.get('/v1/subscription').set(auth).expect(200)).body as Effective;
  }

  /** The effective subscription of an organization, as an operator sees it. */
  async organizationSubscription(organizationId: string): Promise<Effective> {
    const { body } = await this.t.http.get(`/v1/organizations/${organizationId}/subscription`).set(this.operator.auth).expect(200);
    return body as Effective;
  }

  /** All subscriptions as an operator sees them. */
  async list(query: Record<string, string> = {}): Promise<Listed[]> {
    const { body } = await this.t.http
      .get('/v1/subscriptions')
      .query({ limit: '100', ...query })
      .set(this.operator.auth)
      .expect(200);
    return body.data as Listed[];
  }

  /** A subscription by the provider's id, as an operator sees it. */
  async find(providerSubscriptionId: string): Promise<Listed | undefined> {
    return (await this.list()).find((one) => one.providerSubscriptionId === providerSubscriptionId);
  }

  /** Our id of a subscription, by the provider's id. */
  async idOf(providerSubscriptionId: string): Promise<string> {
    const [row] = await this.t.db.rows<{ id: string }>('SELECT id FROM subscriptions WHERE provider_subscription_id = $1', [
      providerSubscriptionId,
    ]);
    return row!.id;
  }

  /** The owner of a subscription, by the provider's id. */
  async ownerOf(providerSubscriptionId: string): Promise<[kind: string | null, id: string | null]> {
    const { ownerKind, ownerId } = (await this.find(providerSubscriptionId))!;
    return [ownerKind, ownerId];
  }

  /** The processing state of a message. */
  async webhookEvent(messageId: string): Promise<{ status: string; attempts: number; last_error: string | null }> {
    const [row] = await this.t.db.rows<{ status: string; attempts: number; last_error: string | null }>(
      'SELECT status, attempts, last_error FROM webhook_events WHERE message_id = $1',
      [messageId],
    );
    return row!;
  }

  /** The subscriptions to cancel at their providers, and the number of outbox entries for it. */
  async requestedCancellations(): Promise<{ ids: string[]; outboxEntries: number }> {
    const rows = await this.t.db.rows<{ id: string }>(
      'SELECT provider_subscription_id AS id FROM subscriptions WHERE end_requested_at IS NOT NULL ORDER BY end_requested_at, id',
    );
    const [outbox] = await this.t.db.rows<{ outboxEntries: number }>(
      `SELECT count(*)::int AS "outboxEntries" FROM outbox WHERE kind = 'subscription.end'`,
    );
    return { ids: rows.map(({ id }) => id), outboxEntries: outbox!.outboxEntries };
  }
}
