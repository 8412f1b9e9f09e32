import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'OrganizationsService.getBySlug',
    search: 'found.role === null && !operator',
    replace: 'false',
    callers: ['outsider'],
    operations: ['getOrganizationBySlug'],
  },
  {
    within: 'OrganizationsRepository.findBySlug',
    search: 'eq(memberships.organizationId, organizations.id)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['getOrganizationBySlug'],
  },
  {
    within: 'OrganizationsRepository.findBySlug',
    search: 'eq(memberships.userId, userId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['getOrganizationBySlug'],
  },
  {
    within: 'OrganizationsRepository.findBySlug',
    search: 'isNull(memberships.deletedAt)',
    replace: NO_CONDITION,
    callers: ['former admin'],
    operations: ['getOrganizationBySlug'],
  },
  {
    within: 'OrganizationsRepository.findBySlug',
    search: 'isNull(organizations.deletedAt)',
    replace: NO_CONDITION,
    callers: ['admin of a deleted organization'],
    operations: ['getOrganizationBySlug'],
  },
  {
    within: 'OrganizationsRepository.listOfUser',
    search: 'eq(memberships.userId, userId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['listOrganizations'],
  },
  {
    within: 'OrganizationsRepository.listOfUser',
    search: 'isNull(memberships.deletedAt)',
    replace: NO_CONDITION,
    callers: ['former admin'],
    operations: ['listOrganizations'],
  },
  {
    within: 'OrganizationsRepository.listOfUser',
    search: 'isNull(organizations.deletedAt)',
    replace: NO_CONDITION,
    callers: ['admin of a deleted organization'],
    operations: ['listOrganizations'],
  },
  {
    within: 'OrganizationsService.listOfUser',
    search: "['organizations', userId]",
    replace: "['organizations']",
    callers: ['admin of another organization'],
    operations: ['listOrganizations'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'OrganizationsRepository.purgeInvitations',
    search: 'isOneOf(invitations.organizationId, organizationIds)',
    because: 'only the purge asks',
  },
  {
    within: 'OrganizationsRepository.removeApiKeys',
    search: 'isOneOf(apiKeys.organizationId, organizationIds)',
    because: 'only the purge asks',
  },
];
