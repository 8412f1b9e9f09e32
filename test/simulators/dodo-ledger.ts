import type DodoPayments from 'dodopayments';
import { dodoCustomerDetails, dodoEvent, type DodoSubscription } from '../support/billing/dodo-events.js';
import { type AccountOptions, ProviderAccount } from './provider-account.js';
import { dateOf, dodoTime, type Micros } from './virtual-time.js';

export interface DodoProduct {
  product_id: string;
  name: string;
  price: number;
  interval: DodoPayments.TimeInterval;
  trialDays: number;
  /** The time until a subscription expires. */
  term: { count: number; interval: DodoPayments.TimeInterval };
}

export interface LedgerOptions extends AccountOptions {
  /** Documented: each attempt has the latest data. Svix, which delivers, stores the first body instead. */
  rendering?: 'latest' | 'stored';
}

/** The state of an object from a time on. */
interface Version {
  since: Micros;
  data: object;
}

/** Dodo's state, and the events about its changes; all events of one change have the same data. */
export abstract class DodoLedger extends ProviderAccount {
  readonly products = new Map<string, DodoProduct>();
  readonly customers = new Map<string, DodoPayments.Customer>();
  readonly subscriptions = new Map<string, DodoSubscription>();
  readonly payments = new Map<string, DodoPayments.Payment>();
  readonly refunds = new Map<string, DodoPayments.Refund>();
  readonly disputes = new Map<string, DodoPayments.GetDispute>();
  private readonly histories = new Map<string, Version[]>();
  private readonly rendering: 'latest' | 'stored';

  constructor({ rendering = 'latest', ...options }: LedgerOptions) {
    super(options);
    this.rendering = rendering;
  }

  subscription = (id: string) => get(this.subscriptions, id);

  payment = (id: string) => get(this.payments, id);

  product = (id: string) => get(this.products, id);

  customer = (id: string) => get(this.customers, id);

  protected stampText = () => dodoTime(this.stamp());

  protected change(id: string, changes: Partial<DodoSubscription>, types: string[]): void {
    this.keep(this.subscriptions, id, { ...this.subscription(id), ...changes });
    this.send(
      ['updated', ...types].map((what) => `subscription.${what}`),
      id,
    );
  }

  protected changePayment(id: string, changes: Partial<DodoPayments.Payment>): void {
    this.keep(this.payments, id, { ...this.payment(id), ...changes, updated_at: this.stampText() });
  }

  protected keep<T extends object>(map: Map<string, T>, id: string, object: T): void {
    map.set(id, object);
    const history = this.histories.get(id) ?? [];
    history.push({ since: this.stamp(), data: object });
    this.histories.set(id, history);
  }

  /** Embedded customers are always current; there is no customer event. */
  protected keepCustomer(customer: DodoPayments.Customer): void {
    this.customers.set(customer.customer_id, customer);
    const details = dodoCustomerDetails(customer);
    const isTheirs = (one: { customer: { customer_id: string } }) => one.customer.customer_id === details.customer_id;
    for (const [id, one] of this.subscriptions) if (isTheirs(one)) this.keep(this.subscriptions, id, { ...one, customer: details });
    for (const [id, one] of this.payments) if (isTheirs(one)) this.keep(this.payments, id, { ...one, customer: details });
  }

  /** Sends the events of one change, with one common time or several. */
  protected send(types: string[], id: string): void {
    const shared = this.chance.chance(0.5) ? this.stamp() : undefined;
    for (const type of types) this.sendOne(type, id, shared ?? this.stamp());
  }

  /** Sends an event about an object that is not stored. */
  protected sendLoose(type: string, objectId: string, data: object): void {
    const at = this.stamp();
    this.events.push({ messageId: this.messageId(), type, objectId, at: dateOf(at), body: bodyOf(type, data, at) });
  }

  private sendOne(type: string, id: string, at: Micros): void {
    const history = this.histories.get(id)!;
    const own = history.length - 1;
    const body =
      this.rendering === 'stored'
        ? bodyOf(type, history[own]!.data, at)
        : (attemptAt: Date) => {
            const latest = history.findLastIndex(({ since }) => dateOf(since) <= attemptAt);
            return bodyOf(type, history[Math.max(own, latest)]!.data, at);
          };
    this.events.push({ messageId: this.messageId(), type, objectId: id, at: dateOf(at), body });
  }

  private messageId(): string {
    return this.chance.id('msg', 27);
  }
}

const bodyOf = (type: string, data: object, at: Micros) => JSON.stringify(dodoEvent(type, data, { at: dodoTime(at) }));

function get<T>(map: ReadonlyMap<string, T>, id: string): T {
  const object = map.get(id);
  if (object === undefined) throw new Error(`There is no ${id}`);
  return object;
}
