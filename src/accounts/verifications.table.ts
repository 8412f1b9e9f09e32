import { index, pgTable, text, timestamp, uuid } from 'drizzle-orm/pg-core';

/** One-time tokens of Better Auth (password reset, OAuth state) and of our change of email. */
export const verifications = pgTable(
  'verifications',
  {
    id: uuid('id').primaryKey(),
    /** Hashed. */
    identifier: text('identifier').notNull(),
    value: text('value').notNull(),
    expiresAt: timestamp('expires_at', { withTimezone: true, precision: 3 }).notNull(),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 })
      .notNull()
      .defaultNow()
      .$onUpdateFn(() => new Date()),
  },
  (table) => [
    index('verifications_identifier_idx').on(table.identifier),
    index('verifications_value_idx').using('hash', table.value),
    index('verifications_expires_at_idx').on(table.expiresAt),
  ],
);
