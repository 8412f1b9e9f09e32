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
  /** How long a subscription lasts before it expires. */
  term: { count: number; interval: DodoPayments.TimeInterval };
}

export interface LedgerOptions extends AccountOptions {
  /** Published is that data is the latest at each attempt; the schedule is that of a sender who stores what it was given. */
  rendering?: 'latest' | 'stored';
}

/** A thing as it was from then on. */
interface Version {
  since: Micros;
  data: object;
}

/** What Dodo knows, and what it tells of each change: all events of one change have the same data. */
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

  subscription = (id: string) => known(this.subscriptions, id);

  payment = (id: string) => known(this.payments, id);

  product = (id: string) => known(this.products, id);

  customer = (id: string) => known(this.customers, id);

  protected stampText = () => dodoTime(this.stamp());

  protected change(id: string, changes: Partial<DodoSubscription>, tells: string[]): void {
    this.keep(this.subscriptions, id, { ...this.subscription(id), ...changes });
    this.send(
      ['updated', ...tells].map((what) => `subscription.${what}`),
      id,
    );
  }

  protected changePayment(id: string, changes: Partial<DodoPayments.Payment>): void {
    this.keep(this.payments, id, { ...this.payment(id), ...changes, updated_at: this.stampText() });
  }

  protected keep<T extends object>(things: Map<string, T>, id: string, thing: T): void {
    things.set(id, thing);
    const history = this.histories.get(id) ?? [];
    history.push({ since: this.stamp(), data: thing });
    this.histories.set(id, history);
  }

  /** Whatever embeds the customer shows the newest; there is no event of a customer. */
  protected keepCustomer(customer: DodoPayments.Customer): void {
    this.customers.set(customer.customer_id, customer);
    const details = dodoCustomerDetails(customer);
    const isTheirs = (one: { customer: { customer_id: string } }) => one.customer.customer_id === details.customer_id;
    for (const [id, one] of this.subscriptions) if (isTheirs(one)) this.keep(this.subscriptions, id, { ...one, customer: details });
    for (const [id, one] of this.payments) if (isTheirs(one)) this.keep(this.payments, id, { ...one, customer: details });
  }

  /** The events of one change. They may share their time, or each have its own. */
  protected send(types: string[], id: string): void {
    const shared = this.chance.chance(0.5) ? this.stamp() : undefined;
    for (const type of types) this.sendOne(type, id, shared ?? this.stamp());
  }

  /** Something that is sent once and kept nowhere. */
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

function known<T>(things: ReadonlyMap<string, T>, id: string): T {
  const thing = things.get(id);
  if (thing === undefined) throw new Error(`There is no ${id}`);
  return thing;
}
