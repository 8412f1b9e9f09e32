import { type SQL, sql } from 'drizzle-orm';
import type { Range } from '../../platform/time/moments.js';

/** The counts of a rollup and their columns. */
export const COUNTS = {
  events: 'events',
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  cachedInputTokens: 'cached_input_tokens',
  reasoningTokens: 'reasoning_tokens',
  tokensUsed: 'tokens_used',
  overrun: 'overrun',
} as const;
export type Counts = Record<keyof typeof COUNTS, number>;

export interface CountsDifference {
  model: string;
  actorUserId: string | null;
  /** Undefined if there is no row. */
  stored: Counts | undefined;
  actual: Counts;
}

type Side = 'stored_' | 'actual_';
/** `pg` returns sums of bigints as text. */
export type ComparedRow = Record<`${Side}${(typeof COUNTS)[keyof typeof COUNTS]}`, string>;

export const COLUMNS = columns((name) => name);
export const ZEROS = columns(() => '0');

/** From rows of both sides, with `is_stored`. */
export const BOTH_SUMS = columns(
  (name) =>
    `coalesce(sum(${name}) FILTER (WHERE is_stored), 0) AS stored_${name}, coalesce(sum(${name}) FILTER (WHERE NOT is_stored), 0) AS actual_${name}`,
);
export const DIFFERS = sql`(${columns((name) => `stored_${name}`)}) <> (${columns((name) => `actual_${name}`)})`;

export function columns(expression: (name: string) => string): SQL {
  return sql.raw(Object.values(COUNTS).map(expression).join(', '));
}

export function storedCounts(row: ComparedRow): Counts {
  return countsOf(row, 'stored_');
}

export function actualCounts(row: ComparedRow): Counts {
  return countsOf(row, 'actual_');
}

function countsOf(row: ComparedRow, side: Side): Counts {
  return Object.fromEntries(Object.entries(COUNTS).map(([name, column]) => [name, Number(row[`${side}${column}`])])) as Counts;
}

export function within(column: SQL, { from, to }: Range): SQL {
  return sql`${column} >= ${from.toISOString()}::timestamptz AND ${column} < ${to.toISOString()}::timestamptz`;
}
