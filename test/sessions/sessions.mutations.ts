import { NO_CONDITION, type TenancyMutation, type UnreachablePredicate } from '../support/mutations.js';

export const mutations: TenancyMutation[] = [
  {
    within: 'SessionsRepository.listLive',
    search: 'eq(sessions.userId, userId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['listSessions'],
  },
  {
    within: 'SessionsRepository.end',
    search: 'eq(sessions.userId, userId)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['revokeSession'],
  },
  {
    within: 'SessionsRepository.endOfUsers',
    search: 'isOneOf(sessions.userId, userIds)',
    replace: NO_CONDITION,
    callers: ['outsider'],
    operations: ['revokeOtherSessions'],
  },
];

export const unreachable: UnreachablePredicate[] = [
  { within: 'SessionsRepository.lockLive', search: 'eq(sessions.userId, userId)', because: 'the DELETE that follows names the user again' },
  {
    within: 'SessionsRepository.findLive',
    search: 'eq(sessions.userId, userId)',
    because: 'the id is the one of the caller’s own session',
  },
];
