import { pgEnum, pgTable, text } from 'drizzle-orm/pg-core';
import { timestamps } from '../../platform/database/columns.js';
import { billingProvider } from '../customers/billing-customers.table.js';

export const WALK_PHASES = ['theirs', 'ours'] as const;

export const walkPhase = pgEnum('billing_walk_phase', WALK_PHASES);

/** How far the nightly reconciliation with a provider has come. An interrupted run resumes there. */
export const reconciliationCursors = pgTable('billing_walks', {
  provider: billingProvider('provider').primaryKey(),
  phase: walkPhase('phase').notNull(),
  /** A position in the provider's list, or the last id of ours; null at the start of a phase. */
  position: text('position'),
  ...timestamps(),
});

export type ReconciliationCursor = typeof reconciliationCursors.$inferSelect;
