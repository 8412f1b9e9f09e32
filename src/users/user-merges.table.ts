import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { createdAt, eventVersion } from '../platform/database/columns.js';

export const userMerges = pgTable(
  'user_merges',
  {
    /** The local user. No foreign key, because the merge must outlive the purge of the user. */
    id: uuid('id').primaryKey(),
    intoUserId: uuid('into_user_id').notNull(),
    /** The address that both proved; empty after the local user was purged. */
    email: text('email').notNull(),
    ...eventVersion(),
    accountIds: uuid('account_ids').array().notNull(),
    sessionIds: uuid('session_ids').array().notNull(),
    membershipIds: uuid('membership_ids').array().notNull(),
    createdAt: createdAt(),
  },
  (table) => [index('user_merges_email_idx').on(table.email), index('user_merges_into_user_id_idx').on(table.intoUserId)],
);

export type UserMerge = typeof userMerges.$inferSelect;
