import { admins, members, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listMemberships: { access: members(200, { keys: true, operators: true }) },
  changeMembershipRole: {
    access: admins(200),
    body: () => ({ role: 'admin' }),
    audit: {
      action: 'membership.role_changed',
      target: ({ membershipId }) => membershipId,
      changes: { role: { before: 'member', after: 'admin' } },
    },
  },
  removeMembership: {
    access: admins(204),
    audit: {
      action: 'membership.removed',
      target: ({ membershipId }) => membershipId,
      changes: { userId: { before: expect.any(String) }, role: { before: 'member' } },
    },
  },
};
