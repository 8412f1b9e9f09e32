import type { models } from '@polar-sh/sdk/2026-10';
import fc from 'fast-check';
import { current } from '../../simulators/clerk-instance.js';
import { DODO_PRODUCTS, POLAR_PRODUCTS, type ProductName } from './billing-catalogue.js';
import { type BillingEvent, ProvidersWorld, type OwnerName, OWNERS } from '../providers-world.js';
import type { DodoSubscription } from './dodo-events.js';

const KINDS = ['buy', 'cancel', 'plan', 'card', 'pause', 'refund', 'customer', 'owner', 'time', 'noise'] as const;
type Kind = (typeof KINDS)[number];

/** What a history is mostly about. */
const THEMES: Kind[][] = [
  [...KINDS],
  ['buy', 'cancel', 'cancel', 'time', 'time'],
  ['buy', 'card', 'time', 'time', 'time', 'cancel'],
  ['buy', 'plan', 'plan', 'time', 'cancel'],
  ['buy', 'buy', 'owner', 'customer', 'refund'],
];

const PRODUCTS = ['pro', 'pro', 'business', 'business', 'yearly', 'trial', 'unknown'] as const satisfies ProductName[];

/** One thing that happens; the numbers choose among what is possible by then. */
interface Step {
  /** One that does not happen is how fast-check makes a history shorter. */
  happens: boolean;
  kind: Kind;
  subject: number;
  choice: number;
  flag: boolean;
  /** Hours since the step before. */
  gap: number;
}

/** What fast-check generates, and makes smaller when it fails. */
export interface Choices {
  seed: number;
  rendering: 'stored' | 'latest';
  unpaid: 'past_due' | 'on_hold';
  exhausted: 'unpaid' | 'canceled';
  steps: Step[];
  /** Where each delivery stands among all; what comes after the events are deliveries made twice. */
  order: number[];
  twice: number[];
  /** Which deliveries never come; heeded where a test says so. */
  lost: number[];
}

const MAX_DELIVERIES = 90;
const DAY = 24;

export function choicesArbitrary({ maxSteps = 9 } = {}): fc.Arbitrary<Choices> {
  const stepOf = (kinds: Kind[]): fc.Arbitrary<Step> =>
    fc.record({
      happens: fc.constantFrom(false, ...Array<boolean>(19).fill(true)),
      kind: fc.constantFrom(...kinds),
      subject: fc.constantFrom(0, 0, 0, 1, 1, 2),
      choice: fc.nat(11),
      flag: fc.boolean(),
      gap: fc.constantFrom(0, 0, 1, DAY, 3 * DAY, 8 * DAY),
    });
  const choices = fc.record({
    seed: fc.nat(999_999),
    rendering: fc.constantFrom('stored', 'latest'),
    unpaid: fc.constantFrom('past_due', 'past_due', 'on_hold'),
    exhausted: fc.constantFrom('unpaid', 'canceled'),
    steps: fc.oneof(
      ...THEMES.map((kinds) => fc.array(stepOf(kinds), { minLength: Math.min(4, maxSteps), maxLength: maxSteps, size: 'max' })),
    ),
    order: fc.array(fc.nat(999), { minLength: MAX_DELIVERIES, maxLength: MAX_DELIVERIES }),
    twice: fc.array(fc.nat(MAX_DELIVERIES), { maxLength: 4 }),
    lost: fc.array(fc.nat(MAX_DELIVERIES), { minLength: 1, maxLength: 6 }),
  });
  // Its bias is to small and extreme values, with which little meets.
  return fc.noBias(choices);
}

/** Without effect here, and nothing but work; some of them stay. */
const MOSTLY_LEFT_OUT = /^(checkout|product)\.|^customer\.state_changed$/;

/** Lets the choices happen. All ids have the mark in them. */
export function happened({ seed, rendering, unpaid, exhausted, steps }: Choices, mark: string, start?: number): ProvidersWorld {
  const world = new ProvidersWorld(mark, { seed, rendering, unpaid, exhausted, start });
  const teller = new Teller(world, rendering === 'stored');
  for (const step of steps) if (step.happens) teller.take(step);
  const told = world.events.filter(({ type }, index) => index % 5 === 0 || !MOSTLY_LEFT_OUT.test(type));
  world.events.splice(0, world.events.length, ...told);
  return world;
}

/** The events in the order in which they are delivered, some of them twice. */
export function shuffled<Event>(events: Event[], { order, twice }: Pick<Choices, 'order' | 'twice'>): Event[] {
  const deliveries = [...events, ...twice.flatMap((index) => events.slice(index % events.length).slice(0, 1))];
  const keyed = deliveries.map((event, index) => ({ event, key: order[index % order.length]! }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ event }) => event);
}

/** What of them comes at all; Clerk loses nothing here. */
export function withoutLost(events: BillingEvent[], { lost }: Pick<Choices, 'lost'>): BillingEvent[] {
  const gone = new Set(lost.map((index) => index % Math.max(1, events.length)));
  return events.filter(({ provider }, index) => provider === 'clerk' || !gone.has(index));
}

type Bought = { provider: 'polar'; id: string } | { provider: 'dodo'; id: string };

/** Does what a step asks for, or the next best thing that is possible. */
class Teller {
  private readonly bought: Bought[] = [];

  constructor(
    private readonly world: ProvidersWorld,
    /** Rendered late, an event may not tell any more what was bought before the product that nobody knows. */
    private readonly dodoTellsAllProducts: boolean,
  ) {}

  take(step: Step): void {
    this.world.pass(step.gap);
    this.world.happen(() => this[step.kind](step));
  }

  private buy(step: Step): void {
    if (step.subject === 2 || step.flag) this.buyAtDodo(step);
    else this.buyAtPolar(step);
  }

  private buyAtPolar({ choice, subject }: Step): void {
    const { polar } = this.world;
    const living = [...polar.customers.values()].filter((one) => one.deleted_at === null);
    const owner = this.ownerOf(choice + subject);
    const speaks = choice % 4;
    const customer = choice > 6 ? living[subject] : undefined;
    const { id: customerId } =
      customer ??
      polar.createCustomer({
        // Their external id, once there is one, is for ever.
        externalId: speaks === 1 && !living.some((one) => one.external_id === this.world.idOf(owner)) ? this.world.idOf(owner) : null,
        metadata: speaks === 2 ? this.world.metadataOf(owner) : {},
      });
    const product = PRODUCTS[choice % PRODUCTS.length]!;
    const { id } = polar.subscribe({
      productId: POLAR_PRODUCTS[product],
      customerId,
      metadata: speaks === 3 || choice > 9 ? this.saying(choice) : {},
      seats: product === 'business' ? 1 + subject : null,
      firstPayment: choice === 5 ? 'incomplete' : 'paid',
    });
    this.bought.push({ provider: 'polar', id });
  }

  private buyAtDodo({ choice, subject }: Step): void {
    const { dodo } = this.world;
    const known = [...dodo.customers.keys()][choice > 6 ? subject : Infinity];
    const metadata = choice % 3 === 1 ? this.world.metadataOf(this.ownerOf(choice + subject)) : {};
    const customerId = known ?? dodo.createCustomer({ metadata }).customer_id;
    const product = this.dodoProduct(choice + 2);
    const { subscription_id: id } = dodo.subscribe({
      productId: DODO_PRODUCTS[product],
      customerId,
      quantity: product === 'business' ? 1 + subject : 1,
      metadata: choice % 3 === 2 ? this.saying(choice) : {},
      firstPayment: choice === 5 ? 'incomplete' : 'paid',
    });
    this.bought.push({ provider: 'dodo', id });
  }

  /** Cancels, takes it back, or brings back what is over. */
  private cancel(step: Step): void {
    const { polar, dodo } = this.world;
    const at = step.choice < 4 ? 'now' : 'period end';
    this.change(step, {
      polar: ({ id, status, cancel_at_period_end: cancels }) => {
        if (status === 'canceled' && step.flag) polar.reinstate(id);
        else if (cancels && status !== 'canceled') polar.uncancel(id);
        else if (['active', 'trialing', 'past_due'].includes(status)) polar.cancel(id, { when: at });
      },
      dodo: ({ subscription_id: id, status, cancel_at_next_billing_date: cancels }) => {
        if (cancels && status === 'active') dodo.uncancel(id);
        else if (['active', 'past_due', 'on_hold'].includes(status)) dodo.cancel(id, { when: at });
      },
    });
  }

  /** Another product or number of seats, or another owner. */
  private plan(step: Step): void {
    const { polar, dodo } = this.world;
    const when = step.flag ? 'now' : 'period end';
    const product = PRODUCTS[step.choice % PRODUCTS.length]!;
    const isOwner = step.choice > 8;
    this.change(step, {
      polar: ({ id, status }) => {
        if (isOwner) polar.updateMetadata(id, this.saying(step.choice + step.subject));
        else if (status === 'active' && step.choice > 6) polar.changeSeats(id, step.choice, { when });
        else if (status === 'active') polar.changeProduct(id, POLAR_PRODUCTS[product], { when });
      },
      dodo: ({ subscription_id: id, status }) => {
        if (status === 'pending') return;
        if (isOwner) dodo.updateMetadata(id, this.saying(step.choice + step.subject));
        else if (status === 'active' && step.choice > 6) dodo.changePlan(id, { quantity: step.choice, when });
        else if (status === 'active') dodo.changePlan(id, { productId: DODO_PRODUCTS[this.dodoProduct(step.choice)], when });
      },
    });
  }

  /** A card stops working, or works again, and what is owed is paid. */
  private card(step: Step): void {
    const { polar, dodo } = this.world;
    this.change(step, {
      polar: ({ id, status, customer_id: customerId }) => {
        if (status === 'incomplete') return polar.settleFirstPayment(id, step.flag ? 'paid' : 'failed');
        polar.setCard(customerId, status === 'past_due' ? 'works' : 'fails');
        if (status === 'past_due' && step.flag) polar.payPending(id);
      },
      dodo: ({ subscription_id: id, status, customer }) => {
        if (status === 'pending') dodo.settleFirstPayment(id, step.flag ? 'paid' : 'failed');
        else if (['past_due', 'on_hold'].includes(status)) dodo.updatePaymentMethod(id);
        else dodo.setCard(customer.customer_id, 'fails');
      },
    });
  }

  private pause(step: Step): void {
    const { polar, dodo } = this.world;
    this.change(step, {
      polar: ({ id, status, pause_at_period_end: pauses, cancel_at_period_end: cancels }) => {
        if (status === 'paused') polar.resume(id);
        else if (pauses) polar.cancelPause(id);
        else if (status === 'active' && !cancels) polar.pause(id);
      },
      dodo: ({ subscription_id: id, status }) => {
        if (status === 'paused') dodo.resume(id);
        else if (status === 'active') dodo.pause(id);
      },
    });
  }

  private refund(step: Step): void {
    const { polar, dodo } = this.world;
    const status = step.flag ? 'succeeded' : 'pending';
    const pending = [...polar.refunds.values(), ...dodo.refunds.values()].find((one) => one.status === 'pending');
    if (pending !== undefined) {
      const outcome = step.flag ? 'succeeded' : 'failed';
      if ('refund_id' in pending) dodo.settleRefund(pending.refund_id, outcome);
      else polar.settleRefund(pending.id, outcome);
      return;
    }
    const order = polar.listOrders().filter(({ paid, refundable_amount: left }) => paid && left > 0)[step.subject];
    const payment = [...dodo.payments.values()].filter((one) => one.status === 'succeeded')[step.subject];
    if (order !== undefined && step.choice % 2 === 0)
      polar.refund(order.id, { amount: order.refundable_amount - (step.choice % 3), status });
    else if (payment !== undefined && step.choice < 8) dodo.refund(payment.payment_id, { amount: 100, status });
    else if (payment !== undefined) dodo.changeDispute(dodo.openDispute(payment.payment_id).dispute_id, step.flag ? 'won' : 'lost');
  }

  /** Polar's customers change and go; Dodo tells of them only with something else. */
  private customer(step: Step): void {
    const { polar } = this.world;
    const customer = [...polar.customers.values()].filter((one) => one.deleted_at === null)[step.subject];
    if (customer === undefined) return this.buy(step);
    const externalId = this.world.idOf(this.ownerOf(step.choice));
    const isFree = [...polar.customers.values()].every((one) => one.external_id !== externalId);
    if (step.choice > 9) polar.deleteCustomer(customer.id);
    else if (customer.external_id === null && Object.keys(customer.metadata).length === 0 && isFree)
      polar.updateCustomer(customer.id, { external_id: externalId });
    else polar.updateCustomer(customer.id, { name: `Somebody ${step.choice}` });
  }

  /** Clerk's organization and user come, change and go. */
  private owner({ flag, choice }: Step): void {
    const { clerk } = this.world;
    const [organization, user] = [clerk.organizations[0], clerk.users[0]];
    if (flag && organization === undefined) clerk.createOrganization({ name: 'Acme' });
    else if (!flag && user === undefined) clerk.createUser({ firstName: 'Ann' });
    else if (flag && organization?.dead === false) {
      if (choice > 8) clerk.deleteOrganization(organization);
      else clerk.changeOrganization(organization, { name: `Acme ${choice}` });
    } else if (!flag && user?.dead === false) {
      if (choice > 8) clerk.deleteUser(user);
      else clerk.changeUser(user, { firstName: `Ann ${choice}`, ...current(user) });
    }
  }

  private time({ choice }: Step): void {
    this.world.clock.advance({ hours: (choice + 1) * 3 * DAY });
  }

  private noise(step: Step): void {
    const { polar, dodo } = this.world;
    this.change(step, { polar: ({ id }) => polar.makeNoise(id), dodo: ({ subscription_id: id }) => dodo.makeNoise(id) });
  }

  private change(
    step: Step,
    act: { polar: (subscription: models.Subscription) => void; dodo: (subscription: DodoSubscription) => void },
  ): void {
    const { polar, dodo } = this.world;
    const one = this.bought[step.subject] ?? this.bought[0];
    if (one === undefined) this.buy(step);
    else if (one.provider === 'polar') act.polar(polar.subscription(one.id));
    else act.dodo(dodo.subscription(one.id));
  }

  private dodoProduct(choice: number): ProductName {
    const product = PRODUCTS[choice % PRODUCTS.length]!;
    return product === 'unknown' && !this.dodoTellsAllProducts ? 'pro' : product;
  }

  private ownerOf(choice: number): OwnerName {
    return OWNERS[choice % OWNERS.length]!;
  }

  /** One owner, or two. */
  private saying(choice: number): Record<string, string> {
    const first = this.world.metadataOf(this.ownerOf(choice));
    return choice % 3 === 0 ? { ...this.world.metadataOf(this.ownerOf(choice + 1)), ...first } : first;
  }
}
