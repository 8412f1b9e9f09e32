import { index, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import type { Scope } from '../access/scopes.js';
import { time, timestamps } from '../platform/database/columns.js';
import { organizations } from '../organizations/organizations.table.js';

/** A machine's way in. It belongs to the organization and survives whoever made it. */
export const apiKeys = pgTable(
  'api_keys',
  {
    id: uuid('id').primaryKey(),
    organizationId: uuid('organization_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    /** A plain id: the person may be gone. */
    createdBy: uuid('created_by').notNull(),
    name: text('name').notNull(),
    /** The beginning of the key, to recognise it by. */
    prefix: text('prefix').notNull(),
    /** SHA-256 of the key in base64url. A key is random and long: a slow hash would only slow the guard. */
    hash: text('hash').notNull().unique('api_keys_hash_key'),
    scopes: text('scopes').array().notNull().$type<Scope[]>(),
    expiresAt: time('expires_at'),
    lastUsedAt: time('last_used_at'),
    /** In the future while the overlap of a rotation lasts. */
    revokedAt: time('revoked_at'),
    ...timestamps(),
  },
  (table) => [index('api_keys_organization_id_created_at_id_idx').on(table.organizationId, table.createdAt, table.id)],
);

export type ApiKey = typeof apiKeys.$inferSelect;
