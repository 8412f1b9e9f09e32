import type { DodoAccount } from '../simulators/dodo-account.js';
import type { PolarAccount } from '../simulators/polar-account.js';
import type { Seeded } from '../simulators/seeded.js';
import { DODO_PRODUCTS, POLAR_PRODUCTS, type ProductName } from '../support/billing/billing-products.js';

type Tier = 'free' | 'pro' | 'business';

const GRACE_MS = 7 * 86_400_000;

const TIER_OF: Partial<Record<ProductName, Tier>> = { pro: 'pro', business: 'business', yearly: 'pro', trial: 'pro' };

/** The probability of each action per day, where it is possible. */
const HABITS = {
  buy: 0.25,
  buyMore: 0.005,
  cancel: 0.03,
  uncancel: 0.15,
  change: 0.05,
  stumble: 0.04,
  pay: 0.15,
  pause: 0.015,
  resume: 0.1,
  reinstate: 0.01,
  refund: 0.02,
  noise: 0.05,
  changeMind: 0.05,
};
type Habit = keyof typeof HABITS;

/** An action on a purchase. */
type Action = Exclude<Habit, 'buy' | 'buyMore' | 'changeMind'>;

const UNDECIDED: Action[] = ['cancel', 'uncancel', 'change', 'pause', 'resume'];

/** The products that can be bought. */
const ON_SALE = ['pro', 'pro', 'business', 'yearly', 'trial'] as const satisfies ProductName[];

/** A provider from its customers' view. */
export interface Shop {
  provider: 'polar' | 'dodo';
  buy(organizationId: string, product: ProductName, chance: Seeded): string;
  /** Whether it has ended, or nearly so. */
  isOver(id: string): boolean;
  cancel(id: string, when: 'now' | 'period end'): void;
  /** Undoes a cancellation that has not taken effect. */
  uncancel(id: string): void;
  /** Reinstates an ended subscription, where the provider can. */
  reinstate(id: string): void;
  change(id: string, product: ProductName, when: 'now' | 'period end'): void;
  setCard(id: string, card: 'works' | 'fails'): void;
  /** Pays the debt. */
  pay(id: string): void;
  pause(id: string): void;
  resume(id: string): void;
  refund(id: string): void;
  noise(id: string): void;
  /** The provider's state, without period dates. */
  stateOf(id: string): { status: string; productId: string; cancels: boolean };
  /** The product that the provider grants now; undefined without access. */
  grantedProduct(id: string, now: Date): string | undefined;
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
    uncancel(id) {
      const { status, cancel_at_period_end: cancels } = polar.subscription(id);
      if (cancels && (status === 'active' || status === 'trialing')) polar.uncancel(id);
    },
    reinstate(id) {
      if (isIn(id, 'canceled')) polar.reinstate(id);
    },
    change(id, product, when) {
      // Polar changes nothing on a canceled subscription.
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
    stateOf(id) {
      const { status, product_id: productId, cancel_at_period_end: cancels } = polar.subscription(id);
      return { status, productId, cancels };
    },
    grantedProduct(id, now) {
      const { status, past_due_at: since, product_id: productId, ends_at: end } = polar.subscription(id);
      // Polar ends only active subscriptions with their period; a canceled one has access until then all the same.
      const hasEnded = end !== null && now >= new Date(end);
      const isInGrace = status === 'past_due' && now.getTime() < Date.parse(since!) + GRACE_MS && !hasEnded;
      return status === 'active' || status === 'trialing' || isInGrace ? productId : undefined;
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
      // An inactive subscription has no next period to end before.
      if (isCharged) dodo.cancel(id, { when: isIn(id, 'active') ? when : 'now' });
    },
    uncancel(id) {
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
    stateOf(id) {
      const { status, product_id: productId, cancel_at_next_billing_date: cancels } = dodo.subscription(id);
      return { status, productId, cancels };
    },
    grantedProduct(id, now) {
      const { status, past_due_ends_at: until, product_id: productId } = dodo.subscription(id);
      return status === 'active' || (status === 'past_due' && now < new Date(until!)) ? productId : undefined;
    },
  };
}

/** A subscription of an organization. */
export interface Purchase {
  shop: Shop;
  id: string;
}

/** An organization that buys, changes and pays at random. */
export class Buyer {
  readonly purchases: Purchase[] = [];
  /** The number of changes, including those that were undone. */
  changes = 0;

  private readonly actions: Record<Action, (one: Purchase) => void> = {
    cancel: ({ shop, id }) => shop.cancel(id, this.when()),
    uncancel: ({ shop, id }) => shop.uncancel(id),
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
    private readonly log: (what: string) => void,
  ) {}

  /** Acts at random for a number of days. */
  act(days: number): void {
    const live = this.purchases.filter(({ shop, id }) => !shop.isOver(id));
    const often = (habit: Habit) => this.chance.chance(1 - (1 - HABITS[habit]) ** days);
    if (live.length === 0 ? often('buy') : live.length === 1 && often('buyMore')) this.buy();
    for (const one of this.purchases) {
      for (const habit of Object.keys(this.actions) as Action[]) if (often(habit)) this.do(habit, one);
      // Some buyers change their mind several times.
      if (often('changeMind')) for (let count = 0; count < 3; count += 1) this.do(this.chance.pick(UNDECIDED), one);
    }
  }

  /** The best plan that the providers grant. */
  paidFor(now: Date): Tier {
    const tiers = this.purchases.map(({ shop, id }) => tierOfProduct(shop.grantedProduct(id, now)));
    return tiers.includes('business') ? 'business' : tiers.includes('pro') ? 'pro' : 'free';
  }

  private when(): 'now' | 'period end' {
    return this.chance.chance(0.5) ? 'now' : 'period end';
  }

  private buy(): void {
    const shop = this.chance.pick(this.shops);
    const product = this.chance.pick(ON_SALE);
    const id = shop.buy(this.organizationId, product, this.chance);
    this.purchases.push({ shop, id });
    this.log(`${this.organizationId} buys ${product} at ${shop.provider}: ${id}`);
  }

  private do(deed: Action, one: Purchase): void {
    const before = JSON.stringify(one.shop.stateOf(one.id));
    this.actions[deed](one);
    const after = JSON.stringify(one.shop.stateOf(one.id));
    if (after === before) return;
    this.changes += 1;
    this.log(`${deed} ${one.id}: ${after}`);
  }
}

function tierOfProduct(productId: string | undefined): Tier {
  for (const products of [POLAR_PRODUCTS, DODO_PRODUCTS])
    for (const [name, id] of Object.entries(products)) if (id === productId) return TIER_OF[name as ProductName] ?? 'free';
  return 'free';
}
