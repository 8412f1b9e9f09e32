import { boolean, index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../platform/database/columns.js';
import { users } from '../users/users.table.js';

/** An ended Clerk session keeps its row, which refuses tokens that Clerk signed before. Other sessions are deleted. */
export const sessions = pgTable(
  'sessions',
  {
    id: uuid('id').primaryKey(),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    /** SHA-256 in base64url; null for a Clerk session. */
    tokenHash: text('token').unique('sessions_token_key'),
    clerkSessionId: text('clerk_session_id').unique('sessions_clerk_session_id_key'),
    /** Whether use extends the session: false when the user chose not to be remembered. */
    sliding: boolean('sliding').notNull().default(true),
    /** Whether a version before 0.2 set the cookie, under its legacy name. Such a version omits the column, hence the default. */
    legacyCookie: boolean('legacy_cookie').notNull().default(true),
    expiresAt: time('expires_at').notNull(),
    ipAddress: text('ip_address'),
    userAgent: text('user_agent'),
    lastUsedAt: time('last_used_at').notNull().defaultNow(),
    endedAt: time('ended_at'),
    ...timestamps(),
  },
  (table) => [
    index('sessions_user_id_created_at_id_idx').on(table.userId, table.createdAt, table.id),
    index('sessions_expires_at_idx').on(table.expiresAt),
  ],
);

export type Session = typeof sessions.$inferSelect;
