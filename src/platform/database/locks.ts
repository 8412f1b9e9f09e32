import { sql } from 'drizzle-orm';
import type { Queryable } from './database.js';

/** Takes advisory locks on names until the transaction ends, in one order, so that two callers cannot deadlock. */
export async function lockNames(kind: string, names: (string | null | undefined)[], db: Queryable): Promise<void> {
  const sorted = [...new Set(names)].filter((name) => name != null).sort();
  if (sorted.length === 0) return;
  const list = sql.param(sorted.map((name) => `${kind}:${name}`));
  await db.execute(
    sql`SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(${list}::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place`,
  );
}
