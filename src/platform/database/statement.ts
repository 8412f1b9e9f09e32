import { getTableColumns, type InferSelectModel, is, Param, Placeholder, type SQL, sql, type SQLWrapper } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { PgDialect, type PgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { binaryArray, type Element } from './statements/binary-arrays.js';
import type { Database, Queryable } from './database.js';
import { connectionOf } from './transactions.js';

export interface Statement {
  /** Outside of transactions, it is prepared on the shared connections, and must be short. */
  name?: string;
  text: string;
  params: unknown[];
}

type Values = Record<string, unknown>;

/** Drizzle's query builder, for the templates of statements. It cannot run them. */
export const queries = drizzle.mock();

/**
 * Builds the text of a statement once: for many columns, Drizzle takes longer to build it than everything else takes.
 * @param template with `sql.placeholder('name')` for every value
 */
export function statement(template: SQLWrapper, name?: string): (values: Values) => Statement {
  const { sql: text, params } = new PgDialect().sqlToQuery(template.getSQL());
  const readers = params.map(readerOf);
  return (values) => ({ name, text, params: readers.map((read) => read(values)) });
}

/** For rows with some of the columns: one statement for each set of columns. Undefined values are left out. */
export function statementByColumns<Row extends object>(build: (row: Row) => SQLWrapper): (row: Row, others?: Values) => Statement {
  const built = new Map<string, (values: Values) => Statement>();
  return (row, others) => {
    const values: Values = { ...others };
    const names = Object.keys(row).filter((name) => (values[name] = row[name as keyof Row]) !== undefined);
    const key = names.join();
    let fill = built.get(key);
    if (fill === undefined) {
      fill = statement(build(Object.fromEntries(names.map((name) => [name, sql.placeholder(name)])) as Row));
      built.set(key, fill);
    }
    return fill(values);
  };
}

function readerOf(param: unknown): (values: Values) => unknown {
  if (is(param, Placeholder)) return ({ [param.name]: value }) => value;
  if (!is(param, Param) || !is(param.value, Placeholder)) return () => param;
  const { encoder, value: placeholder } = param;
  // Drizzle's encoders fail for null.
  return ({ [placeholder.name]: value }) => (value == null ? null : encoder.mapToDriverValue(value));
}

/** Timestamps stay text, as the columns of Drizzle expect them. */
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (id, format) => (id === pg.types.builtins.TIMESTAMPTZ ? String : pg.types.getTypeParser(id, format)),
};

/** In a transaction, the statement is sent before this function returns, so COMMIT can follow without waiting. */
export async function sendStatement<Row extends pg.QueryResultRow>(
  { params, ...query }: Statement,
  db: Queryable,
): Promise<pg.QueryResult<Row>> {
  const connection = connectionOf(db) ?? (db as Database).$client;
  return connection.query({ ...query, types: TYPES }, params) as Promise<pg.QueryResult<Row>>;
}

/**
 * Sends a statement that returns nothing. A transaction does not wait for it: COMMIT does, and fails with it. So the
 * statements behind it travel together with it.
 */
export async function sendWrite(write: Statement, db: Queryable): Promise<void> {
  const sent = sendStatement(write, db);
  const connection = connectionOf(db);
  if (connection === undefined || connection.isOver) await sent;
  else connection.defer(sent);
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
  return rows.map((row) => {
    const read: Record<string, unknown> = {};
    for (const [key, column] of columns) {
      const value = row[column.name];
      read[key] = value === null ? null : column.mapFromDriverValue(value);
    }
    return read as InferSelectModel<T>;
  });
}

export async function readRows<T extends PgTable>(table: T, query: Statement, db: Queryable): Promise<InferSelectModel<T>[]> {
  const { rows } = await sendStatement(query, db);
  return rowsOf(table, rows);
}
