import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../platform/database/columns.js';
import { users } from '../users/users.table.js';

/** One-time tokens: password resets and OAuth states of Better Auth, and our links in mails. */
export const verifications = pgTable(
  'verifications',
  {
    id: uuid('id').primaryKey(),
    /** Hashed. */
    identifier: text('identifier').notNull(),
    value: text('value').notNull(),
    userId: uuid('user_id').references(() => users.id, { onDelete: 'cascade' }),
    expiresAt: time('expires_at').notNull(),
    ...timestamps(),
  },
  (table) => [
    index('verifications_identifier_idx').on(table.identifier),
    index('verifications_user_id_idx').on(table.userId),
    index('verifications_expires_at_idx').on(table.expiresAt),
  ],
);
