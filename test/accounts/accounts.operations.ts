import { owner, users, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  listAccounts: { access: users(200) },
  unlinkAccount: {
    access: owner('member', 204),
    audit: {
      action: 'account.unlinked',
      target: ({ accountId }) => accountId,
      changes: { provider: { before: 'google' }, providerAccountId: { before: expect.any(String) } },
      organization: null,
      caller: 'member',
    },
  },
};
