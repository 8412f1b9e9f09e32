import { getTableColumns, type InferSelectModel, type Placeholder, type SQL, sql } from 'drizzle-orm';
import { type PgColumn, PgDialect, type PgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { binaryArray, type Element } from './statements/binary-arrays.js';
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
  const names = params.map((param) => (param as Placeholder).name);
  return (values) => ({ text, params: names.map((name) => values[name]) });
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

/**
 * Waits for statements that were sent together, given in their order. Rejects with the failure of the first that
 * failed: those behind it only say that the transaction is aborted.
 */
export async function allInOrder<const T extends readonly unknown[]>(sent: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const results = await Promise.allSettled(sent);
  const failed = results.find(({ status }) => status === 'rejected');
  // Each has settled, so this only takes the values out.
  return failed === undefined ? Promise.all(sent) : Promise.reject((failed as PromiseRejectedResult).reason as Error);
}

/** For each column, its type and how to read its value from a row: times in milliseconds since 1970, bytes as hexadecimal text. */
export type Columns<Row> = Record<string, [type: string, read: (row: Row) => Element]>;

/** Rows as a table in a statement of constant text: one array parameter for each column. */
export function given<Row>(columns: Columns<Row>): SQL {
  // In the select list, because in FROM each array would first fill a table of its own.
  const arrays = Object.entries(columns).map(
    ([name, [type]]) => sql`unnest(${sql.placeholder(name)}::${sql.raw(type)}[]) AS ${sql.identifier(name)}`,
  );
  return sql`(SELECT ${sql.join(arrays, sql`, `)}) AS given`;
}

/** The column names of `given`, in its order and quoted. */
export function namesOf(columns: object): SQL {
  return sql.join(
    Object.keys(columns).map((name) => sql.identifier(name)),
    sql`, `,
  );
}

export const NOW = sql`${sql.placeholder('now')}::timestamptz`;

export function arraysOf<Row>(columns: Columns<Row>, rows: readonly Row[]): Record<string, Buffer | string> {
  const arrays: Record<string, Buffer | string> = {};
  for (const name in columns) {
    const [type, read] = columns[name]!;
    arrays[name] = binaryArray(type, rows, read) ?? arrayOf(rows, read);
  }
  return arrays;
}

/** In the text format of PostgreSQL. `pg` would make the same, several times slower. */
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
