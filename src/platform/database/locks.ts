import { sql } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from './database.js';
import { sendWrite, statement } from './statement.js';

const lockOf = (name: unknown) => sql`pg_advisory_xact_lock(hashtextextended(${name}, 0))`;

const LOCK = statement(
  sql`SELECT ${lockOf(sql.raw('name'))} FROM unnest(${sql.placeholder('names')}::text[]) WITH ORDINALITY AS names (name, place) ORDER BY place`,
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

/** A lock that is taken only if the row exists, so that it can be sent together with an insert that may find a conflict. */
export function lockOfRow(kind: string, table: PgTable): (name: string, id: string, db: Queryable) => Promise<void> {
  const lock = statement(
    sql`SELECT ${lockOf(sql.placeholder('name'))} WHERE EXISTS (SELECT FROM ${table} WHERE id = ${sql.placeholder('id')}::uuid)`,
  );
  return async (name, id, db) => sendWrite(lock({ name: `${kind}:${name}`, id }), db);
}
