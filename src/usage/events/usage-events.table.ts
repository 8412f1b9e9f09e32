import { bigint, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { createdAt, time } from '../../platform/database/columns.js';
import type { Fingerprint } from './usage-fingerprint.js';
import { ownerKind } from '../../subscriptions/customers/billing-customers.table.js';

const tokens = (name: string) => bigint(name, { mode: 'number' }).notNull().default(0);

/** The classes are disjoint. */
export const tokenClasses = () => ({
  inputTokens: tokens('input_tokens'),
  outputTokens: tokens('output_tokens'),
  cachedInputTokens: tokens('cached_input_tokens'),
  reasoningTokens: tokens('reasoning_tokens'),
  /** The sum of the classes, or the plain total that the caller sent instead. */
  tokensUsed: tokens('tokens_used'),
  /** Tokens that no hold had reserved. Only they can exceed a hard limit. */
  overrun: tokens('overrun'),
});

/** Usage events. The migration partitions the table by month of `occurred_at`, so that retention drops whole partitions. */
export const usage = pgTable(
  'usage',
  {
    ownerId: uuid('owner_id').notNull(),
    occurredAt: time('occurred_at').notNull(),
    /** Chosen by the caller. `usage_event_ids` keeps it unique for the owner forever. */
    eventId: text('event_id').notNull(),
    ownerKind: ownerKind('owner_kind').notNull(),
    /** No foreign key: the person may have been purged. */
    actorUserId: uuid('actor_user_id'),
    model: text('model').notNull(),
    ...tokenClasses(),
    /** The period whose quota counts it. */
    periodStart: time('period_start').notNull(),
    /** The hold it settled. */
    holdId: uuid('hold_id'),
    metadata: jsonb('metadata').$type<Record<string, string | number | boolean>>(),
    createdAt: createdAt(),
  },
  (table) => [primaryKey({ name: 'usage_pkey', columns: [table.ownerId, table.occurredAt, table.eventId] })],
);

export type UsageRecord = typeof usage.$inferSelect;
export type NewUsageRecord = Omit<UsageRecord, 'createdAt'> & { fingerprint: Fingerprint };
export type EventIdKey = Pick<UsageRecord, 'ownerId' | 'eventId'>;
