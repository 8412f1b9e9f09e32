import { bigint, index, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
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
  (table) => [
    unique('usage_rollups_key').on(table.ownerId, table.hour, table.model, table.actorUserId).nullsNotDistinct(),
    // Lists of events of a model or a person look up the hours here.
    index('usage_rollups_model_hour_idx').on(table.ownerId, table.model, table.hour),
    index('usage_rollups_actor_hour_model_idx').on(table.ownerId, table.actorUserId, table.hour, table.model),
  ],
);

export type UsageRollup = Omit<typeof usageRollups.$inferSelect, 'createdAt' | 'updatedAt'>;
