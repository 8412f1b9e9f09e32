import { sql } from 'drizzle-orm';
import { check, index, integer, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps } from '../platform/database/columns.js';

export const organizations = pgTable(
  'organizations',
  {
    id: uuid('id').primaryKey(),
    /** Unique over all rows, so that a replayed event finds the tombstone. */
    clerkOrganizationId: text('clerk_organization_id').unique('organizations_clerk_organization_id_key'),
    name: text('name').notNull(),
    /** Unique among organizations that are not deleted. Null for some Clerk organizations. */
    slug: text('slug'),
    /** The slug at Clerk. If several organizations have the same one there, only one gets it as `slug`. */
    clerkSlug: text('clerk_slug'),
    imageUrl: text('image_url'),
    /** Of live memberships. Triggers keep it, in the transaction that changes them. */
    memberCount: integer('member_count').notNull().default(0),
    deletedAt: time('deleted_at'),
    /** Once set, its members and keys are going, and it cannot be restored. */
    purgeStartedAt: time('purge_started_at'),
    ...eventVersion(),
    ...timestamps(),
  },
  (table) => [
    uniqueIndex('organizations_slug_key')
      .on(table.slug)
      .where(sql`${table.deletedAt} IS NULL`),
    index('organizations_clerk_slug_idx')
      .on(table.clerkSlug)
      .where(sql`${table.clerkSlug} IS NOT NULL`),
    index('organizations_deleted_at_idx')
      .on(table.deletedAt)
      .where(sql`${table.deletedAt} IS NOT NULL`),
    check('organizations_slug_form', sql`${table.slug} ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'`),
  ],
);

export type Organization = typeof organizations.$inferSelect;
