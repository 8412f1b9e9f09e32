import type { Narrowed } from './crawl.js';

/** Where a guard or a predicate stands in the build. */
export interface Place {
  /** Under dist/. */
  file: string;
  /** The beginning of the method or statement it stands in, to tell it from its like in the same file. */
  within?: string;
  /** Must be there exactly once. */
  search: string;
}

/** A guard or tenant predicate that is taken out, and who must notice. */
export interface Mutation extends Place, Narrowed {
  replace: string;
}

const GUARD = 'access/access.guard.js';
const ACCESS_SQL = 'access/access.repository.js';
const ORGANIZATIONS = 'organizations/organizations.repository.js';
const MEMBERSHIPS = 'memberships/memberships.repository.js';
const SYNCED_MEMBERSHIPS = 'memberships/synced-memberships.repository.js';
const INVITATIONS = 'invitations/invitations.repository.js';
const INVITATION_RULES = 'invitations/invitations.service.js';
const USERS = 'users/users.repository.js';
const SESSIONS = 'sessions/sessions.repository.js';
const ACCOUNTS = 'accounts/accounts.repository.js';
const API_KEYS = 'api-keys/api-keys.repository.js';
const SUBSCRIPTIONS = 'subscriptions/subscriptions.repository.js';
const USAGE_REPORTS = 'usage/reports/usage-reports.repository.js';
const SYNCED_SUBSCRIPTIONS = 'subscriptions/sync/synced-subscriptions.repository.js';

const USAGE = 'usage/ledger/usage.repository.js';
const COMPARED_USAGE = 'usage/reconciliation/compared-usage.repository.js';

const ADMIN = ['admin of another organization'];
const READS = ['getOrganization', 'listMemberships'];
const TRUE = 'TRUE';

/** Drizzle leaves out of a condition what is undefined. */
const GONE = 'undefined';

export const MUTATIONS: Mutation[] = [
  // Who may do what.
  {
    file: GUARD,
    search: 'organizationId !== undefined && principal.organizationId !== organizationId',
    replace: 'false',
    callers: ['key of another organization'],
    operations: READS,
  },
  {
    file: GUARD,
    search: 'if (scopes === undefined)',
    replace: 'scopes ??= []; if (false)',
    callers: ['insiders'],
    operations: ['updateOrganization', 'listApiKeys'],
  },
  {
    file: GUARD,
    search: '!scopes.every((scope) => principal.scopes.includes(scope))',
    replace: 'false',
    callers: ['insiders'],
    operations: READS,
  },
  {
    file: GUARD,
    search: "access === 'operator' && !principal.operator",
    replace: 'false',
    callers: ['outsider'],
    operations: ['listUsers', 'suspendUser'],
  },
  {
    file: GUARD,
    search: '!access.includes(principal.role)',
    replace: 'false',
    callers: ['insiders'],
    operations: ['updateOrganization', 'listApiKeys'],
  },
  {
    file: GUARD,
    search: 'principal.operator && principal.organizationExists',
    replace: 'principal.organizationExists',
    callers: ['outsider'],
    operations: READS,
  },
  {
    file: GUARD,
    search: 'principal.organizationExists && SAFE',
    replace: 'SAFE',
    callers: ['operator at a deleted organization'],
    operations: ['listMemberships'],
  },
  { file: GUARD, search: ' && SAFE_METHODS.has(request.method)', replace: '', callers: ['operator'], operations: ['updateOrganization'] },
  { file: GUARD, search: 'if (!mayRead)', replace: 'if (false)', callers: ['outsider'], operations: READS },
  { file: GUARD, search: 'if (found.suspended)', replace: 'if (false)', callers: ['session of a suspended admin'], operations: READS },
  {
    file: GUARD,
    search: 'origin === undefined || !isTrustedOrigin(this.config.trustedOrigins, origin)',
    replace: 'false',
    callers: ['untrusted page'],
    operations: ['updateOrganization'],
  },
  {
    file: GUARD,
    search: 'if (credential.fromCookie)\n',
    replace: 'if (false)\n',
    callers: ['untrusted page'],
    operations: ['updateOrganization'],
  },

  // Which credential is alive.
  {
    file: ACCESS_SQL,
    within: 'const session =',
    search: 's.expires_at > now()',
    replace: TRUE,
    callers: ['expired session'],
    operations: READS,
  },
  {
    file: ACCESS_SQL,
    within: 'const session =',
    search: 's.ended_at IS NULL',
    replace: TRUE,
    callers: ['ended session'],
    operations: READS,
  },
  {
    file: ACCESS_SQL,
    within: 'const session =',
    search: 'u.deleted_at IS NULL',
    replace: TRUE,
    callers: ['session of a deleted admin'],
    operations: READS,
  },
  {
    file: ACCESS_SQL,
    within: '   WHERE k.hash',
    search: 'k.revoked_at IS NULL',
    replace: TRUE,
    callers: ['revoked key'],
    operations: READS,
  },
  {
    file: ACCESS_SQL,
    within: '   WHERE k.hash',
    search: '(k.expires_at IS NULL OR k.expires_at > now())',
    replace: TRUE,
    callers: ['expired key'],
    operations: READS,
  },
  {
    file: ACCESS_SQL,
    within: '   WHERE k.hash',
    search: 'o.deleted_at IS NULL',
    replace: TRUE,
    callers: ['key of a deleted organization'],
    operations: READS,
  },

  // Which role, and where.
  {
    file: ACCESS_SQL,
    within: 'const inOrganization',
    search: 'o.deleted_at IS NULL',
    replace: TRUE,
    callers: ['admin of a deleted organization'],
    operations: ['listMemberships'],
  },
  {
    file: ACCESS_SQL,
    within: 'const inOrganization',
    search: 'm.organization_id = o.id',
    replace: TRUE,
    callers: ADMIN,
    operations: READS,
  },
  { file: ACCESS_SQL, within: 'const inOrganization', search: 'm.user_id = u.id', replace: TRUE, callers: ['outsider'], operations: READS },
  {
    file: ACCESS_SQL,
    within: 'const inOrganization',
    search: 'm.deleted_at IS NULL',
    replace: TRUE,
    callers: ['former admin'],
    operations: READS,
  },

  // Organizations.
  {
    file: 'organizations/organizations.service.js',
    search: 'found.role === null && !operator',
    replace: 'false',
    callers: ['outsider'],
    operations: ['getOrganizationBySlug'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async findBySlug',
    search: 'eq(memberships.organizationId, organizations.id)',
    replace: GONE,
    callers: ADMIN,
    operations: ['getOrganizationBySlug'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async findBySlug',
    search: 'eq(memberships.userId, userId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['getOrganizationBySlug'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async findBySlug',
    search: 'isNull(memberships.deletedAt)',
    replace: GONE,
    callers: ['former admin'],
    operations: ['getOrganizationBySlug'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async findBySlug',
    search: 'isNull(organizations.deletedAt)',
    replace: GONE,
    callers: ['admin of a deleted organization'],
    operations: ['getOrganizationBySlug'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async listOfUser',
    search: 'eq(memberships.userId, userId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['listOrganizations'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async listOfUser',
    search: 'isNull(memberships.deletedAt)',
    replace: GONE,
    callers: ['former admin'],
    operations: ['listOrganizations'],
  },
  {
    file: ORGANIZATIONS,
    within: 'async listOfUser',
    search: 'isNull(organizations.deletedAt)',
    replace: GONE,
    callers: ['admin of a deleted organization'],
    operations: ['listOrganizations'],
  },
  {
    file: 'organizations/organizations.service.js',
    search: "['organizations', userId]",
    replace: "['organizations']",
    callers: ADMIN,
    operations: ['listOrganizations'],
  },

  // Memberships.
  {
    file: MEMBERSHIPS,
    within: 'async list(',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listMemberships'],
  },
  {
    file: MEMBERSHIPS,
    within: 'async list(',
    search: 'isNull(memberships.deletedAt)',
    replace: GONE,
    callers: ['admin, about somebody who left'],
    operations: ['listMemberships'],
  },
  {
    file: MEMBERSHIPS,
    within: 'async find(',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['changeMembershipRole'],
  },
  {
    file: MEMBERSHIPS,
    within: 'async find(',
    search: 'isNull(memberships.deletedAt)',
    replace: GONE,
    callers: ['admin, about somebody who left'],
    operations: ['changeMembershipRole'],
  },
  {
    file: MEMBERSHIPS,
    within: 'async hasAdmin',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: GONE,
    callers: ['last admin'],
  },
  { file: MEMBERSHIPS, within: 'async hasAdmin', search: 'isNull(memberships.deletedAt)', replace: GONE, callers: ['last admin'] },
  {
    file: MEMBERSHIPS,
    within: 'async listOfUser',
    search: 'eq(memberships.userId, userId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['deleteMe'],
  },
  {
    file: 'memberships/memberships.service.js',
    search: "['memberships', organizationId, sort, filters]",
    replace: "['memberships', sort, filters]",
    callers: ADMIN,
    operations: ['listMemberships'],
  },

  // Invitations.
  {
    file: INVITATIONS,
    within: 'async list(',
    search: 'eq(invitations.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listInvitations'],
  },
  {
    file: INVITATIONS,
    within: 'async listOpenForEmail',
    search: 'eq(invitations.email, email)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['listOwnInvitations'],
  },
  {
    file: INVITATIONS,
    within: 'async listOpenForEmail',
    search: 'isNull(organizations.deletedAt)',
    replace: GONE,
    callers: ['invited to a deleted organization'],
    operations: ['listOwnInvitations'],
  },
  {
    file: INVITATIONS,
    within: '    select(by, db) {',
    search: 'isNull(organizations.deletedAt)',
    replace: GONE,
    callers: ['invited to a deleted organization'],
    operations: ['acceptInvitation'],
  },
  {
    file: INVITATIONS,
    within: 'async isMember',
    search: 'eq(memberships.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['createInvitation'],
  },
  {
    file: INVITATIONS,
    within: 'async expirePendingOf',
    search: 'eq(invitations.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['createInvitation'],
  },
  {
    file: INVITATION_RULES,
    within: 'async listOwn',
    search: '!emailVerified',
    replace: 'false',
    callers: ['squatter on an invited address'],
    operations: ['listOwnInvitations'],
  },
  {
    file: INVITATION_RULES,
    within: 'async answer',
    search: 'seen.email !== email',
    replace: 'false',
    callers: ['outsider'],
    operations: ['acceptInvitation'],
  },
  {
    file: INVITATION_RULES,
    within: 'async answer',
    search: 'if (!emailVerified)',
    replace: 'if (false)',
    callers: ['squatter on an invited address'],
    operations: ['acceptInvitation'],
  },
  {
    file: INVITATION_RULES,
    within: 'async lockPending',
    search: 'invitation.organizationId !== organizationId',
    replace: 'false',
    callers: ADMIN,
    operations: ['revokeInvitation'],
  },
  {
    file: INVITATION_RULES,
    search: "['invitations', organizationId, filters]",
    replace: "['invitations', filters]",
    callers: ADMIN,
    operations: ['listInvitations'],
  },

  // What is one person's own.
  { file: 'users/users.service.js', search: 'if (!maySee)', replace: 'if (false)', callers: ['outsider'], operations: ['getUser'] },
  {
    file: USERS,
    within: 'async shareOrganization',
    search: 'eq(other.organizationId, memberships.organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['getUser'],
  },
  {
    file: USERS,
    within: 'async shareOrganization',
    search: 'eq(other.userId, otherId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['getUser'],
  },
  {
    file: USERS,
    within: 'async shareOrganization',
    search: 'eq(memberships.userId, oneId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['getUser'],
  },
  {
    file: USERS,
    within: 'async shareOrganization',
    search: 'isNull(memberships.deletedAt)',
    replace: GONE,
    callers: ['former admin'],
    operations: ['getUser'],
  },
  {
    file: USERS,
    within: 'async shareOrganization',
    search: 'isNull(other.deletedAt)',
    replace: GONE,
    callers: ['admin, about somebody who left'],
    operations: ['getUser'],
  },
  {
    file: USERS,
    within: 'async shareOrganization',
    search: 'isNull(organizations.deletedAt)',
    replace: GONE,
    callers: ['admin of a deleted organization'],
    operations: ['getUser'],
  },
  {
    file: SESSIONS,
    within: 'async listLive',
    search: 'eq(sessions.userId, userId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['listSessions'],
  },
  {
    file: SESSIONS,
    within: 'async end(',
    search: 'eq(sessions.userId, userId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['revokeSession'],
  },
  {
    file: SESSIONS,
    within: 'async endOfUsers',
    search: 'inArray(sessions.userId, userIds)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['revokeOtherSessions'],
  },
  {
    file: ACCOUNTS,
    within: 'async listOfUser',
    search: 'eq(accounts.userId, userId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['listAccounts'],
  },
  {
    file: ACCOUNTS,
    within: 'async deleteOfUsers',
    search: 'inArray(accounts.userId, userIds)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['deleteMe'],
  },

  // Keys, the log, stored answers.
  {
    file: API_KEYS,
    within: 'async list(',
    search: 'eq(apiKeys.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listApiKeys'],
  },
  {
    file: API_KEYS,
    within: 'async lockLive',
    search: 'eq(apiKeys.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['revokeApiKey'],
  },
  {
    file: 'api-keys/api-keys.service.js',
    search: "['api-keys', organizationId]",
    replace: "['api-keys']",
    callers: ADMIN,
    operations: ['listApiKeys'],
  },
  {
    file: 'audit/audit.repository.js',
    within: 'async list(',
    search: 'eq(auditLog.organizationId, organizationId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listAuditLog'],
  },
  {
    file: 'audit/audit.service.js',
    search: "['audit-log', organizationId, filters]",
    replace: "['audit-log', filters]",
    callers: ADMIN,
    operations: ['listAuditLog'],
  },

  // What is bought, and what was paid.
  {
    file: SUBSCRIPTIONS,
    within: 'function selectByOwner',
    search: 'ownedBy(ownerId, subscriptions.ownerId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['getOwnSubscription'],
  },
  {
    file: 'subscriptions/payments/payments.repository.js',
    within: 'async list',
    search: 'ownedBy(id, payments.ownerId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listPayments'],
  },
  {
    file: 'subscriptions/subscriptions.service.js',
    search: "['payments', owner, status]",
    replace: "['payments', status]",
    callers: ADMIN,
    operations: ['listPayments'],
  },
  {
    file: SYNCED_SUBSCRIPTIONS,
    within: 'async listCharged',
    search: 'ownedBy(ownerId, subscriptions.ownerId)',
    replace: GONE,
    callers: ['outsider'],
    operations: ['deleteMe'],
  },

  // What was used.
  {
    file: USAGE_REPORTS,
    search: 'eq(usage.ownerId, ownerId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listUsage'],
  },
  {
    file: USAGE_REPORTS,
    within: 'async sumUp',
    search: 'inArray(usageRollups.ownerId, ownerIds)',
    replace: 'sql`true`',
    callers: ADMIN,
    operations: ['summarizeUsage'],
  },
  {
    file: 'usage/reports/usage-reports.service.js',
    search: "['usage', owner, filters]",
    replace: "['usage', filters]",
    callers: ADMIN,
    operations: ['listUsage'],
  },
  {
    file: USAGE,
    search: '(h.owner_id, h.id) IN (SELECT * FROM',
    replace: 'h.id IN (SELECT id FROM',
    callers: ['outsider'],
    operations: ['settleOwnHold', 'releaseOwnHold'],
  },
  {
    file: USAGE,
    within: 'async listAlerts',
    search: 'eq(usageAlerts.ownerId, ownerId)',
    replace: GONE,
    callers: ADMIN,
    operations: ['listUsageAlerts'],
  },
  {
    file: 'usage/usage.service.js',
    search: "['usage-alerts', owner]",
    replace: "['usage-alerts']",
    callers: ADMIN,
    operations: ['listUsageAlerts'],
  },
  {
    file: 'idempotency/idempotency.decorators.js',
    search: 'principal: `${kind}:${id}`',
    replace: "principal: 'everybody'",
    callers: ['idempotency key'],
  },
];

/** What holds there is proved in test/usage/reconciliation/usage-verification.e2e-spec.ts. */
const ONLY_A_COMMAND = 'only a command leads there';

/** What holds there is proved in test/providers/clerk/clerk-convergence.proof-spec.ts. */
const ONLY_PROVIDERS = 'only a provider’s event leads there';

/** Predicates that no request can tell from their absence, because another one stands before them. */
const ONLY_LINKS = 'links are in no answer; test/auth/mail-link-ends.e2e-spec.ts shows that those of others stay';
const ONLY_TAKEOVERS = 'only the take-over of an unproved account leads there (test/users/takeovers.e2e-spec.ts)';

export const SECOND_LINES: (Place & { because: string })[] = [
  {
    file: API_KEYS,
    within: 'async revokeMadeBy',
    search: 'eq(apiKeys.organizationId, organizationId)',
    because: ONLY_TAKEOVERS,
  },
  { file: USERS, within: 'async listOrganizationIds', search: 'eq(memberships.userId, userId)', because: ONLY_TAKEOVERS },
  {
    file: 'invitations/ended-invitations.repository.js',
    within: 'async revokeOpen',
    search: 'inArray(invitations.organizationId, organizationIds)',
    because: 'the sender is named besides (test/invitations/inviters.e2e-spec.ts)',
  },
  {
    file: INVITATIONS,
    within: 'async countOpen',
    search: 'eq(invitations.organizationId, organizationId)',
    because: 'a count, which only a full plan shows (test/invitations/inviters.e2e-spec.ts)',
  },
  {
    file: MEMBERSHIPS,
    within: 'async findOfPair',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'accepting again and take-overs ask, both about a pair that was a member (test/invitations/invitations.e2e-spec.ts)',
  },
  {
    file: MEMBERSHIPS,
    within: 'async findOfPair',
    search: 'eq(memberships.userId, userId)',
    because: 'accepting again and take-overs ask, both about a pair that was a member (test/invitations/invitations.e2e-spec.ts)',
  },
  { file: COMPARED_USAGE, within: 'async listHours', search: 'eq(usageRollups.ownerId, ownerId)', because: ONLY_A_COMMAND },
  { file: COMPARED_USAGE, within: 'async listQuotas', search: 'eq(usageQuotas.ownerId, ownerId)', because: ONLY_A_COMMAND },
  { file: COMPARED_USAGE, within: 'async sumLiveHolds', search: 'eq(usageHolds.ownerId, ownerId)', because: ONLY_A_COMMAND },
  {
    file: USAGE,
    within: 'async listQuotas',
    search: 'eq(usageQuotas.ownerId, ownerId)',
    because: 'another owner’s period would have to begin in the same millisecond',
  },
  {
    file: MEMBERSHIPS,
    within: 'async lockOrganizationsOfUser',
    search: 'eq(memberships.userId, userId)',
    because: 'it only locks more than it must',
  },
  {
    file: MEMBERSHIPS,
    within: 'async findOldest',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'only a provider’s deletion leads there',
  },
  {
    file: ORGANIZATIONS,
    within: 'async listClerkInvitationIds',
    search: 'inArray(invitations.organizationId, organizationIds)',
    because: 'only the purge asks',
  },
  {
    file: SESSIONS,
    within: 'async lockLive',
    search: 'eq(sessions.userId, userId)',
    because: 'the DELETE that follows names the user again',
  },
  {
    file: SESSIONS,
    within: 'async findLive',
    search: 'eq(sessions.userId, userId)',
    because: 'the id is the one of the caller’s own session',
  },
  {
    file: ACCOUNTS,
    within: 'async deleteVerificationsOfUsers',
    search: 'inArray(verifications.userId, userIds)',
    because: ONLY_LINKS,
  },
  { file: ACCOUNTS, within: 'async deleteVerificationsOfKind', search: 'eq(verifications.userId, userId)', because: ONLY_LINKS },
  {
    file: ACCOUNTS,
    within: 'async lockOfUser',
    search: 'eq(accounts.userId, userId)',
    because: 'the DELETE that follows names the user again',
  },
  { file: ACCOUNTS, within: 'async delete(', search: 'eq(accounts.userId, userId)', because: 'the account was found among the user’s own' },
  {
    file: ACCOUNTS,
    within: 'async settlePasswords',
    search: 'inArray(accounts.userId, userIds)',
    because: 'only a provider’s word that two are one leads there',
  },
  {
    file: SYNCED_MEMBERSHIPS,
    within: 'async listOfPair',
    search: 'eq(memberships.organizationId, organizationId)',
    because: ONLY_PROVIDERS,
  },
  { file: SYNCED_MEMBERSHIPS, within: 'async listOfPair', search: 'eq(memberships.userId, userId)', because: ONLY_PROVIDERS },
  {
    file: SYNCED_MEMBERSHIPS,
    within: 'async listClerkIds',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'only the reconciliation asks',
  },
  {
    file: SYNCED_MEMBERSHIPS,
    within: 'async endOfOrganization',
    search: 'eq(memberships.organizationId, organizationId)',
    because: ONLY_PROVIDERS,
  },
  {
    file: 'invitations/synced-invitations.repository.js',
    search: 'eq(invitations.organizationId, organizationId), eq(invitations.email, email)',
    because: ONLY_PROVIDERS,
  },
  {
    file: SUBSCRIPTIONS,
    within: 'function selectMembers',
    search: 'eq(memberships.organizationId, organizationId)',
    because: 'it only counts; test/subscriptions/subscriptions.e2e-spec.ts does, too',
  },
  {
    file: SUBSCRIPTIONS,
    within: 'async list(',
    search: 'ownedBy(ownerId, subscriptions.ownerId)',
    because: 'operators, who may see all, filter by it',
  },
  {
    file: SUBSCRIPTIONS,
    within: 'async listCustomers',
    search: 'ownedBy(id, billingCustomers.ownerId)',
    because: 'only a provider is told of them; test/subscriptions/checkout/checkouts.e2e-spec.ts looks at what',
  },
  {
    file: SUBSCRIPTIONS,
    within: 'async listCustomers',
    search: 'eq(subscriptions.ownerId, id)',
    because: 'the same',
  },
  {
    file: SYNCED_SUBSCRIPTIONS,
    within: 'async withdrawEndRequests',
    search: 'eq(subscriptions.ownerId, ownerId)',
    because: 'only an operator restores; test/subscriptions/customers/subscription-deletion.e2e-spec.ts looks at what',
  },
  {
    file: SYNCED_SUBSCRIPTIONS,
    within: 'async listDeletedOwners',
    search: 'eq(subscriptions.ownerId, only)',
    because: 'only a job asks',
  },
  {
    file: SYNCED_SUBSCRIPTIONS,
    within: 'async pinOwners',
    search: 'inArray(billingCustomers.ownerId, ownerIds)',
    because: 'only the purge asks',
  },
  {
    file: SYNCED_SUBSCRIPTIONS,
    within: 'async pinOwners',
    search: 'inArray(subscriptions.ownerId, ownerIds)',
    because: 'only the purge asks',
  },
  {
    file: USAGE_REPORTS,
    within: 'async sumUp',
    search: 'inArray(usage.ownerId, ownerIds)',
    because: 'only of hours that are cut; test/usage/reports/usage-reports.e2e-spec.ts cuts them',
  },
];

/** Predicates that say whose a row is. */
export const PREDICATE = /(?:eq|inArray)\(\w+\.(?:organizationId|userId|ownerId), \w+\)|ownedBy\(\w+, \w+\.ownerId\)/g;

/**
 * Finds a place in the text of its file.
 *
 * @throws {Error} when it is not there exactly once
 */
export function locate({ file, within, search }: Place, text: string): { start: number; end: number } {
  const from = within === undefined ? 0 : text.indexOf(within);
  if (from === -1) throw new Error(`${file} has no "${within}"`);
  const length = within === undefined ? text.length : lengthOf(within, text.slice(from));
  const block = text.slice(from, from + length);
  const found = block.split(search).length - 1;
  if (found !== 1) throw new Error(`${file} has ${found} times "${search}"${within === undefined ? '' : ` within "${within}"`}`);
  const start = from + block.indexOf(search);
  return { start, end: start + search.length };
}

/** A method ends with its brace, a statement of SQL with its backtick. */
function lengthOf(within: string, text: string): number {
  const end = (within.startsWith('async ') ? /\n {4}\}\n/ : /`;\n|\n\}\);\n/).exec(text);
  return end === null ? text.length : end.index + end[0].length;
}
