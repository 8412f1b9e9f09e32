import { pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { time } from '../platform/database/columns.js';

/** Provider ids of purged rows, kept for ever: a replay years later must not create them again. */
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
