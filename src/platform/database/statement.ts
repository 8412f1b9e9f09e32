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
 * Builds the text of a statement once: for many columns, Drizzle takes longer to build it than everything else takes.
 * @param template with `sql.placeholder('name')` for every value
 */
export function statement(template: SQL): (values: Record<string, unknown>) => Statement {
  const { sql: text, params } = new PgDialect().sqlToQuery(template);
  return (values) => ({ text, params: fillPlaceholders(params, values) });
}

/** Timestamps stay text, as the columns of Drizzle expect them. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (id, format) => (id === pg.types.builtins.TIMESTAMPTZ ? String : pg.types.getTypeParser(id, format)),
};

/** In a transaction, the statement is sent before this function returns, so COMMIT can follow without waiting. */
export async function sendStatement<Row extends pg.QueryResultRow>(
  { text, params }: Statement,
  db: Queryable,
): Promise<pg.QueryResult<Row>> {
  const connection = connectionOf(db) ?? (db as Database).$client;
  return connection.query({ text, types: TYPES }, params) as Promise<pg.QueryResult<Row>>;
}

type Element = string | number | null;

/** For each column, its type and how to read its value from a row. */
export type Columns<Row> = Record<string, [type: string, read: (row: Row) => Element]>;

/** Rows as a table in a statement of constant text: one array parameter for each column. */
export function given<Row>(columns: Columns<Row>): SQL {
  const arrays = Object.entries(columns).map(([name, [type]]) => sql`${sql.placeholder(name)}::${sql.raw(type)}[]`);
  return sql`(SELECT * FROM unnest(${sql.join(arrays, sql`, `)}) AS rows (${namesOf(columns)})) AS given`;
}

/** The column names of `given`, in its order and quoted. */
export function namesOf(columns: object): SQL {
  return sql.join(
    Object.keys(columns).map((name) => sql.identifier(name)),
    sql`, `,
  );
}

export const NOW = sql`${sql.placeholder('now')}::timestamptz`;

export function arraysOf<Row>(columns: Columns<Row>, rows: readonly Row[]): Record<string, string> {
  return Object.fromEntries(Object.entries(columns).map(([name, [, read]]) => [name, arrayOf(rows, read)]));
}

/** In the text form of PostgreSQL. `pg` would make the same, several times slower. */
function arrayOf<Row>(rows: readonly Row[], read: (row: Row) => Element): string {
  return `{${rows.map((row) => elementOf(read(row))).join(',')}}`;
}

function elementOf(value: Element): string {
  if (value === null) return 'NULL';
  if (typeof value === 'number') return String(value);
  return `"${/["\\]/.test(value) ? value.replace(/["\\]/g, '\\$&') : value}"`;
}

/** All columns by name: a prepared `SELECT *` breaks when a migration adds a column. */
export function columnsOf(table: PgTable, alias: string): SQL {
  return sql.raw(
    Object.values(getTableColumns(table))
      .map(({ name }) => `${alias}.${name}`)
      .join(', '),
  );
}

export function rowsOf<T extends PgTable>(table: T, rows: Record<string, unknown>[]): InferSelectModel<T>[] {
  const columns = Object.entries(getTableColumns(table));
  const read = (column: PgColumn, value: unknown) => (value === null ? null : column.mapFromDriverValue(value));
  return rows.map((row) =>
    Object.fromEntries(columns.map(([key, column]) => [key, read(column, row[column.name])])),
  ) as InferSelectModel<T>[];
}
