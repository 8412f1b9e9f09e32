import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'ApiKeysRepository.list',
    search: 'eq(apiKeys.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['listApiKeys'],
  },
  {
    within: 'ApiKeysRepository.lockLive',
    search: 'eq(apiKeys.organizationId, organizationId)',
    replace: NO_CONDITION,
    callers: ['admin of another organization'],
    operations: ['revokeApiKey'],
  },
  {
    within: 'ApiKeysService.list',
    search: "['api-keys', organizationId]",
    replace: "['api-keys']",
    callers: ['admin of another organization'],
    operations: ['listApiKeys'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'ApiKeysRepository.revokeCreatedBy',
    search: '(${apiKeys.organizationId}, ${apiKeys.createdBy}) IN (SELECT * FROM ${rowsOfPeople(people)})',
    because: 'only the take-over of an unproved account leads there (test/users/takeovers.e2e-spec.ts)',
  },
];
