import { type GetColumnData, type SQL, sql } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from '../database.js';

/** As one array: Drizzle's `inArray` binds every value by itself, and a statement has at most 65,535 parameters. */
export function isOneOf<Column extends PgColumn>(column: Column, values: readonly GetColumnData<Column, 'raw'>[]): SQL {
  return sql`${column} = ANY (${sql.param(values)})`;
}

export function isNoneOf<Column extends PgColumn>(column: Column, values: readonly GetColumnData<Column, 'raw'>[]): SQL {
  return sql`${column} <> ALL (${sql.param(values)})`;
}

/** As rows of an organization and a user, for FROM and IN. */
export function rowsOfPeople(people: { organizationId: string; userId: string }[]): SQL {
  const [organizationIds, userIds] = [people.map((one) => one.organizationId), people.map((one) => one.userId)];
  return sql`unnest(${sql.param(organizationIds)}::uuid[], ${sql.param(userIds)}::uuid[])`;
}

/** Returns how many rows it removed. */
export async function removeSome(table: PgTable, which: SQL, limit: number, db: Queryable): Promise<number> {
  const some = sql`SELECT ${table}.ctid FROM ${table} WHERE ${which} LIMIT ${limit} FOR UPDATE`;
  const { rowCount } = await db.execute(sql`DELETE FROM ${table} WHERE ${table}.ctid = ANY (ARRAY(${some}))`);
  return rowCount ?? 0;
}
