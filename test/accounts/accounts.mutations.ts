import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'AccountsRepository.listOfUser',
    search: 'eq(accounts.userId, userId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['listAccounts'],
  },
  {
    within: 'AccountsRepository.deleteOfUsers',
    search: 'isOneOf(accounts.userId, userIds)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['deleteMe'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  {
    within: 'AccountsRepository.deleteVerificationsOfUsers',
    search: 'isOneOf(verifications.userId, userIds)',
    because: 'links are in no answer; test/auth/link-invalidation.e2e-spec.ts shows that those of others stay',
  },
  {
    within: 'AccountsRepository.deleteVerificationsOfKind',
    search: 'eq(verifications.userId, userId)',
    because: 'links are in no answer; test/auth/link-invalidation.e2e-spec.ts shows that those of others stay',
  },
  {
    within: 'AccountsRepository.lockOfUser',
    search: 'eq(accounts.userId, userId)',
    because: 'the DELETE that follows names the user again',
  },
  { within: 'AccountsRepository.delete', search: 'eq(accounts.userId, userId)', because: 'the account was found among the user’s own' },
  {
    within: 'AccountsRepository.markOldestPasswords',
    search: 'isOneOf(accounts.userId, userIds)',
    because: 'only a provider’s word that two are one leads there',
  },
];
