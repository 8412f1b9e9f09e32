import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  { within: 'UsersService.getVisible', search: 'if (!maySee)', replace: 'if (false)', callers: ['outsider'], operations: ['getUser'] },
  {
    within: 'UsersRepository.shareOrganization',
    search: 'eq(other.organizationId, memberships.organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['getUser'],
  },
  {
    within: 'UsersRepository.shareOrganization',
    search: 'eq(other.userId, otherId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['getUser'],
  },
  {
    within: 'UsersRepository.shareOrganization',
    search: 'eq(memberships.userId, oneId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['getUser'],
  },
  {
    within: 'UsersRepository.shareOrganization',
    search: 'isNull(memberships.deletedAt)',
    replace: NO_CONDITION,
    callers: ['former admin'],
    operations: ['getUser'],
  },
  {
    within: 'UsersRepository.shareOrganization',
    search: 'isNull(other.deletedAt)',
    replace: NO_CONDITION,
    callers: ['admin, about somebody who left'],
    operations: ['getUser'],
  },
  {
    within: 'UsersRepository.shareOrganization',
    search: 'isNull(organizations.deletedAt)',
    replace: NO_CONDITION,
    callers: ['admin of a deleted organization'],
    operations: ['getUser'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'UsersRepository.listOrganizationIds',
    search: 'eq(memberships.userId, userId)',
    because: 'only the take-over of an unproved account leads there (test/users/takeovers.e2e-spec.ts)',
  },
  { within: 'UsersRepository.removeSignIns', search: 'isOneOf(table.userId, userIds)', because: 'only the purge asks' },
];
