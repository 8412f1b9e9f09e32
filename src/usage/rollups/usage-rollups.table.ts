import { bigint, boolean, index, pgTable, primaryKey, text, unique, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';
import { tokenClasses } from '../events/usage-events.table.js';

const events = () => bigint('events', { mode: 'number' }).notNull().default(0);

/** Sums for each UTC hour, written in the transaction of their events and kept forever. */
export const usageRollups = pgTable(
  'usage_rollups',
  {
    ownerId: uuid('owner_id').notNull(),
    hour: time('hour').notNull(),
    model: text('model').notNull(),
    actorUserId: uuid('actor_user_id'),
    events: events(),
    ...tokenClasses(),
    ...timestamps(),
    /** False until the migration added the row to the two tables below. */
    isCounted: boolean('is_counted').notNull().default(true),
  },
  (table) => [
    unique('usage_rollups_key').on(table.ownerId, table.hour, table.model, table.actorUserId).nullsNotDistinct(),
    // Lists of events of a person look up the hours here.
    index('usage_rollups_actor_hour_model_idx').on(table.ownerId, table.actorUserId, table.hour, table.model),
  ],
);

/** Sums of `usage_rollups` over all users, kept by its triggers. */
export const usageModelRollups = pgTable(
  'usage_model_rollups',
  {
    ownerId: uuid('owner_id').notNull(),
    hour: time('hour').notNull(),
    model: text('model').notNull(),
    events: events(),
    ...tokenClasses(),
  },
  (table) => [
    primaryKey({ name: 'usage_model_rollups_pkey', columns: [table.ownerId, table.hour, table.model] }),
    // Lists of events of a model look up the hours here.
    index('usage_model_rollups_model_hour_idx').on(table.ownerId, table.model, table.hour),
  ],
);

/** Sums of `usage_rollups` over each UTC month, kept by its triggers. */
export const usageMonthRollups = pgTable(
  'usage_month_rollups',
  {
    ownerId: uuid('owner_id').notNull(),
    /** The start of the month. */
    month: time('month').notNull(),
    actorUserId: uuid('actor_user_id'),
    model: text('model').notNull(),
    events: events(),
    ...tokenClasses(),
  },
  (table) => [unique('usage_month_rollups_key').on(table.ownerId, table.month, table.actorUserId, table.model).nullsNotDistinct()],
);

export type UsageRollup = Omit<typeof usageRollups.$inferSelect, 'createdAt' | 'updatedAt' | 'isCounted'>;
