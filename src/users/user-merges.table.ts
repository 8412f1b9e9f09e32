import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { createdAt, eventKey } from '../platform/database/columns.js';

/** A local user who turned out to be the same person as a Clerk user, and what went over to that one. */
export const userMerges = pgTable(
  'user_merges',
  {
    /** The local user, a tombstone now. No foreign key: what was theirs is found through it when the row is long gone. */
    id: uuid('id').primaryKey(),
    intoUserId: uuid('into_user_id').notNull(),
    /** The address that both had proved; empty once the local user was purged. */
    email: text('email').notNull(),
    /** The event that proved it for the Clerk user: of several, the oldest decides whose the local user's things are. */
    ...eventKey(),
    accountIds: uuid('account_ids').array().notNull(),
    sessionIds: uuid('session_ids').array().notNull(),
    membershipIds: uuid('membership_ids').array().notNull(),
    createdAt: createdAt(),
  },
  (table) => [index('user_merges_email_idx').on(table.email), index('user_merges_into_user_id_idx').on(table.intoUserId)],
);

export type UserMerge = typeof userMerges.$inferSelect;
