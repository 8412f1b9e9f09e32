import { pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { bytes, createdAt } from '../../platform/database/columns.js';

/** Every event that was ever recorded, for ever: one that comes again after years is still a duplicate. */
export const usageEventIds = pgTable(
  'usage_event_ids',
  {
    ownerId: uuid('owner_id').notNull(),
    eventId: text('event_id').notNull(),
    /** Of what the caller sent, defaults left out: the same id with other content is a conflict. */
    fingerprint: bytes('fingerprint').notNull(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ name: 'usage_event_ids_pkey', columns: [table.ownerId, table.eventId] })],
);
