import { DODO_PRODUCTS, POLAR_PRODUCTS } from './billing-products.js';
import { ProvidersWorld, type WorldOptions } from '../providers-world.js';

/** A difficult history, reduced to five of its events. */
interface Scenario extends Partial<Pick<WorldOptions, 'rendering'>> {
  play: (world: ProvidersWorld) => void;
  /** The delivered events, in the order of their creation. */
  eventTypes: [string, string, string, string, string];
}

const MONTH = 31 * 24 + 1;

/** Buys for an organization of Clerk, named in the metadata of the purchase. */
function buyAtPolar(world: ProvidersWorld, { product = 'pro', ...given }: { product?: keyof typeof POLAR_PRODUCTS; seats?: number } = {}) {
  const { polar } = world;
  const { id: customerId } = polar.createCustomer();
  const metadata = world.metadataOf('clerk organization');
  return world.apply(() => polar.subscribe({ productId: POLAR_PRODUCTS[product], customerId, metadata, ...given }));
}

function buyAtDodo(world: ProvidersWorld, { product = 'pro' }: { product?: keyof typeof DODO_PRODUCTS } = {}) {
  const { dodo } = world;
  const { customer_id: customerId } = dodo.createCustomer({ metadata: world.metadataOf('local organization') });
  return world.apply(() => dodo.subscribe({ productId: DODO_PRODUCTS[product], customerId }));
}

function failRenewalAtDodo(world: ProvidersWorld): void {
  const { subscription_id: id, customer } = buyAtDodo(world);
  world.dodo.setCard(customer.customer_id, 'fails');
  world.advanceHours(MONTH);
  world.advanceHours(1);
  world.apply(() => world.dodo.updatePaymentMethod(id));
}

function changeAndCancelAtDodo(world: ProvidersWorld): void {
  const { dodo } = world;
  const { subscription_id: id } = buyAtDodo(world);
  world.advanceHours(1);
  world.apply(() => dodo.changePlan(id, { productId: DODO_PRODUCTS.business, quantity: 3 }));
  world.advanceHours(MONTH);
  world.apply(() => dodo.cancel(id));
  world.advanceHours(1);
  world.apply(() => dodo.cancel(id, { when: 'now' }));
}

export const SCENARIOS: Record<string, Scenario> = {
  'a cancellation that is revoked, then immediate, then reinstated': {
    play(world) {
      const { id } = buyAtPolar(world);
      world.apply(() => world.polar.cancel(id));
      world.apply(() => world.polar.uncancel(id));
      world.advanceHours(1);
      world.apply(() => world.polar.cancel(id, { when: 'now' }));
      world.apply(() => world.polar.reinstate(id));
    },
    eventTypes: ['subscription.created', 'subscription.canceled', 'subscription.uncanceled', 'subscription.revoked', 'subscription.active'],
  },
  'a failed renewal that is paid': {
    play(world) {
      const { id, customer_id: customerId } = buyAtPolar(world);
      world.polar.setCard(customerId, 'fails');
      world.advanceHours(MONTH);
      world.advanceHours(1);
      world.apply(() => world.polar.payPending(id));
    },
    eventTypes: ['subscription.created', 'subscription.cycled', 'subscription.past_due', 'subscription.active', 'order.paid'],
  },
  'a plan change and a renewal': {
    play(world) {
      const { id } = buyAtPolar(world, { product: 'business', seats: 2 });
      world.apply(() => world.polar.changeSeats(id, 5));
      world.apply(() => world.polar.changeProduct(id, POLAR_PRODUCTS.pro, { when: 'period end' }));
      world.advanceHours(MONTH);
    },
    eventTypes: ['subscription.created', 'subscription.updated', 'subscription.updated', 'subscription.cycled', 'order.paid'],
  },
  'a trial that becomes a paid subscription': {
    play(world) {
      buyAtPolar(world, { product: 'trial' });
      world.advanceHours(15 * 24);
    },
    eventTypes: ['subscription.created', 'subscription.active', 'order.paid', 'subscription.cycled', 'order.paid'],
  },
  'a refund that succeeds and then fails': {
    play(world) {
      buyAtPolar(world);
      const { id } = world.polar.listOrders()[0]!;
      const refund = world.apply(() => world.polar.refund(id, { status: 'pending' }));
      world.apply(() => world.polar.settleRefund(refund.id, 'succeeded'));
      world.apply(() => world.polar.settleRefund(refund.id, 'failed'));
    },
    eventTypes: ['order.paid', 'refund.created', 'order.refunded', 'refund.updated', 'order.updated'],
  },
  'a product that is unknown for a while': {
    play(world) {
      const { id } = buyAtPolar(world);
      world.apply(() => world.clerk.createOrganization({ name: 'Acme' }));
      for (const product of ['unknown', 'business', 'unknown'] as const)
        world.apply(() => world.polar.changeProduct(id, POLAR_PRODUCTS[product]));
    },
    eventTypes: ['subscription.created', 'organization.created', 'subscription.updated', 'subscription.updated', 'subscription.updated'],
  },
  'an organization that is created after the purchase and deleted': {
    play(world) {
      const { id } = buyAtPolar(world);
      const organization = world.apply(() => world.clerk.createOrganization({ name: 'Acme' }));
      world.apply(() => world.polar.cancel(id));
      world.advanceHours(1);
      world.apply(() => world.clerk.deleteOrganization(organization));
    },
    eventTypes: ['subscription.created', 'order.paid', 'organization.created', 'subscription.canceled', 'organization.deleted'],
  },
  'a customer who gets an external id late': {
    play(world) {
      const { polar, clerk } = world;
      const { id: customerId } = world.apply(() => polar.createCustomer());
      world.apply(() => polar.subscribe({ productId: POLAR_PRODUCTS.pro, customerId }));
      world.apply(() => clerk.createUser({ firstName: 'Ann' }));
      world.apply(() => polar.updateCustomer(customerId, { external_id: world.idOf('clerk user') }));
    },
    eventTypes: ['customer.created', 'subscription.created', 'order.paid', 'user.created', 'customer.updated'],
  },
  'a customer who is deleted': {
    play(world) {
      const { customer_id: customerId } = buyAtPolar(world);
      world.advanceHours(1);
      world.apply(() => world.polar.deleteCustomer(customerId));
    },
    eventTypes: ['customer.created', 'subscription.created', 'order.paid', 'customer.deleted', 'subscription.revoked'],
  },
  'two purchases for two owners at two providers': {
    play(world) {
      const { polar, dodo, clerk } = world;
      const metadata = { ...world.metadataOf('clerk organization'), ...world.metadataOf('clerk user') };
      const { id: customerId } = polar.createCustomer();
      world.apply(() => polar.subscribe({ productId: POLAR_PRODUCTS.pro, customerId, metadata }));
      const customer = dodo.createCustomer({ metadata: world.metadataOf('clerk user') });
      world.apply(() => dodo.subscribe({ productId: DODO_PRODUCTS.business, customerId: customer.customer_id, quantity: 2 }));
      world.apply(() => clerk.createUser({ firstName: 'Ann' }));
      world.apply(() => clerk.createOrganization({ name: 'Acme' }));
    },
    eventTypes: ['subscription.updated', 'subscription.renewed', 'payment.succeeded', 'user.created', 'organization.created'],
  },
  'a failed renewal at Dodo that is paid': {
    play: failRenewalAtDodo,
    eventTypes: ['subscription.active', 'payment.failed', 'subscription.past_due', 'payment.succeeded', 'subscription.active'],
  },
  'a failed renewal at Dodo that is paid, rendered late': {
    rendering: 'latest',
    play: failRenewalAtDodo,
    eventTypes: ['subscription.active', 'payment.failed', 'subscription.past_due', 'payment.succeeded', 'subscription.active'],
  },
  'a plan change, renewal and cancellation at Dodo, rendered late': {
    rendering: 'latest',
    play: changeAndCancelAtDodo,
    eventTypes: [
      'subscription.active',
      'subscription.plan_changed',
      'subscription.renewed',
      'subscription.updated',
      'subscription.cancelled',
    ],
  },
};

/** Plays a scenario with the mark in all ids, and keeps only its five events. */
export function worldOf({ play, eventTypes, rendering }: Scenario, mark: string): ProvidersWorld {
  const world = new ProvidersWorld(mark, { seed: 'story', rendering });
  play(world);
  const left = [...eventTypes];
  const kept = world.events.filter(({ type }) => type === left[0] && left.shift() !== undefined);
  if (left.length > 0) throw new Error(`${left.join(', ')} did not happen`);
  world.events.splice(0, world.events.length, ...kept);
  return world;
}
