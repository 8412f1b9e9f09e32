import { bigint, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';
import { tokenClasses } from '../events/usage-events.table.js';

/** Sums for each UTC hour, written in the transaction of their events and kept forever. */
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

export type UsageRollup = Omit<typeof usageRollups.$inferSelect, 'createdAt' | 'updatedAt'>;
