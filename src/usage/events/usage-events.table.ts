import { bigint, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { createdAt, time } from '../../platform/database/columns.js';
import { ownerKind } from '../../subscriptions/customers/billing-customers.table.js';

const tokens = (name: string) => bigint(name, { mode: 'number' }).notNull().default(0);

/** How many tokens of each class: what is counted in one is not counted in another. */
export const tokenClasses = () => ({
  inputTokens: tokens('input_tokens'),
  outputTokens: tokens('output_tokens'),
  cachedInputTokens: tokens('cached_input_tokens'),
  reasoningTokens: tokens('reasoning_tokens'),
  /** All of them, or the plain total that the caller told instead. */
  tokensUsed: tokens('tokens_used'),
  /** What no hold had reserved: the only tokens that may be past a hard limit. */
  overrun: tokens('overrun'),
});

/**
 * What was used: rows are written once and never changed. The migration makes it partitioned by month of
 * `occurred_at`, so that what is old enough goes with its whole partition.
 */
export const usage = pgTable(
  'usage',
  {
    ownerId: uuid('owner_id').notNull(),
    occurredAt: time('occurred_at').notNull(),
    /** The caller's; unique for an owner for ever by `usage_event_ids`. */
    eventId: text('event_id').notNull(),
    ownerKind: ownerKind('owner_kind').notNull(),
    /** Who caused it. A plain id: the person may be gone. */
    actorUserId: uuid('actor_user_id'),
    model: text('model').notNull(),
    ...tokenClasses(),
    /** Which quota counts it. */
    periodStart: time('period_start').notNull(),
    /** The hold that it settled. */
    holdId: uuid('hold_id'),
    metadata: jsonb('metadata').$type<Record<string, string | number | boolean>>(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ name: 'usage_pkey', columns: [table.ownerId, table.occurredAt, table.eventId] })],
);

export type Usage = typeof usage.$inferSelect;
