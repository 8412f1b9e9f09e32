import { fillPlaceholders, getTableColumns, type InferSelectModel, type SQL, sql } from 'drizzle-orm';
import { type PgColumn, PgDialect, type PgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import type { Database, Queryable } from './database.js';
import { connectionOf } from './transactions.js';

export interface Statement {
  text: string;
  params: unknown[];
}

/**
 * Builds the text of a statement once. Drizzle takes longer to build a statement of many columns than this process
 * takes for everything else about it.
 *
 * @param template with `sql.placeholder('name')` for every value
 * @returns a function that takes the values by name
 */
export function statement(template: SQL): (values: Record<string, unknown>) => Statement {
  const { sql: text, params } = new PgDialect().sqlToQuery(template);
  return (values) => ({ text, params: fillPlaceholders(params, values) });
}

/** Timestamps stay text, as the columns of Drizzle expect them. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (id, format) => (id === pg.types.builtins.TIMESTAMPTZ ? String : pg.types.getTypeParser(id, format)),
};

/**
 * Sends a statement. In a transaction, the connection has it before this function returns: the transaction may end
 * without waiting for the result, and COMMIT travels right behind.
 */
export async function sendStatement<Row extends pg.QueryResultRow>(
  { text, params }: Statement,
  db: Queryable,
): Promise<pg.QueryResult<Row>> {
  const connection = connectionOf(db) ?? (db as Database).$client;
  return connection.query({ text, types: TYPES }, params) as Promise<pg.QueryResult<Row>>;
}

type Element = string | number | null;

/** A column of rows: its type, and what of a row stands in it. */
export type Columns<Row> = Record<string, [type: string, read: (row: Row) => Element]>;

/** Rows as a table of a statement whose text is the same however many there are: one array a column. */
export function given<Row>(columns: Columns<Row>): SQL {
  const arrays = Object.entries(columns).map(([name, [type]]) => sql`${sql.placeholder(name)}::${sql.raw(type)}[]`);
  return sql`(SELECT * FROM unnest(${sql.join(arrays, sql`, `)}) AS rows (${namesOf(columns)})) AS given`;
}

/** The names of `given`, in its order; a name that SQL has a use for is told to be one. */
export function namesOf(columns: object): SQL {
  return sql.join(
    Object.keys(columns).map((name) => sql.identifier(name)),
    sql`, `,
  );
}

/** The moment that the values tell as `now`. */
export const NOW = sql`${sql.placeholder('now')}::timestamptz`;

/** The values of `given`. */
export function arraysOf<Row>(columns: Columns<Row>, rows: readonly Row[]): Record<string, string> {
  return Object.fromEntries(Object.entries(columns).map(([name, [, read]]) => [name, arrayOf(rows, read)]));
}

/** As PostgreSQL reads it: `pg` would make the same, in several times the time. */
function arrayOf<Row>(rows: readonly Row[], read: (row: Row) => Element): string {
  return `{${rows.map((row) => elementOf(read(row))).join(',')}}`;
}

function elementOf(value: Element): string {
  if (value === null) return 'NULL';
  if (typeof value === 'number') return String(value);
  return `"${/["\\]/.test(value) ? value.replace(/["\\]/g, '\\$&') : value}"`;
}

/** All columns by their names: a prepared `SELECT *` breaks with the first column that a migration adds. */
export function columnsOf(table: PgTable, alias: string): SQL {
  return sql.raw(
    Object.values(getTableColumns(table))
      .map(({ name }) => `${alias}.${name}`)
      .join(', '),
  );
}

/** Converts rows of `columnsOf` as the table's own queries would. */
export function rowsOf<T extends PgTable>(table: T, rows: Record<string, unknown>[]): InferSelectModel<T>[] {
  const columns = Object.entries(getTableColumns(table));
  const read = (column: PgColumn, value: unknown) => (value === null ? null : column.mapFromDriverValue(value));
  return rows.map((row) =>
    Object.fromEntries(columns.map(([key, column]) => [key, read(column, row[column.name])])),
  ) as InferSelectModel<T>[];
}
