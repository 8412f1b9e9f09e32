import { bigint, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';
import { tokenClasses } from '../events/usage-events.table.js';

/** The sums of each hour (UTC), written with the events that they count, and kept for ever. */
export const usageRollups = pgTable(
  'usage_rollups',
  {
    ownerId: uuid('owner_id').notNull(),
    hour: time('hour').notNull(),
    model: text('model').notNull(),
    actorUserId: uuid('actor_user_id'),
    events: bigint('events', { mode: 'number' }).notNull().default(0),
    ...tokenClasses(),
    ...timestamps(),
  },
  (table) => [unique('usage_rollups_key').on(table.ownerId, table.hour, table.model, table.actorUserId).nullsNotDistinct()],
);
