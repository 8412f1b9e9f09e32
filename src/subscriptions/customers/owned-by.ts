import { type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { userMerges } from '../../users/user-merges.table.js';

/**
 * Whether a row is somebody's, or of a local user whose row went on as theirs. What a merge joins is found when
 * it is read, so that nothing has to move, whichever came first.
 */
export function ownedBy(ownerId: string | Placeholder, column: PgColumn): SQL {
  // One list of ids, read first: an OR with a subquery in it would read the whole table.
  const merged = sql`SELECT ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = ${ownerId}`;
  return sql`${column} = ANY (ARRAY(SELECT ${ownerId}::uuid UNION ALL ${merged}))`;
}
