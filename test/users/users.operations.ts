import { members, operators, users, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  getMe: { access: users(200) },
  updateMe: {
    access: users(200),
    body: () => ({ name: 'Renamed' }),
    audit: {
      action: 'user.updated',
      target: (_, __, actorId) => actorId,
      changes: { name: { before: expect.any(String), after: 'Renamed' } },
      organization: null,
    },
  },
  deleteMe: {
    access: users(204),
    query: () => ({ cancelSubscription: 'true' }),
    audit: { action: 'user.deleted', target: (_, __, actorId) => actorId, changes: null, organization: null, consequences: 2 },
  },
  getUser: { access: members(200, { operators: true }) },
  listUsers: { access: operators(200) },
  suspendUser: {
    access: operators(200),
    audit: {
      action: 'user.suspended',
      target: ({ userId }) => userId,
      changes: { suspendedAt: { before: null, after: expect.any(String) } },
      organization: null,
    },
  },
  unsuspendUser: {
    access: operators(200),
    audit: {
      action: 'user.unsuspended',
      target: ({ userId }) => userId,
      changes: { suspendedAt: { before: expect.any(String), after: null } },
      organization: null,
      prepare: ({ t, tenant, operator }) => t.http.post(`/v1/users/${tenant.member.id}/suspend`).set(operator.auth).expect(200),
    },
  },
  listUserSessions: { access: operators(200) },
  revokeUserSessions: {
    access: operators(200),
    audit: { action: 'user.sessions_revoked', target: ({ userId }) => userId, changes: { revoked: { after: 2 } }, organization: null },
  },
};
