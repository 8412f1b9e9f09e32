import { owner, users, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listSessions: { access: users(200) },
  getCurrentSession: { access: users(200) },
  revokeSession: {
    access: owner('member', 204),
    audit: { action: 'session.revoked', target: ({ sessionId }) => sessionId, changes: null, organization: null, caller: 'member' },
  },
  revokeOtherSessions: {
    access: users(200),
    audit: {
      action: 'user.sessions_revoked',
      target: (_, __, actorId) => actorId,
      changes: { revoked: { after: expect.any(Number) } },
      organization: null,
    },
  },
};
