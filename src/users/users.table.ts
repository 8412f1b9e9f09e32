import { sql } from 'drizzle-orm';
import { boolean, check, index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { eventKey, time, timestamps } from '../platform/database/columns.js';

/** One person. */
export const users = pgTable(
  'users',
  {
    id: uuid('id').primaryKey(),
    /** Unique over all rows, tombstones included: a replayed event must find the dead. */
    clerkUserId: text('clerk_user_id').unique('users_clerk_user_id_key'),
    /** As `normaliseEmail` writes it. A Clerk user may have none; a deleted user has none, so that a new sign-up can take it. */
    email: text('email').unique('users_email_key'),
    emailVerified: boolean('email_verified').notNull().default(false),
    emailVerifiedAt: time('email_verified_at'),
    name: text('name').notNull(),
    username: text('username'),
    imageUrl: text('image_url'),
    /** What Clerk says the address is. Of several who claim one, only one has it as `email`. */
    clerkEmail: text('clerk_email'),
    clerkEmailVerified: boolean('clerk_email_verified').notNull().default(false),
    /** At Clerk; our own word is `suspended_at`. */
    banned: boolean('banned').notNull().default(false),
    operator: boolean('operator').notNull().default(false),
    suspendedAt: time('suspended_at'),
    deletedAt: time('deleted_at'),
    ...eventKey(),
    ...timestamps(),
  },
  (table) => [
    index('users_created_at_id_idx').on(table.createdAt, table.id),
    index('users_clerk_email_idx')
      .on(table.clerkEmail)
      .where(sql`${table.clerkEmail} IS NOT NULL`),
    index('users_search_idx').using('gin', userSearchText(table)),
    index('users_deleted_at_idx')
      .on(table.deletedAt)
      .where(sql`${table.deletedAt} IS NOT NULL`),
    check('users_email_ascii_lower_case', sql`${table.email} = lower(${table.email} COLLATE "C")`),
    check('users_deleted_has_no_email', sql`${table.deletedAt} IS NULL OR ${table.email} IS NULL`),
  ],
);

/** What a text search looks in: the words of the name, the address and its parts. */
function userSearchText(table: { name: unknown; email: unknown; username: unknown }) {
  return sql`to_tsvector('simple', ${table.name} || ' ' || coalesce(${table.username}, '') || ' ' || coalesce(${table.email}, '') || ' ' || translate(coalesce(${table.email}, ''), '@.+-_', '     '))`;
}

/** Every word must begin a word of the text; what is not a letter or digit separates words. */
export function userSearch(search: string) {
  const words = search.match(/[\p{L}\p{N}]+/gu) ?? [];
  // Nothing to look for finds nothing, rather than everything.
  return words.length === 0
    ? sql`false`
    : sql`${userSearchText(users)} @@ to_tsquery('simple', ${words.map((word) => `${word}:*`).join(' & ')})`;
}

export type User = typeof users.$inferSelect;
