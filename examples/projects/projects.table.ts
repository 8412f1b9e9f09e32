import { sql } from 'drizzle-orm';
import { index, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { organizations } from '../../src/organizations/organizations.table.js';
import { time, timestamps } from '../../src/platform/database/columns.js';

/** Belongs to an organization: `organizationId` starts every index, and is in every query. */
export const projects = pgTable(
  'projects',
  {
    id: uuid('id').primaryKey(),
    organizationId: uuid('organization_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    name: text('name').notNull(),
    description: text('description'),
    archivedAt: time('archived_at'),
    ...timestamps(),
  },
  (table) => [
    index('projects_organization_id_created_at_id_idx').on(table.organizationId, table.createdAt, table.id),
    index('projects_archived_at_idx').on(table.archivedAt),
    // The database decides who gets a name, also when two ask at the same time.
    uniqueIndex('projects_organization_id_name_key')
      .on(table.organizationId, table.name)
      .where(sql`${table.archivedAt} IS NULL`),
  ],
);

export type Project = typeof projects.$inferSelect;
