import { sql } from 'drizzle-orm';
import { index, pgEnum, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps, tsvector } from '../platform/database/columns.js';
import { organizations } from '../organizations/organizations.table.js';
import { users } from '../users/users.table.js';

export const ROLES = ['admin', 'member'] as const;
export type Role = (typeof ROLES)[number];

export const membershipRole = pgEnum('membership_role', ROLES);

/** An ended membership stays as a tombstone; joining again makes a new row. */
export const memberships = pgTable(
  'organization_memberships',
  {
    id: uuid('id').primaryKey(),
    clerkMembershipId: text('clerk_membership_id').unique('organization_memberships_clerk_membership_id_key'),
    organizationId: uuid('organization_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    userId: uuid('user_id')
      .notNull()
      .references(() => users.id, { onDelete: 'cascade' }),
    role: membershipRole('role').notNull(),
    /** The name of the role at Clerk, custom roles included. */
    clerkRole: text('clerk_role'),
    /** A copy of `users.name` that triggers keep, so that an index can sort members by name. */
    userName: text('user_name').notNull().default(''),
    /** The words of the user's name, username and email, each behind the end of the organization's id. Triggers keep them too. */
    userWords: tsvector('user_words'),
    deletedAt: time('deleted_at'),
    ...eventVersion(),
    ...timestamps(),
  },
  (table) => [
    uniqueIndex('organization_memberships_live_key')
      .on(table.organizationId, table.userId)
      .where(sql`${table.deletedAt} IS NULL`),
    index('organization_memberships_joined_idx')
      .on(table.organizationId, table.createdAt, table.id)
      .where(sql`${table.deletedAt} IS NULL`),
    index('organization_memberships_name_idx')
      .on(table.organizationId, table.userName, table.id)
      .where(sql`${table.deletedAt} IS NULL`),
    index('organization_memberships_role_name_idx')
      .on(table.organizationId, table.role, table.userName, table.id)
      .where(sql`${table.deletedAt} IS NULL`),
    // Not partial: deleting an organization row deletes its tombstones too.
    index('organization_memberships_role_idx').on(table.organizationId, table.role, table.createdAt, table.id),
    index('organization_memberships_user_id_idx').on(table.userId),
    index('organization_memberships_words_idx')
      .using('gin', table.userWords)
      .with({ fastupdate: false })
      .where(sql`${table.deletedAt} IS NULL`),
  ],
);

export type Membership = typeof memberships.$inferSelect;
