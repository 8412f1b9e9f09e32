import type { models } from '@polar-sh/sdk/2026-10';
import fc from 'fast-check';
import { current } from '../../simulators/clerk-instance.js';
import { DODO_PRODUCTS, POLAR_PRODUCTS, type ProductName } from './billing-products.js';
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

/** One change. The numbers choose among the possible changes. */
interface Step {
  /** False makes a history shorter when fast-check shrinks it. */
  happens: boolean;
  kind: Kind;
  subject: number;
  choice: number;
  flag: boolean;
  /** Hours since the previous step. */
  gap: number;
}

/** The values that fast-check generates and shrinks. */
export interface Choices {
  seed: number;
  rendering: 'stored' | 'latest';
  unpaid: 'past_due' | 'on_hold';
  exhausted: 'unpaid' | 'canceled';
  steps: Step[];
  /** The sort key of each delivery; `twice` lists the events that are delivered again. */
  order: number[];
  twice: number[];
  /** The deliveries that are lost, where a test uses this. */
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
  // fast-check is biased to small and extreme values, with which few steps collide.
  return fc.noBias(choices);
}

/** Events that we ignore; only a few of them are kept. */
const MOSTLY_SKIPPED = /^(checkout|product)\.|^customer\.state_changed$/;

/** Plays the choices in simulated providers. All ids contain the mark. */
export function worldFrom({ seed, rendering, unpaid, exhausted, steps }: Choices, mark: string, start?: number): ProvidersWorld {
  const world = new ProvidersWorld(mark, { seed, rendering, unpaid, exhausted, start });
  const player = new StepPlayer(world, rendering === 'stored');
  for (const step of steps) if (step.happens) player.play(step);
  const kept = world.events.filter(({ type }, index) => index % 5 === 0 || !MOSTLY_SKIPPED.test(type));
  world.events.splice(0, world.events.length, ...kept);
  return world;
}

/** The events in delivery order, with duplicates. */
export function shuffled<Event>(events: Event[], { order, twice }: Pick<Choices, 'order' | 'twice'>): Event[] {
  const deliveries = [...events, ...twice.flatMap((index) => events.slice(index % events.length).slice(0, 1))];
  const keyed = deliveries.map((event, index) => ({ event, key: order[index % order.length]! }));
  return keyed.toSorted((a, b) => a.key - b.key).map(({ event }) => event);
}

/** The events that are not lost; Clerk loses none here. */
export function withoutLost(events: BillingEvent[], { lost }: Pick<Choices, 'lost'>): BillingEvent[] {
  const lostIndexes = new Set(lost.map((index) => index % Math.max(1, events.length)));
  return events.filter(({ provider }, index) => provider === 'clerk' || !lostIndexes.has(index));
}

type Purchase = { provider: 'polar'; id: string } | { provider: 'dodo'; id: string };

/** Runs a step, or the nearest possible one. */
class StepPlayer {
  private readonly purchases: Purchase[] = [];

  constructor(
    private readonly world: ProvidersWorld,
    /** With late rendering, an event may no longer contain the product before an unknown one. */
    private readonly canUseUnknownAtDodo: boolean,
  ) {}

  play(step: Step): void {
    this.world.advanceHours(step.gap);
    this.world.apply(() => this[step.kind](step));
  }

  private buy(step: Step): void {
    if (step.subject === 2 || step.flag) this.buyAtDodo(step);
    else this.buyAtPolar(step);
  }

  private buyAtPolar({ choice, subject }: Step): void {
    const { polar } = this.world;
    const live = [...polar.customers.values()].filter((one) => one.deleted_at === null);
    const owner = this.ownerOf(choice + subject);
    const hintKind = choice % 4;
    const customer = choice > 6 ? live[subject] : undefined;
    const { id: customerId } =
      customer ??
      polar.createCustomer({
        // An external id cannot be changed once it is set.
        externalId: hintKind === 1 && !live.some((one) => one.external_id === this.world.idOf(owner)) ? this.world.idOf(owner) : null,
        metadata: hintKind === 2 ? this.world.metadataOf(owner) : {},
      });
    const product = PRODUCTS[choice % PRODUCTS.length]!;
    const { id } = polar.subscribe({
      productId: POLAR_PRODUCTS[product],
      customerId,
      metadata: hintKind === 3 || choice > 9 ? this.ownerMetadata(choice) : {},
      seats: product === 'business' ? 1 + subject : null,
      firstPayment: choice === 5 ? 'incomplete' : 'paid',
    });
    this.purchases.push({ provider: 'polar', id });
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
      metadata: choice % 3 === 2 ? this.ownerMetadata(choice) : {},
      firstPayment: choice === 5 ? 'incomplete' : 'paid',
    });
    this.purchases.push({ provider: 'dodo', id });
  }

  /** Cancels, resumes or reinstates. */
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

  /** Changes the product, the number of seats or the owner. */
  private plan(step: Step): void {
    const { polar, dodo } = this.world;
    const when = step.flag ? 'now' : 'period end';
    const product = PRODUCTS[step.choice % PRODUCTS.length]!;
    const isOwner = step.choice > 8;
    this.change(step, {
      polar: ({ id, status }) => {
        if (isOwner) polar.updateMetadata(id, this.ownerMetadata(step.choice + step.subject));
        else if (status === 'active' && step.choice > 6) polar.changeSeats(id, step.choice, { when });
        else if (status === 'active') polar.changeProduct(id, POLAR_PRODUCTS[product], { when });
      },
      dodo: ({ subscription_id: id, status }) => {
        if (status === 'pending') return;
        if (isOwner) dodo.updateMetadata(id, this.ownerMetadata(step.choice + step.subject));
        else if (status === 'active' && step.choice > 6) dodo.changePlan(id, { quantity: step.choice, when });
        else if (status === 'active') dodo.changePlan(id, { productId: DODO_PRODUCTS[this.dodoProduct(step.choice)], when });
      },
    });
  }

  /** Makes a card fail, or makes it work and pays the debt. */
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

  /** Changes and deletes Polar customers; Dodo has no customer events. */
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

  /** Creates, changes and deletes Clerk's organization and user. */
  private owner({ flag, choice }: Step): void {
    const { clerk } = this.world;
    const [organization, user] = [clerk.organizations[0], clerk.users[0]];
    if (flag && organization === undefined) clerk.createOrganization({ name: 'Acme' });
    else if (!flag && user === undefined) clerk.createUser({ firstName: 'Ann' });
    else if (flag && organization?.isDeleted === false) {
      if (choice > 8) clerk.deleteOrganization(organization);
      else clerk.changeOrganization(organization, { name: `Acme ${choice}` });
    } else if (!flag && user?.isDeleted === false) {
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
    const one = this.purchases[step.subject] ?? this.purchases[0];
    if (one === undefined) this.buy(step);
    else if (one.provider === 'polar') act.polar(polar.subscription(one.id));
    else act.dodo(dodo.subscription(one.id));
  }

  private dodoProduct(choice: number): ProductName {
    const product = PRODUCTS[choice % PRODUCTS.length]!;
    return product === 'unknown' && !this.canUseUnknownAtDodo ? 'pro' : product;
  }

  private ownerOf(choice: number): OwnerName {
    return OWNERS[choice % OWNERS.length]!;
  }

  /** Metadata with one owner, or two. */
  private ownerMetadata(choice: number): Record<string, string> {
    const first = this.world.metadataOf(this.ownerOf(choice));
    return choice % 3 === 0 ? { ...this.world.metadataOf(this.ownerOf(choice + 1)), ...first } : first;
  }
}
