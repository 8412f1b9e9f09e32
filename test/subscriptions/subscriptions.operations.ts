import { admins, members, operators, users, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  getSubscription: { access: members(200, { keys: true, operators: true }) },
  listPayments: { access: admins(200, { keys: true, operators: true }) },
  openCheckout: {
    access: admins(409),
    body: () => ({ tier: 'pro' }),
    audit: { none: 'needs a billing provider (test/subscriptions/checkout/checkouts.e2e-spec.ts)' },
  },
  openPortal: {
    access: admins(409),
    body: () => ({}),
    audit: { none: 'needs a billing provider (test/subscriptions/checkout/checkouts.e2e-spec.ts)' },
  },
  getOwnSubscription: { access: users(200) },
  listOwnPayments: { access: users(200) },
  openOwnCheckout: {
    access: users(409),
    body: () => ({ tier: 'pro' }),
    audit: { none: 'needs a billing provider (test/subscriptions/checkout/checkouts.e2e-spec.ts)' },
  },
  openOwnPortal: {
    access: users(409),
    body: () => ({}),
    audit: { none: 'needs a billing provider (test/subscriptions/checkout/checkouts.e2e-spec.ts)' },
  },
  listSubscriptions: { access: operators(200) },
  grantSubscription: {
    access: operators(201),
    body: ({ organizationId }) => ({ organizationId, tier: 'business', note: 'A friend of the house' }),
    foreign: { organizationId: ({ organizationId }) => [organizationId] },
    audit: {
      action: 'subscription.granted',
      target: (_, { id }) => id!,
      changes: { tier: { after: 'business' }, note: { after: 'A friend of the house' } },
    },
  },
  linkSubscription: {
    access: operators(200),
    body: ({ userId }) => ({ userId }),
    foreign: { userId: ({ userId }) => [userId] },
    audit: {
      action: 'subscription.linked',
      target: ({ subscriptionId }) => subscriptionId,
      changes: {
        ownerKind: { before: 'organization', after: 'user' },
        ownerId: { before: expect.any(String), after: expect.any(String) },
      },
    },
  },
  endGrant: {
    access: operators(204),
    audit: {
      action: 'subscription.grant_ended',
      target: ({ subscriptionId }) => subscriptionId,
      changes: { status: { before: 'active', after: 'canceled' } },
    },
  },
};
