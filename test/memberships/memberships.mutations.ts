import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'isListedMember',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listMemberships'],
  },
  {
    within: 'isListedMember',
    search: 'isNull(memberships.deletedAt)',
    replace: NO_CONDITION,
    callers: ['admin, about somebody who left'],
    operations: ['listMemberships'],
  },
  {
    within: 'MembershipsRepository.find',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['changeMembershipRole'],
  },
  {
    within: 'MembershipsRepository.find',
    search: 'isNull(memberships.deletedAt)',
    replace: NO_CONDITION,
    callers: ['admin, about somebody who left'],
    operations: ['changeMembershipRole'],
  },
  {
    within: 'MembershipsRepository.hasAdmin',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['last admin'],
  },
  { within: 'MembershipsRepository.hasAdmin', search: 'isNull(memberships.deletedAt)', replace: NO_CONDITION, callers: ['last admin'] },
  {
    within: 'MembershipsService.list',
    search: "['memberships', organizationId, sort, { search, ...filters }]",
    replace: "['memberships', sort, { search, ...filters }]",
    callers: ['admin of another organization'],
    operations: ['listMemberships'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'MembershipsRepository.findOfPair',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'accepting again and take-overs ask, both about a pair that was a member (test/invitations/invitations.e2e-spec.ts)',
  },
  {
    within: 'MembershipsRepository.findOfPair',
    search: 'eq(memberships.userId, userId)',
    because: 'accepting again and take-overs ask, both about a pair that was a member (test/invitations/invitations.e2e-spec.ts)',
  },
  {
    within: 'MembershipsRepository.listOfUser',
    search: 'eq(memberships.userId, userId)',
    because: 'only the merge of two users leads there',
  },
  {
    within: 'MembershipsRepository.endOfUser',
    search: 'eq(memberships.userId, userId)',
    because: 'the organizations are named besides (test/memberships/membership-ends.e2e-spec.ts)',
  },
  {
    within: 'MembershipsRepository.endOfUser',
    search: 'isOneOf(memberships.organizationId, organizationIds)',
    because: 'the user is named besides',
  },
  {
    within: 'MembershipsRepository.lockOrganizationsOfUser',
    search: 'eq(memberships.userId, userId)',
    because: 'it only locks more than it must',
  },
  {
    within: 'MembershipsRepository.hasMembers',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'only the rejection of a sign-up leads there',
  },
  {
    within: 'LIST_OF_PAIR',
    search: "eq(memberships.organizationId, sql.placeholder('organizationId'))",
    because: 'only a provider’s event leads there',
  },
  {
    within: 'LIST_OF_PAIR',
    search: "eq(memberships.userId, sql.placeholder('userId'))",
    because: 'only a provider’s event leads there',
  },
  {
    within: 'SyncedMembershipsRepository.listClerkIds',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'only the reconciliation asks',
  },
  {
    within: 'SyncedMembershipsRepository.endOfOrganization',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'only a provider’s event leads there',
  },
];
