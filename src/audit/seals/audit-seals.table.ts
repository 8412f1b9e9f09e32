import { bigint, boolean, check, index, integer, pgTable, text } from 'drizzle-orm/pg-core';
import { sql } from 'drizzle-orm';
import { bytes, createdAt, time, timestamps } from '../../platform/database/columns.js';

/** Each seal covers the entries of the audit log from one moment up to another, and is linked to the one before (docs/decisions/0068). */
export const auditSeals = pgTable(
  'audit_seals',
  {
    number: bigint('number', { mode: 'number' }).primaryKey(),
    from: time('from').notNull(),
    /** Exclusive. */
    until: time('until').notNull(),
    entries: integer('entries').notNull(),
    /** Covers the columns above and the link of the seal before. */
    link: bytes('link').notNull(),
    /** The MACs of the entries, added up. The erasure of a person changes it. */
    sum: bytes('sum').notNull(),
    sumMac: bytes('sum_mac').notNull(),
    createdAt: createdAt(),
  },
  (table) => [index('audit_seals_until_idx').on(table.until), check('audit_seals_forward', sql`${table.until} > ${table.from}`)],
);

export type AuditSeal = typeof auditSeals.$inferSelect;

/** At most one row. The key is encrypted, so that a rotation of keys need not make the seals anew. */
export const auditSealKeys = pgTable(
  'audit_seal_keys',
  {
    only: boolean('only').primaryKey().default(true),
    key: text('key').notNull(),
    ...timestamps(),
  },
  (table) => [check('audit_seal_keys_only', sql`${table.only}`)],
);
