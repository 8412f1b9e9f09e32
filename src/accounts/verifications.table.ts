import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../database/columns.js';

/** One-time tokens of Better Auth (password reset, OAuth state) and of our change of email. */
export const verifications = pgTable(
  'verifications',
  {
    id: uuid('id').primaryKey(),
    /** Hashed. */
    identifier: text('identifier').notNull(),
    value: text('value').notNull(),
    expiresAt: time('expires_at').notNull(),
    ...timestamps(),
  },
  (table) => [
    index('verifications_identifier_idx').on(table.identifier),
    index('verifications_value_idx').using('hash', table.value),
    index('verifications_expires_at_idx').on(table.expiresAt),
  ],
);
