import { sql } from 'drizzle-orm';
import { index, integer, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { bytes, preciseTime, time } from '../platform/database/columns.js';

export const WEBHOOK_STATUSES = ['pending', 'processed', 'ignored', 'quarantined', 'dead'] as const;
export type WebhookStatus = (typeof WEBHOOK_STATUSES)[number];

export const webhookEventStatus = pgEnum('webhook_event_status', WEBHOOK_STATUSES);

/** The inbox: every message of a provider once, with the state of its processing. */
export const webhookEvents = pgTable(
  'webhook_events',
  {
    id: uuid('id').primaryKey(),
    provider: text('provider').notNull(),
    /** The provider's id, the same in every delivery attempt. */
    messageId: text('message_id').notNull(),
    /** Empty for a body that cannot be parsed. */
    type: text('type').notNull(),
    eventAt: preciseTime('event_at'),
    /** The signed bytes, encrypted; only the envelope of messages with secrets. Null after the retention time. */
    body: bytes('body'),
    status: webhookEventStatus('status').notNull().default('pending'),
    attempts: integer('attempts').notNull().default(0),
    nextAttemptAt: time('next_attempt_at').notNull().defaultNow(),
    leasedUntil: time('leased_until'),
    lastError: text('last_error'),
    /** The span of its receipt, where traces are on. */
    traceparent: text('traceparent'),
    receivedAt: time('received_at').notNull().defaultNow(),
    processedAt: time('processed_at'),
    updatedAt: time('updated_at')
      .notNull()
      .defaultNow()
      .$onUpdateFn(() => sql`now()`),
  },
  (table) => [
    unique('webhook_events_provider_message_id_key').on(table.provider, table.messageId),
    index('webhook_events_due_idx')
      .on(table.nextAttemptAt)
      .where(sql`${table.status} = 'pending'`),
    index('webhook_events_received_at_id_idx').on(table.receivedAt, table.id),
    index('webhook_events_provider_type_received_at_id_idx').on(table.provider, table.type, table.receivedAt, table.id),
    // Leaves out processed events, so that processing one does not write this index.
    index('webhook_events_status_received_at_id_idx')
      .on(table.status, table.receivedAt, table.id)
      .where(sql`${table.status} IN ('ignored', 'quarantined', 'dead')`),
    index('webhook_events_stuck_idx')
      .on(table.provider, table.type, table.status)
      .where(sql`${table.status} IN ('dead', 'quarantined')`),
    index('webhook_events_body_idx')
      .on(table.receivedAt)
      .where(sql`${table.body} IS NOT NULL AND ${table.status} IN ('processed', 'ignored')`),
  ],
);

export type WebhookEvent = typeof webhookEvents.$inferSelect;
