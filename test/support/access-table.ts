import { newId } from '../../src/platform/crypto/ids.js';
import type { Operation } from './api.js';
import { PASSWORD } from './people.js';
import type { Person, Tenant } from './tenant-world.js';

export const CALLERS = ['signedOut', 'outsider', 'member', 'admin', 'keyWithoutScope', 'keyWithScope', 'operator'] as const;
export type CallerName = (typeof CALLERS)[number];

export type Row = readonly [
  signedOut: number,
  outsider: number,
  member: number,
  admin: number,
  keyWithoutScope: number,
  keyWithScope: number,
  operator: number,
];

/**
 * Who is answered what, for every operation of the document. The tenant in the path is the members' and the
 * keys'; what is one person's own (a session, an account) is the member's; invitations by id are the outsider's.
 */
export const ACCESS: Record<string, Row> = {
  //                        signed out, outsider, member, admin, key without scope, key with scope, operator
  signUp: [200, 200, 200, 200, 200, 200, 200],
  signIn: [401, 401, 401, 401, 401, 401, 401],
  signInWithProvider: [200, 200, 200, 200, 200, 200, 200],
  finishProviderSignIn: [302, 302, 302, 302, 302, 302, 302],
  showSignInError: [400, 400, 400, 400, 400, 400, 400],
  linkProvider: [401, 200, 200, 200, 403, 403, 200],
  signOut: [200, 200, 200, 200, 200, 200, 200],
  sendVerificationEmail: [200, 200, 200, 200, 200, 200, 200],
  verifyEmail: [400, 400, 400, 400, 400, 400, 400],
  submitEmailVerification: [400, 400, 400, 400, 400, 400, 400],
  rejectSignUp: [400, 400, 400, 400, 400, 400, 400],
  requestPasswordReset: [200, 200, 200, 200, 200, 200, 200],
  openPasswordReset: [302, 302, 302, 302, 302, 302, 302],
  resetPassword: [400, 400, 400, 400, 400, 400, 400],
  changePassword: [401, 400, 400, 400, 403, 403, 400],
  changeEmail: [401, 200, 200, 200, 403, 403, 200],
  confirmEmailChange: [400, 400, 400, 400, 400, 400, 400],
  submitEmailChange: [400, 400, 400, 400, 400, 400, 400],

  getMe: [401, 200, 200, 200, 403, 403, 200],
  updateMe: [401, 200, 200, 200, 403, 403, 200],
  deleteMe: [401, 204, 204, 204, 403, 403, 204],
  listAccounts: [401, 200, 200, 200, 403, 403, 200],
  unlinkAccount: [401, 404, 204, 404, 403, 403, 404],
  getUser: [401, 404, 200, 200, 403, 403, 200],
  listUsers: [401, 403, 403, 403, 403, 403, 200],
  suspendUser: [401, 403, 403, 403, 403, 403, 200],
  unsuspendUser: [401, 403, 403, 403, 403, 403, 200],
  listUserSessions: [401, 403, 403, 403, 403, 403, 200],
  revokeUserSessions: [401, 403, 403, 403, 403, 403, 200],

  listSessions: [401, 200, 200, 200, 403, 403, 200],
  getCurrentSession: [401, 200, 200, 200, 403, 403, 200],
  revokeSession: [401, 404, 204, 404, 403, 403, 404],
  revokeOtherSessions: [401, 200, 200, 200, 403, 403, 200],

  createOrganization: [401, 201, 201, 201, 403, 403, 201],
  listOrganizations: [401, 200, 200, 200, 403, 403, 200],
  getOrganizationBySlug: [401, 404, 200, 200, 403, 403, 200],
  getOrganization: [401, 404, 200, 200, 403, 200, 200],
  updateOrganization: [401, 404, 403, 200, 403, 403, 404],
  deleteOrganization: [401, 404, 403, 204, 403, 403, 404],
  restoreOrganization: [401, 403, 403, 403, 403, 403, 200],

  listMemberships: [401, 404, 200, 200, 403, 200, 200],
  changeMembershipRole: [401, 404, 403, 200, 403, 403, 404],
  removeMembership: [401, 404, 403, 204, 403, 403, 404],

  createInvitation: [401, 404, 403, 201, 403, 403, 404],
  listInvitations: [401, 404, 403, 200, 403, 200, 200],
  revokeInvitation: [401, 404, 403, 204, 403, 403, 404],
  resendInvitation: [401, 404, 403, 200, 403, 403, 404],
  listOwnInvitations: [401, 200, 200, 200, 403, 403, 200],
  acceptInvitationByToken: [401, 200, 404, 404, 403, 403, 404],
  acceptInvitation: [401, 200, 404, 404, 403, 403, 404],
  declineInvitation: [401, 200, 404, 404, 403, 403, 404],

  createApiKey: [401, 404, 403, 201, 403, 403, 404],
  listApiKeys: [401, 404, 403, 200, 403, 403, 200],
  revokeApiKey: [401, 404, 403, 204, 403, 403, 404],
  rotateApiKey: [401, 404, 403, 201, 403, 403, 404],

  listAuditLog: [401, 404, 403, 200, 403, 200, 200],

  listPlans: [200, 200, 200, 200, 200, 200, 200],
  listUsage: [401, 404, 200, 200, 403, 200, 200],
  summarizeUsage: [401, 404, 200, 200, 403, 200, 200],
  exportUsage: [401, 404, 403, 200, 403, 200, 200],
  listOwnUsage: [401, 200, 200, 200, 403, 403, 200],
  summarizeOwnUsage: [401, 200, 200, 200, 403, 403, 200],
  exportOwnUsage: [401, 200, 200, 200, 403, 403, 200],
  listPrices: [401, 200, 200, 200, 403, 403, 200],
  setPrices: [401, 403, 403, 403, 403, 403, 200],

  getSubscription: [401, 404, 200, 200, 403, 200, 200],
  listPayments: [401, 404, 403, 200, 403, 200, 200],
  // No provider's API is set up here: whoever may is told so.
  openCheckout: [401, 404, 403, 409, 403, 403, 404],
  openPortal: [401, 404, 403, 409, 403, 403, 404],
  getOwnSubscription: [401, 200, 200, 200, 403, 403, 200],
  listOwnPayments: [401, 200, 200, 200, 403, 403, 200],
  openOwnCheckout: [401, 409, 409, 409, 403, 403, 409],
  openOwnPortal: [401, 409, 409, 409, 403, 403, 409],
  listSubscriptions: [401, 403, 403, 403, 403, 403, 200],
  grantSubscription: [401, 403, 403, 403, 403, 403, 201],
  linkSubscription: [401, 403, 403, 403, 403, 403, 200],
  endGrant: [401, 403, 403, 403, 403, 403, 204],

  recordOwnUsage: [401, 201, 201, 201, 403, 403, 201],
  recordOwnUsageBatch: [401, 200, 200, 200, 403, 403, 200],
  getOwnQuota: [401, 200, 200, 200, 403, 403, 200],
  holdOwnTokens: [401, 201, 201, 201, 403, 403, 201],
  settleOwnHold: [401, 404, 201, 404, 403, 403, 404],
  releaseOwnHold: [401, 404, 204, 404, 403, 403, 404],
  listOwnUsageAlerts: [401, 200, 200, 200, 403, 403, 200],
  recordUsage: [401, 404, 201, 201, 403, 201, 404],
  recordUsageBatch: [401, 404, 200, 200, 403, 200, 404],
  getQuota: [401, 404, 200, 200, 403, 200, 200],
  holdTokens: [401, 404, 201, 201, 403, 201, 404],
  settleHold: [401, 404, 201, 201, 403, 201, 404],
  releaseHold: [401, 404, 204, 204, 403, 204, 404],
  listUsageAlerts: [401, 404, 200, 200, 403, 200, 200],

  listJobs: [401, 403, 403, 403, 403, 403, 200],
  runJob: [401, 403, 403, 403, 403, 403, 202],

  listMeterExports: [401, 403, 403, 403, 403, 403, 200],
  retryMeterExports: [401, 403, 403, 403, 403, 403, 202],

  // A signature lets in, and nothing else.
  receiveWebhook: [401, 401, 401, 401, 401, 401, 401],
  listWebhookEvents: [401, 403, 403, 403, 403, 403, 200],
  getWebhookEvent: [401, 403, 403, 403, 403, 403, 200],
  replayWebhookEvents: [401, 403, 403, 403, 403, 403, 202],
  replayWebhookEvent: [401, 403, 403, 403, 403, 403, 202],

  getLiveness: [200, 200, 200, 200, 200, 200, 200],
  getReadiness: [200, 200, 200, 200, 200, 200, 200],
  getMetrics: [200, 200, 200, 200, 200, 200, 200],
};

/** What a request takes from the world it is sent into. */
export interface Values {
  organizationId: string;
  slug: string;
  membershipId: string;
  invitationId: string;
  apiKeyId: string;
  webhookEventId: string;
  subscriptionId: string;
  holdId: string;
  userId: string;
  sessionId: string;
  accountId: string;
  email: string;
  name: string;
  token: string;
}

/** The values of a tenant: what somebody who was told everything about it could send. */
export function valuesOf(tenant: Tenant, person: Person = tenant.member): Values {
  return {
    organizationId: tenant.organization.id,
    slug: tenant.organization.slug,
    membershipId: tenant.memberships.spare,
    invitationId: tenant.invitations.pending,
    apiKeyId: tenant.keys.full.id,
    webhookEventId: tenant.webhookEventId,
    subscriptionId: tenant.subscriptionId,
    holdId: tenant.holdId,
    userId: person.id,
    sessionId: person.otherSessionId,
    accountId: person.accountId,
    email: person.email,
    name: person.name,
    token: tenant.invitationToken,
  };
}

/** Well-formed values that lead to nothing. */
export function unknownValues(): Values {
  const word = `nobody-${newId()}`;
  return {
    organizationId: newId(),
    slug: word,
    membershipId: newId(),
    invitationId: newId(),
    apiKeyId: newId(),
    webhookEventId: newId(),
    subscriptionId: newId(),
    holdId: newId(),
    userId: newId(),
    sessionId: newId(),
    accountId: newId(),
    email: `${word}@example.com`,
    name: word,
    token: `unknown${newId()}`,
  };
}

/** Path parameters that name no row of a tenant. */
const FIXED: Record<string, (operation: Operation) => string> = {
  job: () => 'prune_job_runs',
  provider: ({ id }) => (id === 'receiveWebhook' ? 'clerk' : 'google'),
};

/** Where a path parameter gets its value from. */
export function pathValues(operation: Operation, values: Values): Record<string, string> {
  const named = values as unknown as Record<string, string | undefined>;
  return Object.fromEntries(
    operation.pathParameters.map((name) => {
      const value = FIXED[name]?.(operation) ?? named[name];
      if (value === undefined) throw new Error(`Nothing says what to put into {${name}} of ${operation.path}: add it to Values`);
      return [name, value];
    }),
  );
}

/** Path parameters of an operation that name something of a tenant. */
export function tenantParameters({ pathParameters }: Operation): string[] {
  return pathParameters.filter((name) => !(name in FIXED));
}

let counter = 0;

const usageEvent = () => ({ eventId: `event-${process.pid}-${(counter += 1)}`, model: 'a-model', tokens: 1 });

/** A valid body for every operation that takes one. */
export const BODIES: Record<string, (values: Values) => object> = {
  signUp: () => ({ email: `new-${process.pid}-${(counter += 1)}@example.com`, name: 'New Person', password: PASSWORD }),
  signIn: ({ email }) => ({ email, password: PASSWORD }),
  signInWithProvider: () => ({ provider: 'google', disableRedirect: true }),
  linkProvider: () => ({ provider: 'google', disableRedirect: true }),
  signOut: () => ({}),
  sendVerificationEmail: ({ email }) => ({ email }),
  requestPasswordReset: ({ email }) => ({ email }),
  resetPassword: ({ token }) => ({ token, newPassword: PASSWORD }),
  submitEmailVerification: ({ token }) => ({ token, password: PASSWORD }),
  rejectSignUp: ({ token }) => ({ token }),
  submitEmailChange: ({ token }) => ({ token, password: PASSWORD }),
  changePassword: () => ({ currentPassword: PASSWORD, newPassword: `${PASSWORD} 2` }),
  changeEmail: () => ({ newEmail: `changed-${process.pid}-${(counter += 1)}@example.com` }),
  updateMe: () => ({ name: 'Renamed' }),
  createOrganization: () => ({ name: `Made ${(counter += 1)}` }),
  updateOrganization: () => ({ name: 'Renamed Inc.' }),
  changeMembershipRole: () => ({ role: 'admin' }),
  createInvitation: () => ({ email: `invited-${process.pid}-${(counter += 1)}@example.com`, role: 'member' }),
  resendInvitation: () => ({}),
  acceptInvitationByToken: ({ token }) => ({ token }),
  createApiKey: () => ({ name: 'A key', scopes: ['members:read'] }),
  rotateApiKey: () => ({ overlapSeconds: 60 }),
  openCheckout: () => ({ tier: 'pro' }),
  openPortal: () => ({}),
  openOwnCheckout: () => ({ tier: 'pro' }),
  openOwnPortal: () => ({}),
  grantSubscription: ({ organizationId }) => ({ organizationId, tier: 'business', note: 'A friend of the house' }),
  linkSubscription: ({ userId }) => ({ userId }),
  recordOwnUsage: usageEvent,
  recordOwnUsageBatch: () => ({ events: [usageEvent()] }),
  holdOwnTokens: () => ({ estimatedTokens: 1 }),
  settleOwnHold: usageEvent,
  recordUsage: usageEvent,
  recordUsageBatch: () => ({ events: [usageEvent()] }),
  holdTokens: () => ({ estimatedTokens: 1 }),
  settleHold: usageEvent,
  retryMeterExports: () => ({ provider: 'polar' }),
  setPrices: () => ({ prices: [{ model: 'a-model', tokenClass: 'input', microsPerMillion: 1, effectiveFrom: '2026-01-01' }] }),
  replayWebhookEvents: () => ({ status: 'dead', type: 'user.created' }),
};

/** Query parameters without which a call is not valid, or may be refused. */
export const QUERIES: Record<string, (values: Values) => Record<string, string>> = {
  verifyEmail: ({ token }) => ({ token }),
  confirmEmailChange: ({ token }) => ({ token }),
  openPasswordReset: () => ({ callbackURL: '/reset' }),
  deleteMe: () => ({ cancelSubscription: 'true' }),
  deleteOrganization: () => ({ cancelSubscription: 'true' }),
  // Models are named by whoever uses them.
  summarizeUsage: () => ({ groupBy: 'model' }),
  summarizeOwnUsage: () => ({ groupBy: 'model' }),
};
