import { sql } from 'drizzle-orm';
import type { Queryable } from './database.js';

/**
 * Holds names until the transaction ends, so that whoever decides about a name sees what was decided before.
 * For what no row stands for: which of several rows an address belongs to. In one order, so that two who hold
 * several do not wait for each other.
 */
export async function lockNames(kind: string, names: (string | null | undefined)[], db: Queryable): Promise<void> {
  const sorted = [...new Set(names)].filter((name) => name != null).sort();
  if (sorted.length === 0) return;
  const list = sql.join(
    sorted.map((name) => sql`${`${kind}:${name}`}`),
    sql`, `,
  );
  await db.execute(
    sql`SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(ARRAY[${list}]::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place`,
  );
}
