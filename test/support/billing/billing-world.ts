import type { NestExpressApplication } from '@nestjs/platform-express';
import { SYSTEM } from '../../../src/access/principal.js';
import { Clock } from '../../../src/platform/time/clock.service.js';
import { loadConfig } from '../../../src/platform/config/config.js';
import { DATABASE, type Database } from '../../../src/platform/database/database.js';
import { createApp } from '../../../src/create-app.js';
import { DodoApi } from '../../../src/providers/dodo/dodo-api.client.js';
import { DodoWebhooks } from '../../../src/providers/dodo/dodo-webhooks.service.js';
import { PolarApi } from '../../../src/providers/polar/polar-api.client.js';
import { PolarWebhooks } from '../../../src/providers/polar/polar-webhooks.service.js';
import { DodoAccount } from '../../simulators/dodo-account.js';
import { startDodoApiSimulator } from '../../simulators/dodo-api.js';
import { PolarAccount } from '../../simulators/polar-account.js';
import { startPolarApiSimulator } from '../../simulators/polar-api.js';
import { bodyAt, type ProviderEvent } from '../../simulators/provider-event.js';
import type { Fault } from '../../simulators/simulated-api.js';
import { VirtualClock } from '../../simulators/virtual-time.js';
import { testEnvironment } from '../app.js';
import { dodoEnvironment, polarEnvironment, withoutPauses } from './billing-clients.js';
import { createTestDatabase, type TestDatabase } from '../database.js';

export type ProviderName = 'polar' | 'dodo';

/** The common interface of both simulated providers, and their recorded API calls. */
export interface BillingSide {
  name: ProviderName;
  /** Creates a subscription and returns its id. */
  subscribe(given?: { seats?: number; metadata?: Record<string, string> }): string;
  cancel(id: string, when: 'now' | 'period end'): void;
  setSeats(id: string, seats: number): void;
  /** Sets whether the next payments for it succeed. */
  setCard(id: string, card: 'works' | 'fails'): void;
  statusOf(id: string): string;
  /** Runs all due changes. */
  tick(): void;
  /** A subscription as the API returns it. */
  apiResponse(id: string): object;
  events: ProviderEvent[];
  calls: string[];
  faults: Fault[];
  control: { onCall?: (call: string) => void | Promise<void> };
  environment: Record<string, string>;
  close(): Promise<void>;
}

export async function startPolarSide(clock: VirtualClock, seed?: number): Promise<BillingSide> {
  const account = new PolarAccount({ clock, seed });
  const api = await startPolarApiSimulator({ account });
  return {
    ...api,
    name: 'polar',
    subscribe: ({ seats, metadata } = {}) => {
      clock.advance({ minutes: 1 });
      const product = account.createProduct({ perSeat: seats !== undefined });
      return account.subscribe({ productId: product.id, customerId: account.createCustomer().id, seats, metadata }).id;
    },
    cancel: (id, when) => account.cancel(id, { when }),
    setSeats: (id, seats) => account.changeSeats(id, seats),
    setCard: (id, card) => account.setCard(account.subscription(id).customer_id, card),
    statusOf: (id) => account.subscription(id).status,
    tick: () => account.tick(),
    apiResponse: (id) => account.subscription(id),
    events: account.events,
    environment: polarEnvironment(api),
  };
}

export async function startDodoSide(clock: VirtualClock, seed?: number): Promise<BillingSide> {
  const account = new DodoAccount({ clock, seed });
  const api = await startDodoApiSimulator({ account });
  return {
    ...api,
    name: 'dodo',
    subscribe: ({ seats, metadata } = {}) => {
      clock.advance({ minutes: 1 });
      const { product_id: productId } = account.createProduct();
      const { customer_id: customerId } = account.createCustomer();
      return account.subscribe({ productId, customerId, quantity: seats, metadata }).subscription_id;
    },
    cancel: (id, when) => account.cancel(id, { when }),
    setSeats: (id, quantity) => account.changePlan(id, { quantity }),
    setCard: (id, card) => account.setCard(account.subscription(id).customer.customer_id, card),
    statusOf: (id) => account.subscription(id).status,
    tick: () => account.tick(),
    apiResponse: (id) => account.subscription(id),
    events: account.events,
    environment: dodoEnvironment(api),
  };
}

/** Both providers and the application, without its workers, so that only the test causes changes. */
export class BillingWorld {
  private readonly delivered = new Map<BillingSide, number>();

  private constructor(
    readonly clock: VirtualClock,
    readonly db: TestDatabase,
    readonly polar: BillingSide,
    readonly dodo: BillingSide,
    readonly app: NestExpressApplication,
  ) {}

  static async start(): Promise<BillingWorld> {
    const clock = new VirtualClock();
    const [polar, dodo] = [await startPolarSide(clock), await startDodoSide(clock)];
    const db = await createTestDatabase();
    return new BillingWorld(clock, db, polar, dodo, await openApp(db, clock, { ...polar.environment, ...dodo.environment }));
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.polar.close();
    await this.dodo.close();
    await this.db.drop();
  }

  side(name: ProviderName): BillingSide {
    return this[name];
  }

  /** Another application on the same database. */
  async open(environment: Record<string, string> = {}): Promise<NestExpressApplication> {
    return openApp(this.db, this.clock, environment);
  }

  /** Applies the events that a provider has sent since the last call. */
  async deliverNew(side: BillingSide): Promise<void> {
    for (const event of this.since(side)) await this.apply(side, event);
  }

  /** Drops the events that a provider has sent since the last call, and returns them. */
  loseNew(side: BillingSide): ProviderEvent[] {
    return this.since(side);
  }

  async apply(side: BillingSide, event: ProviderEvent): Promise<void> {
    const webhooks = this.app.get<PolarWebhooks | DodoWebhooks>(side.name === 'polar' ? PolarWebhooks : DodoWebhooks);
    const body = bodyAt(event, this.clock.now());
    const payload: unknown = JSON.parse(body);
    const { type, eventAt } = webhooks.parseEnvelope(payload, Buffer.from(body));
    const { messageId } = event;
    await this.app.get<Database>(DATABASE).transaction((tx) => webhooks.apply({ messageId, type, eventAt, payload, actor: SYSTEM }, tx));
  }

  /** Inserts a subscription that the provider does not know, by default older than a minute. */
  async insertUnknown(
    provider: ProviderName,
    more: { id?: string; status?: string; createdAt?: Date; checkAt?: Date } = {},
  ): Promise<string> {
    const { id = crypto.randomUUID(), status = 'active', createdAt = new Date(0), checkAt = null } = more;
    await this.db.rows(
      `INSERT INTO subscriptions (id, provider, provider_subscription_id, provider_customer_id, status, created_at, check_at)
       VALUES (gen_random_uuid(), $1, $2, 'nobody', $3, $4, $5)`,
      [provider, id, status, createdAt, checkAt],
    );
    return id;
  }

  async row(id: string): Promise<Record<string, unknown>> {
    const [row] = await this.db.rows('SELECT * FROM subscriptions WHERE provider_subscription_id = $1', [id]);
    return row!;
  }

  /** Everything that reconciliation may change. */
  async rows(): Promise<unknown[]> {
    const tables = [
      'subscriptions',
      'billing_customers',
      'payments',
      'subscription_products',
      'subscription_periods',
      'audit_log',
      'outbox',
      'billing_walks',
    ];
    return Promise.all(tables.map((table) => this.db.rows(`SELECT to_jsonb(t) AS row FROM ${table} t ORDER BY to_jsonb(t)::text`)));
  }

  private since(side: BillingSide): ProviderEvent[] {
    const events = side.events.slice(this.delivered.get(side) ?? 0);
    this.delivered.set(side, side.events.length);
    return events;
  }
}

async function openApp(db: TestDatabase, clock: VirtualClock, environment: Record<string, string>): Promise<NestExpressApplication> {
  const app = await createApp(loadConfig({ ...testEnvironment(db.url), ...environment }));
  useClock(app, clock);
  return app;
}

/** Sets the providers' clock in the application, and removes pauses between retries. */
export function useClock(app: NestExpressApplication, clock: VirtualClock): void {
  app.get(Clock).now = () => clock.now();
  withoutPauses(app.get(PolarApi));
  withoutPauses(app.get(DodoApi));
}
