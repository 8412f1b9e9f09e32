import { eq, inArray, or, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { userMerges } from '../users/user-merges.table.js';

/**
 * Whether a row is somebody's, or of a local user whose row went on as theirs. What a merge joins is found when
 * it is read, so that nothing has to move, whichever came first.
 */
export function ownedBy(ownerId: string, column: PgColumn): SQL {
  const merged = sql`SELECT ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = ${ownerId}`;
  return or(eq(column, ownerId), inArray(column, sql`(${merged})`))!;
}
