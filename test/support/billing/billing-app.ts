import type { SubscriptionResponse } from '../../../src/subscriptions/operator-subscriptions.dto.js';
import type { EffectiveSubscriptionResponse, PaymentResponse } from '../../../src/subscriptions/subscriptions.dto.js';
import { microsOf, polarTime } from '../../simulators/virtual-time.js';
import type { TestApp } from '../app.js';
import { ClerkApp } from '../clerk/clerk-app.js';
import { settled } from '../clerk/clerk-deliveries.js';
import { CLERK_WEBHOOK_SECRET, deliver, newMessageId } from '../clerk/clerk-events.js';
import { dodoEvent, dodoSubscription, type DodoSubscription } from './dodo-events.js';
import { type SignedInPerson, signUp } from '../people.js';
import { polarCustomer, polarEvent, polarSubscription } from './polar-events.js';
import { createOrganization } from '../tenants.js';

const DAY_MS = 86_400_000;

/** What every provider signs with here. */
export const BILLING_SECRET = CLERK_WEBHOOK_SECRET;

/** What the plans know; any other product is in none. */
export const PRODUCT = { pro: 'a-pro-product', business: 'a-business-product' } as const;

export const BILLING_ENVIRONMENT = {
  POLAR_WEBHOOK_SECRET: BILLING_SECRET,
  DODO_PAYMENTS_WEBHOOK_KEY: BILLING_SECRET,
  BILLING_PRODUCTS: ['polar', 'dodo']
    .flatMap((provider) => Object.entries(PRODUCT).map(([tier, id]) => `${provider}:${id}=${tier}`))
    .join(','),
};

/** So many days from now, the way providers write it. */
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

/** The application beside Clerk, Polar and Dodo, which tell it what happens, and an operator who looks. */
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

  /** When the next event happens: a second after the one before. */
  tick(): string {
    return polarTime(microsOf(new Date(this.clerk.tick())));
  }

  /** Tells of something that happens now, and waits until it has had its effect; answers the message's id. */
  async tellPolar(type: string, data: object, at = this.tick()): Promise<string> {
    return this.deliver('polar', polarEvent(type, data, { at }));
  }

  async tellDodo(type: string, data: object, at = this.tick()): Promise<string> {
    return this.deliver('dodo', dodoEvent(type, data, { at }));
  }

  async deliver(provider: Provider, event: object | string, id = newMessageId()): Promise<string> {
    const body = typeof event === 'string' ? event : JSON.stringify(event);
    const { status } = await deliver(this.t.url, body, { id, provider });
    if (status !== 202) throw new Error(`${body.slice(0, 200)} was answered with ${status}`);
    await settled({ db: this.t.db, urls: () => [this.t.url] });
    return id;
  }

  /** Has somebody buy at Polar, for whoever the metadata says. */
  async buyAtPolar({ externalId = null, ...given }: PolarGiven & { externalId?: string | null } = {}): Promise<PolarSubscription> {
    const customer = given.customer ?? polarCustomer({ external_id: externalId, ...(given.customer_id && { id: given.customer_id }) });
    const subscription = polarSubscription({ product_id: PRODUCT.pro, ...given, customer });
    await this.tellPolar('subscription.updated', subscription);
    return subscription;
  }

  async buyAtDodo(given: Partial<DodoSubscription> = {}): Promise<DodoSubscription> {
    const subscription = dodoSubscription({ product_id: PRODUCT.pro, ...given });
    await this.tellDodo('subscription.active', subscription);
    return subscription;
  }

  /** Somebody new who is signed in, and their organization. */
  async newTenant(): Promise<{ admin: SignedInPerson; id: string; path: string }> {
    const admin = await signUp(this.t);
    return { admin, ...(await createOrganization(this.t, admin)) };
  }

  /** What a user may use themselves. */
  async ownState({ auth }: Pick<SignedInPerson, 'auth'>): Promise<Effective> {
    return (await this.t.http.get('/v1/subscription').set(auth).expect(200)).body as Effective;
  }

  /** What an organization may use, as an operator sees it. */
  async stateOf(organizationId: string): Promise<Effective> {
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

  /** One that a provider told of, as an operator sees it. */
  async find(providerSubscriptionId: string): Promise<Listed | undefined> {
    return (await this.list()).find((one) => one.providerSubscriptionId === providerSubscriptionId);
  }

  /** Ours, by the provider's. */
  async idOf(providerSubscriptionId: string): Promise<string> {
    const [row] = await this.t.db.rows<{ id: string }>('SELECT id FROM subscriptions WHERE provider_subscription_id = $1', [
      providerSubscriptionId,
    ]);
    return row!.id;
  }

  /** Whose a subscription is, by the provider's id. */
  async ownerOf(providerSubscriptionId: string): Promise<[kind: string | null, id: string | null]> {
    const { ownerKind, ownerId } = (await this.find(providerSubscriptionId))!;
    return [ownerKind, ownerId];
  }

  /** What became of a message. */
  async fateOf(messageId: string): Promise<{ status: string; attempts: number; last_error: string | null }> {
    const [row] = await this.t.db.rows<{ status: string; attempts: number; last_error: string | null }>(
      'SELECT status, attempts, last_error FROM webhook_events WHERE message_id = $1',
      [messageId],
    );
    return row!;
  }

  /** What providers are to be told to end, by their ids, and how many errands there are. */
  async endsRequested(): Promise<{ ids: string[]; errands: number }> {
    const rows = await this.t.db.rows<{ id: string }>(
      'SELECT provider_subscription_id AS id FROM subscriptions WHERE end_requested_at IS NOT NULL ORDER BY end_requested_at, id',
    );
    const [outbox] = await this.t.db.rows<{ errands: number }>(
      `SELECT count(*)::int AS errands FROM outbox WHERE kind = 'subscription.end'`,
    );
    return { ids: rows.map(({ id }) => id), errands: outbox!.errands };
  }
}
