import { and, eq, getTableColumns, type InferInsertModel, type InferSelectModel, isNull, type SQL, sql } from 'drizzle-orm';
import type { PgColumn, PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from '../platform/database/database.js';
import { queries, readRows, rowsOf, sendStatement, sendWrite, statement, statementByColumns } from '../platform/database/statement.js';
import { type EventVersion, mayWrite, VERSION, type VersionColumns, versionColumns, versionValues } from './event-version.js';

type SyncedTable = PgTable & VersionColumns & Record<'id' | 'deletedAt', PgColumn>;

type Changes = Record<string, unknown>;

const PROVIDER_ID = sql.placeholder('providerId');
const ROW_ID = sql.placeholder('rowId');

/** Rows that follow the objects of a provider: finds and locks them by its id, and writes them if an event is newer. */
export class SyncedRows<T extends SyncedTable> {
  private readonly findStatement;
  private readonly findWithOrderStatement;
  private readonly lockStatement;
  private readonly insertStatement;
  private readonly updateStatement;
  private readonly updateIfNewerStatement;
  private readonly updateIfClaimedStatement;

  /** @param claimed the column with a name that only one row may have, and the column with what the provider claims */
  constructor(
    private readonly table: T,
    { providerId, claimed }: { providerId: PgColumn; claimed: [PgColumn, PgColumn] },
  ) {
    const plain: PgTable = table;
    const hasProviderId = eq(providerId, PROVIDER_ID);
    this.findStatement = statement(queries.select().from(plain).where(hasProviderId));
    this.findWithOrderStatement = statement(
      queries
        .select({ ...getTableColumns(plain), isNewer: mayWrite(VERSION, table).as('is_newer') })
        .from(plain)
        .where(hasProviderId),
    );
    this.lockStatement = statement(queries.select().from(plain).where(hasProviderId).for('no key update'));
    this.insertStatement = statementByColumns<Changes>((row) =>
      queries.insert(plain).values(row).onConflictDoNothing({ target: providerId }).returning(),
    );
    this.updateStatement = statementByColumns<Changes>((changes) => queries.update(plain).set(changes).where(eq(table.id, ROW_ID)));
    const claim = sql.placeholder('claim');
    this.updateIfNewerStatement = updateSyncedRow(table);
    this.updateIfClaimedStatement = updateSyncedRow(
      table,
      sql`(${claimed[0]}, ${claimed[1]}) IS NOT DISTINCT FROM (${claim}::text, ${claim}::text)`,
    );
  }

  async find(providerId: string, db: Queryable): Promise<InferSelectModel<T> | undefined> {
    return (await readRows(this.table, this.findStatement({ providerId }), db))[0];
  }

  /** Finds a row, tombstones included, and whether an event with this version is newer. */
  async findWithOrder(
    providerId: string,
    version: EventVersion,
    db: Queryable,
  ): Promise<{ row: InferSelectModel<T>; isNewer: boolean } | undefined> {
    const query = this.findWithOrderStatement({ providerId, ...versionValues(version) });
    const { rows } = await sendStatement<{ is_newer: boolean }>(query, db);
    const [row] = rowsOf(this.table, rows);
    return row && { row, isNewer: rows[0]!.is_newer };
  }

  async lock(providerId: string, db: Queryable): Promise<InferSelectModel<T> | undefined> {
    return (await readRows(this.table, this.lockStatement({ providerId }), db))[0];
  }

  /** Returns undefined if the row exists. */
  async insert(row: InferInsertModel<T>, db: Queryable): Promise<InferSelectModel<T> | undefined> {
    return (await readRows(this.table, this.insertStatement(row), db))[0];
  }

  /** Returns undefined when a newer event has written the row, it is deleted, or its name is not the claimed one. */
  async updateIfNewer(
    id: string,
    changes: Partial<InferInsertModel<T>>,
    { version, claim }: { version: EventVersion; claim?: string | null },
    db: Queryable,
  ): Promise<InferSelectModel<T> | undefined> {
    const update = claim === undefined ? this.updateIfNewerStatement : this.updateIfClaimedStatement;
    return (await readRows(this.table, update(changes, { rowId: id, claim, ...versionValues(version) }), db))[0];
  }

  async update(id: string, changes: Partial<InferInsertModel<T>>, db: Queryable): Promise<void> {
    await sendWrite(this.updateStatement(changes, { rowId: id }), db);
  }
}

function updateSyncedRow(table: SyncedTable, condition?: SQL) {
  const plain: PgTable = table;
  return statementByColumns<Changes>((changes) =>
    queries
      .update(plain)
      .set({ ...changes, ...versionColumns(VERSION) })
      .where(and(eq(table.id, ROW_ID), isNull(table.deletedAt), mayWrite(VERSION, table), condition))
      .returning(),
  );
}
