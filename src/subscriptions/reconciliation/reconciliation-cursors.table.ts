import { pgEnum, pgTable, text } from 'drizzle-orm/pg-core';
import { timestamps } from '../../platform/database/columns.js';
import { billingProvider } from '../customers/billing-customers.table.js';

export const WALK_PHASES = ['theirs', 'ours'] as const;

export const walkPhase = pgEnum('billing_walk_phase', WALK_PHASES);

/** How far the nightly comparison with a provider has come, for the run that goes on where one was cut off. */
export const reconciliationCursors = pgTable('billing_walks', {
  provider: billingProvider('provider').primaryKey(),
  /** First what they have, then what of ours they did not show. */
  phase: walkPhase('phase').notNull(),
  /** Where the phase goes on: a place in the provider's list, or the last of our ids; null at its beginning. */
  position: text('position'),
  ...timestamps(),
});

export type ReconciliationCursor = typeof reconciliationCursors.$inferSelect;
