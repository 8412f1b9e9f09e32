import { pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { time } from '../platform/database/columns.js';

/** Provider ids of rows that a purge removed, kept for ever: a replay years later must not bring them back. */
export const purgedIds = pgTable(
  'purged_ids',
  {
    provider: text('provider').notNull(),
    kind: text('kind').notNull(),
    externalId: text('external_id').notNull(),
    purgedAt: time('purged_at').notNull().defaultNow(),
  },
  (table) => [primaryKey({ columns: [table.provider, table.kind, table.externalId] })],
);
