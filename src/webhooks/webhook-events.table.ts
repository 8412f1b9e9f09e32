import { sql } from 'drizzle-orm';
import { index, integer, pgEnum, pgTable, text, unique, uuid } from 'drizzle-orm/pg-core';
import { bytes, preciseTime, time } from '../platform/database/columns.js';

export const WEBHOOK_STATUSES = ['pending', 'processed', 'ignored', 'quarantined', 'dead'] as const;
export type WebhookStatus = (typeof WEBHOOK_STATUSES)[number];

export const webhookEventStatus = pgEnum('webhook_event_status', WEBHOOK_STATUSES);

/** The inbox: what providers told us, each message once, and how far we are with it. */
export const webhookEvents = pgTable(
  'webhook_events',
  {
    id: uuid('id').primaryKey(),
    provider: text('provider').notNull(),
    /** The provider's id of the message, the same in every attempt of theirs. */
    messageId: text('message_id').notNull(),
    /** Empty for a body that cannot be read. */
    type: text('type').notNull(),
    /** When it happened, as the provider says. */
    eventAt: preciseTime('event_at'),
    /** The bytes that were signed, encrypted; of mails and text messages only the envelope. Null once they are forgotten. */
    body: bytes('body'),
    status: webhookEventStatus('status').notNull().default('pending'),
    attempts: integer('attempts').notNull().default(0),
    nextAttemptAt: time('next_attempt_at').notNull().defaultNow(),
    /** Until then a worker has it. */
    leasedUntil: time('leased_until'),
    lastError: text('last_error'),
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
    // Not of the many that are done with: each index is written once more when an event gets there.
    index('webhook_events_status_received_at_id_idx')
      .on(table.status, table.receivedAt, table.id)
      .where(sql`${table.status} IN ('ignored', 'quarantined', 'dead')`),
    index('webhook_events_body_idx')
      .on(table.receivedAt)
      .where(sql`${table.body} IS NOT NULL AND ${table.status} IN ('processed', 'ignored')`),
  ],
);

export type WebhookEvent = typeof webhookEvents.$inferSelect;
