import { sql } from 'drizzle-orm';
import { bigint, check, pgEnum, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { time, timestamps } from '../platform/database/columns.js';

/** `total` applies if only a total of tokens is known. */
export const TOKEN_CLASSES = ['input', 'output', 'cached_input', 'reasoning', 'total'] as const;
export type TokenClass = (typeof TOKEN_CLASSES)[number];

export const tokenClass = pgEnum('token_class', TOKEN_CLASSES);

export const prices = pgTable(
  'prices',
  {
    model: text('model').notNull(),
    tokenClass: tokenClass('token_class').notNull(),
    /** On the hour (UTC), so that each hourly rollup has one price. */
    effectiveFrom: time('effective_from').notNull(),
    /** Millionths of the currency's unit for a million tokens: 2.50 USD are 2500000. */
    microsPerMillion: bigint('micros_per_million', { mode: 'number' }).notNull(),
    currency: text('currency').notNull(),
    ...timestamps(),
  },
  (table) => [
    primaryKey({ name: 'prices_pkey', columns: [table.model, table.tokenClass, table.effectiveFrom] }),
    check('prices_not_negative', sql`${table.microsPerMillion} >= 0`),
    check('prices_on_the_hour', sql`${table.effectiveFrom} = date_bin('1 hour', ${table.effectiveFrom}, 'epoch'::timestamptz)`),
  ],
);

export type Price = typeof prices.$inferSelect;
