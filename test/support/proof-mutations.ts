import type { Mutation } from './mutations.js';

/** A line that order depends on, with a scenario that shows it: without the line, the proof must fail. */
type ScenarioMutation = Mutation & { scenario: string };

/** Of `clerk-convergence`. */
export const CLERK_MUTATIONS: ScenarioMutation[] = [
  {
    within: 'isNewer',
    search: ') > (',
    replace: ') IS DISTINCT FROM (',
    scenario: 'an address that moves from one user to the next',
  },
  {
    within: 'updateSyncedRow',
    search: 'isNull(table.deletedAt), mayWrite(',
    replace: 'mayWrite(',
    scenario: 'a user who changes and is deleted',
  },
  {
    within: 'UserMerges.releaseAddress',
    search: 'later !== undefined',
    replace: 'false',
    scenario: 'a local user who becomes two Clerk users, one after the other',
  },
  {
    within: 'SyncedUsersService.write',
    search: 'before?.clerkEmail != null && before.clerkEmail !== email',
    replace: 'false',
    scenario: 'a squatter who loses an address to its owner',
  },
  {
    within: 'ClerkSync.applyMembership',
    search: 'isOrphan: user.deletedAt !== null || organizationRow.deletedAt !== null',
    replace: 'isOrphan: false',
    scenario: 'a user who is deleted with all memberships and sessions',
  },
  {
    within: 'ClerkSync.applyInvitation',
    search: 'isOrganizationDeleted: organizationRow.deletedAt !== null',
    replace: 'isOrganizationDeleted: false',
    scenario: 'an organization that is deleted with everything in it',
  },
  {
    within: 'ClerkSync.applySession',
    search: 'isEnded: isEnded || user.deletedAt !== null',
    replace: 'isEnded',
    scenario: 'a user who is deleted and never signed out',
  },
];

/** Of `billing-convergence`. */
export const BILLING_MUTATIONS: ScenarioMutation[] = [
  {
    within: 'WebhooksService.parse',
    search: 'provider: provider.name, messageId,',
    replace: 'provider: provider.name, messageId: `${messageId}-${process.hrtime.bigint()}`,',
    scenario: 'a cancellation that is revoked, then immediate, then reinstated',
  },
  {
    within: 'isNewer',
    search: ') > (',
    replace: ') IS DISTINCT FROM (',
    scenario: 'a cancellation that is revoked, then immediate, then reinstated',
  },
  {
    within: 'preciseMoment',
    search: ".padEnd(6, '0').slice(0, 6)",
    replace: ".slice(0, 3).padEnd(6, '0')",
    scenario: 'a cancellation that is revoked, then immediate, then reinstated',
  },
  {
    within: 'SyncedSubscriptionsService.apply',
    search: 'await this.upsertPeriods(',
    replace: 'if (mayWrite) await this.upsertPeriods(',
    scenario: 'a plan change and a renewal',
  },
  {
    within: 'SyncedSubscriptionsService.upsertCustomer',
    search: 'if (customer.isDeleted)',
    replace: 'if (false)',
    scenario: 'a customer who is deleted',
  },
  {
    within: 'SyncedOrganizationsService.lockOrInsert',
    search: 'await this.subscriptions.claim(',
    replace: 'void (',
    scenario: 'a product that is unknown for a while',
  },
  {
    within: 'SyncedUsersService.insert',
    search: 'await this.subscriptions.claim(',
    replace: 'void (',
    scenario: 'a customer who gets an external id late',
  },
];

/** Of `billing-convergence`: without locks on names, concurrent transactions do not see each other. */
export const WITHOUT_LOCKS: Mutation = { within: 'lockNames', search: 'sorted.length === 0', replace: 'true' };

/** Of `usage-ledger`. */
export const LEDGER_MUTATIONS: Mutation[] = [
  { within: 'LOCK_QUOTAS', search: ' FOR NO KEY UPDATE', replace: '' },
  { within: 'EXPIRE_HOLDS', search: 'WHERE q.held > 0', replace: 'WHERE false' },
  { within: 'LedgerDecider.settle', search: ' && hold.periodStart.getTime() === row.periodStart.getTime()', replace: '' },
];

/** Of `races`: without the lock, some order of the pair's statements breaks a promise. */
export const RACE_MUTATIONS: (Mutation & { pair: string; finding: string })[] = [
  {
    within: 'MembershipsRepository.lockOrganization',
    search: ".for('no key update')",
    replace: '',
    pair: 'an admin leaves × the other leaves',
    finding: 'the organization has no admin',
  },
  {
    within: 'MembershipsService.lockForJoining',
    search: 'await this.repository.lockOrganization(organizationId, db);',
    replace: '',
    pair: 'an admin invites × and invites, for the last seat',
    finding: '2 members and 2 open invitations have 3 seats',
  },
  {
    within: 'InvitationsRepository.lock',
    search: ".for('update', { of: invitations })",
    replace: '',
    pair: 'a person accepts × an admin revokes the invitation',
    finding: 'an invitation was not accepted, and has a member',
  },
  {
    within: 'LOCK_QUOTAS',
    search: ' FOR NO KEY UPDATE',
    replace: '',
    pair: 'a hold × a hold, at the cap',
    finding: '120 held tokens are counted as 60',
  },
];
