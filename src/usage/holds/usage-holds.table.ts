import { sql } from 'drizzle-orm';
import { bigint, index, pgEnum, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';

export const HOLD_STATUSES = ['live', 'settled', 'released', 'expired'] as const;
export type HoldStatus = (typeof HOLD_STATUSES)[number];

export const holdStatus = pgEnum('hold_status', HOLD_STATUSES);

/** Tokens reserved for work in progress. A live hold past its end no longer counts. */
export const usageHolds = pgTable(
  'usage_holds',
  {
    ownerId: uuid('owner_id').notNull(),
    /** Chosen by the caller, or generated. */
    id: uuid('id').notNull(),
    periodStart: time('period_start').notNull(),
    tokens: bigint('tokens', { mode: 'number' }).notNull(),
    model: text('model'),
    actorUserId: uuid('actor_user_id'),
    status: holdStatus('status').notNull().default('live'),
    expiresAt: time('expires_at').notNull(),
    eventId: text('event_id'),
    ...timestamps(),
  },
  (table) => [
    primaryKey({ name: 'usage_holds_pkey', columns: [table.ownerId, table.id] }),
    index('usage_holds_live_idx')
      .on(table.ownerId, table.periodStart, table.expiresAt)
      .where(sql`${table.status} = 'live'`),
    index('usage_holds_expiry_idx')
      .on(table.expiresAt)
      .where(sql`${table.status} = 'live'`),
    index('usage_holds_done_idx')
      .on(table.updatedAt)
      .where(sql`${table.status} <> 'live'`),
  ],
);

export type UsageHold = typeof usageHolds.$inferSelect;
