const hidden = { required: false, input: false, returned: false } as const;

/** Our tables and columns under Better Auth's names. */
export const MODELS = {
  user: {
    modelName: 'users',
    fields: { image: 'imageUrl' },
    additionalFields: {
      emailVerifiedAt: { type: 'date', ...hidden },
      suspendedAt: { type: 'date', ...hidden },
      deletedAt: { type: 'date', ...hidden },
      clerkUserId: { type: 'string', ...hidden },
    },
  },
  session: {
    modelName: 'sessions',
    fields: { token: 'tokenHash' },
    additionalFields: {
      sliding: { type: 'boolean', ...hidden },
      legacyCookie: { type: 'boolean', ...hidden },
    },
    disableSessionRefresh: true,
  },
  account: {
    modelName: 'accounts',
    fields: { providerId: 'provider', accountId: 'providerAccountId', password: 'passwordHash' },
    // An address that the provider proved takes over a user who never proved it; a hook empties that user first.
    accountLinking: { enabled: true, requireLocalEmailVerified: false, allowDifferentEmails: false },
  },
  verification: {
    modelName: 'verifications',
    storeIdentifier: 'hashed',
    disableCleanup: true,
    additionalFields: { userId: { type: 'string', ...hidden } },
  },
} as const;
