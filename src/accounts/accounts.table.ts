import { index, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../platform/database/columns.js';
import { users } from '../users/users.table.js';

/** A way to sign in: a password (`credential`) or a linked provider. */
export const accounts = pgTable(
  'accounts',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    provider: text('provider').notNull(),
    /** The provider's id of the user; for a password, our user id. */
    providerAccountId: text('provider_account_id').notNull(),
    // The three tokens are encrypted (platform/crypto/keyring.service.ts): never compare them.
    accessToken: text('access_token'),
    refreshToken: text('refresh_token'),
    idToken: text('id_token'),
    accessTokenExpiresAt: time('access_token_expires_at'),
    refreshTokenExpiresAt: time('refresh_token_expires_at'),
    scope: text('scope'),
    /** argon2id, as a PHC string. */
    passwordHash: text('password'),
    ...timestamps(),
  },
  (table) => [
    unique('accounts_provider_provider_account_id_key').on(table.provider, table.providerAccountId),
    index('accounts_user_id_idx').on(table.userId),
  ],
);

export type Account = typeof accounts.$inferSelect;
