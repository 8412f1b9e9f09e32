import { sql } from 'drizzle-orm';
import type { Queryable } from './database.js';
import { sendWrite, statement } from './statement.js';

const LOCK = statement(
  sql`SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(${sql.placeholder('names')}::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place`,
);

/**
 * Takes advisory locks on names until the transaction ends, in one order, so that two callers cannot deadlock. Later
 * statements of the transaction wait for them.
 */
export async function lockNames(kind: string, names: (string | null | undefined)[], db: Queryable): Promise<void> {
  const sorted = [...new Set(names)].filter((name) => name != null).sort();
  if (sorted.length === 0) return;
  await sendWrite(LOCK({ names: sorted.map((name) => `${kind}:${name}`) }), db);
}
