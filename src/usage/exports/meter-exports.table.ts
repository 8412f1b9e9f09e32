import { sql } from 'drizzle-orm';
import { bigint, index, integer, jsonb, pgTable, primaryKey, text, uuid } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../../platform/database/columns.js';
import { billingProvider } from '../../subscriptions/customers/billing-customers.table.js';

export interface MeterValues {
  model: string;
  input_tokens: number;
  output_tokens: number;
  cached_input_tokens: number;
  reasoning_tokens: number;
}

/**
 * The outbox of metering: rows are written with their event and removed when the provider has accepted them. Refused
 * ones stay, with the reason.
 */
export const meterExports = pgTable(
  'meter_exports',
  {
    provider: billingProvider('provider').notNull(),
    ownerId: uuid('owner_id').notNull(),
    eventId: text('event_id').notNull(),
    providerCustomerId: text('provider_customer_id').notNull(),
    occurredAt: time('occurred_at').notNull(),
    values: jsonb('values').notNull().$type<MeterValues>(),
    tokensUsed: bigint('tokens_used', { mode: 'number' }).notNull(),
    attempts: integer('attempts').notNull().default(0),
    /** Null means refused. While leased, the end of the lease. */
    nextAttemptAt: time('next_attempt_at').defaultNow(),
    lastError: text('last_error'),
    ...timestamps(),
  },
  (table) => [
    primaryKey({ name: 'meter_exports_pkey', columns: [table.ownerId, table.eventId] }),
    index('meter_exports_next_attempt_at_idx')
      .on(table.provider, table.nextAttemptAt)
      .where(sql`${table.nextAttemptAt} IS NOT NULL`),
    index('meter_exports_refused_idx')
      .on(table.provider, table.createdAt, table.ownerId, table.eventId)
      .where(sql`${table.nextAttemptAt} IS NULL`),
  ],
);

export type MeterExport = typeof meterExports.$inferSelect;
