import { type Placeholder, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { userMerges } from '../../users/user-merges.table.js';

/** Whether a row belongs to an owner, or to a user who was merged into it. Merges are resolved on read, so that no row has to move. */
export function ownedBy(ownerId: string | Placeholder, column: PgColumn): SQL {
  // One array of ids: an OR with a subquery would scan the whole table.
  const merged = sql`SELECT ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = ${ownerId}`;
  return sql`${column} = ANY (ARRAY(SELECT ${ownerId}::uuid UNION ALL ${merged}))`;
}
