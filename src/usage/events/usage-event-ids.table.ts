import { pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { bytes, createdAt } from '../../platform/database/columns.js';

/** The id of every event ever recorded, kept forever: a repetition is a duplicate even after years. */
export const usageEventIds = pgTable(
  'usage_event_ids',
  {
    ownerId: uuid('owner_id').notNull(),
    eventId: text('event_id').notNull(),
    /** Covers the content without defaults: the same id with other content is a conflict. */
    fingerprint: bytes('fingerprint').notNull(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ name: 'usage_event_ids_pkey', columns: [table.ownerId, table.eventId] })],
);
