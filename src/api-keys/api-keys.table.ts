import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { Scope } from '../access/scopes.js';
import { time, timestamps } from '../platform/database/columns.js';
import { organizations } from '../organizations/organizations.table.js';

/** A key belongs to the organization and stays valid when its creator leaves. */
export const apiKeys = pgTable(
  'api_keys',
  {
    id: uuid('id').primaryKey(),
    organizationId: uuid('organization_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    /** No foreign key: the user may be purged. */
    createdBy: uuid('created_by').notNull(),
    name: text('name').notNull(),
    prefix: text('prefix').notNull(),
    /** SHA-256 in base64url. Keys are random and long, so a slow hash would only slow the guard. */
    hash: text('hash').notNull().unique('api_keys_hash_key'),
    scopes: text('scopes').array().notNull().$type<Scope[]>(),
    expiresAt: time('expires_at'),
    lastUsedAt: time('last_used_at'),
    /** In the future during the overlap of a rotation. */
    revokedAt: time('revoked_at'),
    ...timestamps(),
  },
  (table) => [index('api_keys_organization_id_created_at_id_idx').on(table.organizationId, table.createdAt, table.id)],
);

export type ApiKey = typeof apiKeys.$inferSelect;
