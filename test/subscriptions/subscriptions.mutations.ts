import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'selectByOwner',
    search: 'ownedBy(ownerId, subscriptions.ownerId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['getOwnSubscription'],
  },
  {
    within: 'selectByOrganization',
    search: 'eq(subscriptions.ownerId, organizations.id)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['getSubscription'],
  },
  {
    within: 'PaymentsRepository.list',
    search: "kind === 'organization' ? eq(payments.ownerId, id) : ownedBy(id, payments.ownerId)",
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listPayments'],
  },
  {
    within: 'PaymentsService.list',
    search: "['payments', owner, status]",
    replace: "['payments', status]",
    callers: ['admin of another organization'],
    operations: ['listPayments'],
  },
  {
    within: 'ChargedSubscriptionsRepository.list',
    search: 'ownedBy(ownerId, subscriptions.ownerId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['deleteMe'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'SubscriptionsRepository.list',
    search: 'ownedBy(ownerId, subscriptions.ownerId)',
    because: 'operators, who may see all, filter by it',
  },
  {
    within: 'BillingCustomersRepository.listByOwner',
    search: 'ownedBy(id, billingCustomers.ownerId)',
    because: 'only a provider is told of them; test/subscriptions/checkout/checkouts.e2e-spec.ts looks at what',
  },
  { within: 'BillingCustomersRepository.listByOwner', search: 'eq(subscriptions.ownerId, id)', because: 'the same' },
  {
    within: 'ChargedSubscriptionsRepository.withdrawEndRequests',
    search: 'eq(subscriptions.ownerId, ownerId)',
    because: 'only an operator restores; test/subscriptions/customers/subscription-deletion.e2e-spec.ts looks at what',
  },
  { within: 'ChargedSubscriptionsRepository.listDeletedOwners', search: 'eq(subscriptions.ownerId, only)', because: 'only a job asks' },
  {
    within: 'BillingCustomersRepository.pinOwners',
    search: 'isOneOf(billingCustomers.ownerId, ownerIds)',
    because: 'only the purge asks',
  },
  {
    within: 'BillingCustomersRepository.pinOwners',
    search: 'isOneOf(subscriptions.ownerId, ownerIds)',
    because: 'only the purge asks',
  },
];
