import { type SQL, sql } from 'drizzle-orm';
import { boolean, check, index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps } from '../platform/database/columns.js';

export const users = pgTable(
  'users',
  {
    id: uuid('id').primaryKey(),
    /** Unique over all rows, so that a replayed event finds the tombstone. */
    clerkUserId: text('clerk_user_id').unique('users_clerk_user_id_key'),
    /** Null for some Clerk users, and for deleted users, so that a new sign-up can use the address. */
    email: text('email').unique('users_email_key'),
    emailVerified: boolean('email_verified').notNull().default(false),
    emailVerifiedAt: time('email_verified_at'),
    name: text('name').notNull(),
    username: text('username'),
    imageUrl: text('image_url'),
    /** The address at Clerk. Several users may claim one, but only one has it as `email`. */
    clerkEmail: text('clerk_email'),
    clerkEmailVerified: boolean('clerk_email_verified').notNull().default(false),
    /** Banned at Clerk. Our own suspension is `suspended_at`. */
    banned: boolean('banned').notNull().default(false),
    operator: boolean('operator').notNull().default(false),
    suspendedAt: time('suspended_at'),
    deletedAt: time('deleted_at'),
    ...eventVersion(),
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

function userSearchText(table: { name: unknown; email: unknown; username: unknown }) {
  return sql`to_tsvector('simple', ${table.name} || ' ' || coalesce(${table.username}, '') || ' ' || coalesce(${table.email}, '') || ' ' || translate(coalesce(${table.email}, ''), '@.+-_', '     '))`;
}

/** @param words for `to_tsquery` */
export function userMatches(table: { name: unknown; email: unknown; username: unknown }, words: string): SQL {
  return sql`${userSearchText(table)} @@ to_tsquery('simple', ${words})`;
}

export type User = typeof users.$inferSelect;
