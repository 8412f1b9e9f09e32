import { sql } from 'drizzle-orm';
import { check, index, pgTable, text, timestamp, uniqueIndex, uuid } from 'drizzle-orm/pg-core';

/** A tenant. */
export const organizations = pgTable(
  'organizations',
  {
    id: uuid('id').primaryKey(),
    /** Unique over all rows, tombstones included. */
    clerkOrganizationId: text('clerk_organization_id').unique('organizations_clerk_organization_id_key'),
    name: text('name').notNull(),
    /** Unique among the living. A Clerk organization may have none. */
    slug: text('slug'),
    imageUrl: text('image_url'),
    deletedAt: timestamp('deleted_at', { withTimezone: true, precision: 3 }),
    createdAt: timestamp('created_at', { withTimezone: true, precision: 3 }).notNull().defaultNow(),
    updatedAt: timestamp('updated_at', { withTimezone: true, precision: 3 })
      .notNull()
      .defaultNow()
      .$onUpdateFn(() => new Date()),
  },
  (table) => [
    uniqueIndex('organizations_slug_key')
      .on(table.slug)
      .where(sql`${table.deletedAt} IS NULL`),
    index('organizations_deleted_at_idx')
      .on(table.deletedAt)
      .where(sql`${table.deletedAt} IS NOT NULL`),
    check('organizations_slug_form', sql`${table.slug} ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'`),
  ],
);

export type Organization = typeof organizations.$inferSelect;
