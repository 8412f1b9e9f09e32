import type { DodoAccount } from '../simulators/dodo-account.js';
import type { PolarAccount } from '../simulators/polar-account.js';
import type { Seeded } from '../simulators/seeded.js';
import { DODO_PRODUCTS, POLAR_PRODUCTS, type ProductName } from '../support/billing/billing-catalogue.js';

type Tier = 'free' | 'pro' | 'business';

const GRACE_MS = 7 * 86_400_000;

const TIER_OF: Partial<Record<ProductName, Tier>> = { pro: 'pro', business: 'business', yearly: 'pro', trial: 'pro' };

/** How often somebody does something in a day, where it is possible. */
const HABITS = {
  buy: 0.25,
  buyMore: 0.005,
  cancel: 0.03,
  takeBack: 0.15,
  change: 0.05,
  stumble: 0.04,
  pay: 0.15,
  pause: 0.015,
  resume: 0.1,
  reinstate: 0.01,
  refund: 0.02,
  noise: 0.05,
  waver: 0.05,
};
type Habit = keyof typeof HABITS;

/** What is done with something that was bought. */
type Deed = Exclude<Habit, 'buy' | 'buyMore' | 'waver'>;

const WAVERING: Deed[] = ['cancel', 'takeBack', 'change', 'pause', 'resume'];

/** What can be bought on purpose. */
const ON_SALE = ['pro', 'pro', 'business', 'yearly', 'trial'] as const satisfies ProductName[];

/** One provider as its customers see it. */
export interface Shop {
  provider: 'polar' | 'dodo';
  buy(organizationId: string, product: ProductName, chance: Seeded): string;
  /** Whether it is over for good, or nearly so. */
  isOver(id: string): boolean;
  cancel(id: string, when: 'now' | 'period end'): void;
  /** Undoes a cancellation that has not come to pass. */
  takeBack(id: string): void;
  /** Brings back what is over, where the provider can. */
  reinstate(id: string): void;
  change(id: string, product: ProductName, when: 'now' | 'period end'): void;
  setCard(id: string, card: 'works' | 'fails'): void;
  /** Of what is owed. */
  pay(id: string): void;
  pause(id: string): void;
  resume(id: string): void;
  refund(id: string): void;
  noise(id: string): void;
  /** How it stands by the provider's own word, without the dates of its period. */
  stands(id: string): { status: string; productId: string; cancels: boolean };
  /** The product that it gives by the provider's own word, now; undefined if it gives nothing. */
  gives(id: string, now: Date): string | undefined;
}

export function polarShop(polar: PolarAccount): Shop {
  const isIn = (id: string, ...statuses: string[]) => statuses.includes(polar.subscription(id).status);
  return {
    provider: 'polar',
    buy(organizationId, product, chance) {
      const isByName = chance.chance(0.5);
      const known = [...polar.customers.values()].find((one) => one.external_id === organizationId);
      const customer = known ?? polar.createCustomer({ externalId: isByName ? organizationId : null });
      const metadata: Record<string, string> = customer.external_id === null ? { organizationId } : {};
      return polar.subscribe({
        productId: POLAR_PRODUCTS[product],
        customerId: customer.id,
        metadata,
        seats: product === 'business' ? 3 : null,
      }).id;
    },
    isOver: (id) => isIn(id, 'canceled', 'unpaid', 'incomplete_expired'),
    cancel(id, when) {
      if (isIn(id, 'active', 'trialing', 'past_due') && !polar.subscription(id).cancel_at_period_end) polar.cancel(id, { when });
    },
    takeBack(id) {
      const { status, cancel_at_period_end: cancels } = polar.subscription(id);
      if (cancels && (status === 'active' || status === 'trialing')) polar.uncancel(id);
    },
    reinstate(id) {
      if (isIn(id, 'canceled')) polar.reinstate(id);
    },
    change(id, product, when) {
      // Polar changes nothing of what is canceled.
      if (isIn(id, 'active') && !polar.subscription(id).cancel_at_period_end) polar.changeProduct(id, POLAR_PRODUCTS[product], { when });
    },
    setCard: (id, card) => polar.setCard(polar.subscription(id).customer_id, card),
    pay(id) {
      if (isIn(id, 'past_due')) polar.payPending(id);
    },
    pause(id) {
      if (isIn(id, 'active') && !polar.subscription(id).cancel_at_period_end) polar.pause(id);
    },
    resume(id) {
      if (isIn(id, 'paused')) polar.resume(id);
    },
    refund(id) {
      const order = polar.listOrders().find((one) => one.subscription_id === id && one.paid && one.refundable_amount > 0);
      if (order !== undefined) polar.refund(order.id, { amount: Math.ceil(order.refundable_amount / 2) });
    },
    noise: (id) => polar.makeNoise(id),
    stands(id) {
      const { status, product_id: productId, cancel_at_period_end: cancels } = polar.subscription(id);
      return { status, productId, cancels };
    },
    gives(id, now) {
      const { status, past_due_at: since, product_id: productId, ends_at: end } = polar.subscription(id);
      // Polar ends only what is active when its period ends; who canceled has no more than the period all the same.
      const hasEnded = end !== null && now >= new Date(end);
      const isBorneWith = status === 'past_due' && now.getTime() < Date.parse(since!) + GRACE_MS && !hasEnded;
      return status === 'active' || status === 'trialing' || isBorneWith ? productId : undefined;
    },
  };
}

export function dodoShop(dodo: DodoAccount): Shop {
  const isIn = (id: string, ...statuses: string[]) => statuses.includes(dodo.subscription(id).status);
  return {
    provider: 'dodo',
    buy(organizationId, product, chance) {
      const isByCustomer = chance.chance(0.5);
      const known = [...dodo.customers.values()].find((one) => one.metadata?.['organizationId'] === organizationId);
      const customer = known ?? dodo.createCustomer({ metadata: isByCustomer ? { organizationId } : {} });
      const metadata: Record<string, string> = customer.metadata?.['organizationId'] === undefined ? { organizationId } : {};
      const quantity = product === 'business' ? 3 : 1;
      return dodo.subscribe({ productId: DODO_PRODUCTS[product], customerId: customer.customer_id, quantity, metadata }).subscription_id;
    },
    isOver: (id) => isIn(id, 'cancelled', 'failed', 'expired'),
    cancel(id, when) {
      const isCharged = isIn(id, 'active', 'past_due', 'on_hold') && !dodo.subscription(id).cancel_at_next_billing_date;
      // What is not active has no next period to end before.
      if (isCharged) dodo.cancel(id, { when: isIn(id, 'active') ? when : 'now' });
    },
    takeBack(id) {
      if (isIn(id, 'active') && dodo.subscription(id).cancel_at_next_billing_date) dodo.uncancel(id);
    },
    reinstate: () => undefined,
    change(id, product, when) {
      if (isIn(id, 'active')) dodo.changePlan(id, { productId: DODO_PRODUCTS[product], when });
    },
    setCard: (id, card) => dodo.setCard(dodo.subscription(id).customer.customer_id, card),
    pay(id) {
      if (isIn(id, 'past_due', 'on_hold')) dodo.updatePaymentMethod(id);
    },
    pause(id) {
      if (isIn(id, 'active') && !dodo.subscription(id).cancel_at_next_billing_date) dodo.pause(id);
    },
    resume(id) {
      if (isIn(id, 'paused')) dodo.resume(id);
    },
    refund(id) {
      const payment = [...dodo.payments.values()].find((one) => one.subscription_id === id && one.refunds.length === 0);
      if (payment?.status === 'succeeded') dodo.refund(payment.payment_id, { amount: Math.ceil(payment.total_amount / 2) });
    },
    noise: (id) => dodo.makeNoise(id),
    stands(id) {
      const { status, product_id: productId, cancel_at_next_billing_date: cancels } = dodo.subscription(id);
      return { status, productId, cancels };
    },
    gives(id, now) {
      const { status, past_due_ends_at: until, product_id: productId } = dodo.subscription(id);
      return status === 'active' || (status === 'past_due' && now < new Date(until!)) ? productId : undefined;
    },
  };
}

/** A subscription of an organization's. */
export interface Bought {
  shop: Shop;
  id: string;
}

/** An organization that pays, or does not, as people do. */
export class Buyer {
  readonly bought: Bought[] = [];
  /** How often something of theirs was changed, and perhaps back. */
  changes = 0;

  private readonly deeds: Record<Deed, (one: Bought) => void> = {
    cancel: ({ shop, id }) => shop.cancel(id, this.when()),
    takeBack: ({ shop, id }) => shop.takeBack(id),
    change: ({ shop, id }) => shop.change(id, this.chance.pick(ON_SALE), this.when()),
    stumble: ({ shop, id }) => shop.setCard(id, 'fails'),
    pay: ({ shop, id }) => {
      shop.setCard(id, 'works');
      shop.pay(id);
    },
    pause: ({ shop, id }) => shop.pause(id),
    resume: ({ shop, id }) => shop.resume(id),
    reinstate: ({ shop, id }) => shop.reinstate(id),
    refund: ({ shop, id }) => shop.refund(id),
    noise: ({ shop, id }) => shop.noise(id),
  };

  constructor(
    readonly organizationId: string,
    private readonly shops: Shop[],
    private readonly chance: Seeded,
    private readonly tell: (what: string) => void,
  ) {}

  /** What may happen in so many days. */
  act(days: number): void {
    const living = this.bought.filter(({ shop, id }) => !shop.isOver(id));
    const often = (habit: Habit) => this.chance.chance(1 - (1 - HABITS[habit]) ** days);
    if (living.length === 0 ? often('buy') : living.length === 1 && often('buyMore')) this.buy();
    for (const one of this.bought) {
      for (const habit of Object.keys(this.deeds) as Deed[]) if (often(habit)) this.do(habit, one);
      // Some do not know what they want.
      if (often('waver')) for (let count = 0; count < 3; count += 1) this.do(this.chance.pick(WAVERING), one);
    }
  }

  /** The best of what the providers say that it paid for. */
  paidFor(now: Date): Tier {
    const tiers = this.bought.map(({ shop, id }) => tierOfProduct(shop.gives(id, now)));
    return tiers.includes('business') ? 'business' : tiers.includes('pro') ? 'pro' : 'free';
  }

  private when(): 'now' | 'period end' {
    return this.chance.chance(0.5) ? 'now' : 'period end';
  }

  private buy(): void {
    const shop = this.chance.pick(this.shops);
    const product = this.chance.pick(ON_SALE);
    const id = shop.buy(this.organizationId, product, this.chance);
    this.bought.push({ shop, id });
    this.tell(`${this.organizationId} buys ${product} at ${shop.provider}: ${id}`);
  }

  private do(deed: Deed, one: Bought): void {
    const before = JSON.stringify(one.shop.stands(one.id));
    this.deeds[deed](one);
    const after = JSON.stringify(one.shop.stands(one.id));
    if (after === before) return;
    this.changes += 1;
    this.tell(`${deed} ${one.id}: ${after}`);
  }
}

function tierOfProduct(productId: string | undefined): Tier {
  for (const products of [POLAR_PRODUCTS, DODO_PRODUCTS])
    for (const [name, id] of Object.entries(products)) if (id === productId) return TIER_OF[name as ProductName] ?? 'free';
  return 'free';
}
