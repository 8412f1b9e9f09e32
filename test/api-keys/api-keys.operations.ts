import { admins, type Expectation } from '../support/expectations.js';

export const operations: Record<string, Expectation> = {
  createApiKey: {
    access: admins(201),
    body: () => ({ name: 'A key', scopes: ['members:read'] }),
    audit: {
      action: 'api_key.created',
      target: (_, { id }) => id!,
      changes: { name: { after: 'A key' }, scopes: { after: ['members:read'] }, expiresAt: { after: null } },
    },
  },
  listApiKeys: { access: admins(200, { operators: true }) },
  revokeApiKey: {
    access: admins(204),
    audit: {
      action: 'api_key.revoked',
      target: ({ apiKeyId }) => apiKeyId,
      changes: { revokedAt: { before: null, after: expect.any(String) } },
    },
  },
  rotateApiKey: {
    access: admins(201),
    body: () => ({ overlapSeconds: 60 }),
    audit: {
      action: 'api_key.rotated',
      target: ({ apiKeyId }) => apiKeyId,
      changes: { revokedAt: { before: null, after: expect.any(String) }, replacedBy: { after: expect.any(String) } },
    },
  },
};
