import { DODO_PRODUCTS, POLAR_PRODUCTS } from './billing-catalogue.js';
import { ProvidersWorld, type WorldOptions } from '../providers-world.js';

/** A history that hurts, told by five of its events. */
interface Story extends Partial<Pick<WorldOptions, 'rendering'>> {
  happens: (world: ProvidersWorld) => void;
  /** Which of the events are told, in the order in which they come to be. */
  told: [string, string, string, string, string];
}

const MONTH = 31 * 24 + 1;

/** Whoever pays at Polar: an organization of Clerk's, by what was bought. */
function buyAtPolar(world: ProvidersWorld, { product = 'pro', ...given }: { product?: keyof typeof POLAR_PRODUCTS; seats?: number } = {}) {
  const { polar } = world;
  const { id: customerId } = polar.createCustomer();
  const metadata = world.metadataOf('clerk organization');
  return world.happen(() => polar.subscribe({ productId: POLAR_PRODUCTS[product], customerId, metadata, ...given }));
}

function buyAtDodo(world: ProvidersWorld, { product = 'pro' }: { product?: keyof typeof DODO_PRODUCTS } = {}) {
  const { dodo } = world;
  const { customer_id: customerId } = dodo.createCustomer({ metadata: world.metadataOf('local organization') });
  return world.happen(() => dodo.subscribe({ productId: DODO_PRODUCTS[product], customerId }));
}

function fallBehindAtDodo(world: ProvidersWorld): void {
  const { subscription_id: id, customer } = buyAtDodo(world);
  world.dodo.setCard(customer.customer_id, 'fails');
  world.pass(MONTH);
  world.pass(1);
  world.happen(() => world.dodo.updatePaymentMethod(id));
}

function changeAndCancelAtDodo(world: ProvidersWorld): void {
  const { dodo } = world;
  const { subscription_id: id } = buyAtDodo(world);
  world.pass(1);
  world.happen(() => dodo.changePlan(id, { productId: DODO_PRODUCTS.business, quantity: 3 }));
  world.pass(MONTH);
  world.happen(() => dodo.cancel(id));
  world.pass(1);
  world.happen(() => dodo.cancel(id, { when: 'now' }));
}

export const STORIES: Record<string, Story> = {
  'cancels, takes it back, is revoked and comes back': {
    happens(world) {
      const { id } = buyAtPolar(world);
      world.happen(() => world.polar.cancel(id));
      world.happen(() => world.polar.uncancel(id));
      world.pass(1);
      world.happen(() => world.polar.cancel(id, { when: 'now' }));
      world.happen(() => world.polar.reinstate(id));
    },
    told: ['subscription.created', 'subscription.canceled', 'subscription.uncanceled', 'subscription.revoked', 'subscription.active'],
  },
  'falls behind, and recovers': {
    happens(world) {
      const { id, customer_id: customerId } = buyAtPolar(world);
      world.polar.setCard(customerId, 'fails');
      world.pass(MONTH);
      world.pass(1);
      world.happen(() => world.polar.payPending(id));
    },
    told: ['subscription.created', 'subscription.cycled', 'subscription.past_due', 'subscription.active', 'order.paid'],
  },
  'changes its plan, and renews': {
    happens(world) {
      const { id } = buyAtPolar(world, { product: 'business', seats: 2 });
      world.happen(() => world.polar.changeSeats(id, 5));
      world.happen(() => world.polar.changeProduct(id, POLAR_PRODUCTS.pro, { when: 'period end' }));
      world.pass(MONTH);
    },
    told: ['subscription.created', 'subscription.updated', 'subscription.updated', 'subscription.cycled', 'order.paid'],
  },
  'begins with a trial, and is paid': {
    happens(world) {
      buyAtPolar(world, { product: 'trial' });
      world.pass(15 * 24);
    },
    told: ['subscription.created', 'subscription.active', 'order.paid', 'subscription.cycled', 'order.paid'],
  },
  'is paid back, and then not': {
    happens(world) {
      buyAtPolar(world);
      const { id } = world.polar.listOrders()[0]!;
      const refund = world.happen(() => world.polar.refund(id, { status: 'pending' }));
      world.happen(() => world.polar.settleRefund(refund.id, 'succeeded'));
      world.happen(() => world.polar.settleRefund(refund.id, 'failed'));
    },
    told: ['order.paid', 'refund.created', 'order.refunded', 'refund.updated', 'order.updated'],
  },
  'is of a product that nobody knows, for a while': {
    happens(world) {
      const { id } = buyAtPolar(world);
      world.happen(() => world.clerk.createOrganization({ name: 'Acme' }));
      for (const product of ['unknown', 'business', 'unknown'] as const)
        world.happen(() => world.polar.changeProduct(id, POLAR_PRODUCTS[product]));
    },
    told: ['subscription.created', 'organization.created', 'subscription.updated', 'subscription.updated', 'subscription.updated'],
  },
  'is an organization’s that comes, and goes': {
    happens(world) {
      const { id } = buyAtPolar(world);
      const organization = world.happen(() => world.clerk.createOrganization({ name: 'Acme' }));
      world.happen(() => world.polar.cancel(id));
      world.pass(1);
      world.happen(() => world.clerk.deleteOrganization(organization));
    },
    told: ['subscription.created', 'order.paid', 'organization.created', 'subscription.canceled', 'organization.deleted'],
  },
  'is a customer’s who gets a name late': {
    happens(world) {
      const { polar, clerk } = world;
      const { id: customerId } = world.happen(() => polar.createCustomer());
      world.happen(() => polar.subscribe({ productId: POLAR_PRODUCTS.pro, customerId }));
      world.happen(() => clerk.createUser({ firstName: 'Ann' }));
      world.happen(() => polar.updateCustomer(customerId, { external_id: world.idOf('clerk user') }));
    },
    told: ['customer.created', 'subscription.created', 'order.paid', 'user.created', 'customer.updated'],
  },
  'is a customer’s who goes': {
    happens(world) {
      const { customer_id: customerId } = buyAtPolar(world);
      world.pass(1);
      world.happen(() => world.polar.deleteCustomer(customerId));
    },
    told: ['customer.created', 'subscription.created', 'order.paid', 'customer.deleted', 'subscription.revoked'],
  },
  'is one of two, of two owners, at two providers': {
    happens(world) {
      const { polar, dodo, clerk } = world;
      const metadata = { ...world.metadataOf('clerk organization'), ...world.metadataOf('clerk user') };
      const { id: customerId } = polar.createCustomer();
      world.happen(() => polar.subscribe({ productId: POLAR_PRODUCTS.pro, customerId, metadata }));
      const customer = dodo.createCustomer({ metadata: world.metadataOf('clerk user') });
      world.happen(() => dodo.subscribe({ productId: DODO_PRODUCTS.business, customerId: customer.customer_id, quantity: 2 }));
      world.happen(() => clerk.createUser({ firstName: 'Ann' }));
      world.happen(() => clerk.createOrganization({ name: 'Acme' }));
    },
    told: ['subscription.updated', 'subscription.renewed', 'payment.succeeded', 'user.created', 'organization.created'],
  },
  'falls behind at Dodo, and recovers': {
    happens: fallBehindAtDodo,
    told: ['subscription.active', 'payment.failed', 'subscription.past_due', 'payment.succeeded', 'subscription.active'],
  },
  'falls behind at Dodo, and recovers, rendered late': {
    rendering: 'latest',
    happens: fallBehindAtDodo,
    told: ['subscription.active', 'payment.failed', 'subscription.past_due', 'payment.succeeded', 'subscription.active'],
  },
  'changes its plan at Dodo, renews and is cancelled, rendered late': {
    rendering: 'latest',
    happens: changeAndCancelAtDodo,
    told: ['subscription.active', 'subscription.plan_changed', 'subscription.renewed', 'subscription.updated', 'subscription.cancelled'],
  },
};

/** Lets it happen, with the mark in all ids; only the five events are told. */
export function happenedAs({ happens, told, rendering }: Story, mark: string): ProvidersWorld {
  const world = new ProvidersWorld(mark, { seed: 'story', rendering });
  happens(world);
  const left = [...told];
  const kept = world.events.filter(({ type }) => type === left[0] && left.shift() !== undefined);
  if (left.length > 0) throw new Error(`${left.join(', ')} did not happen`);
  world.events.splice(0, world.events.length, ...kept);
  return world;
}
