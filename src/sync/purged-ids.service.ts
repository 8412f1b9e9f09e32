import { Inject, Injectable } from '@nestjs/common';
import { and, eq, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { queries, sendStatement, statement } from '../platform/database/statement.js';
import { purgedIds } from './purged-ids.table.js';

export type PurgedKind = 'user' | 'organization' | 'membership' | 'invitation';

export interface PurgedRows {
  kind: PurgedKind;
  id: PgColumn;
  externalId: PgColumn;
  which: SQL;
}

const FIND = statement(
  queries
    .select({ externalId: purgedIds.externalId })
    .from(purgedIds)
    .where(
      and(
        eq(purgedIds.provider, sql.placeholder('provider')),
        eq(purgedIds.kind, sql.placeholder('kind')),
        eq(purgedIds.externalId, sql.placeholder('externalId')),
      ),
    ),
);

/** Stores the provider ids of purged rows, so that a replay years later does not create them again. */
@Injectable()
export class PurgedIds {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Local rows have no provider id: nulls are skipped. */
  async add(provider: string, kind: PurgedKind, ids: (string | null)[], db: Queryable): Promise<void> {
    await db.execute(this.insert(provider, kind, sql`unnest(${sql.param(ids)}::text[]) AS given (external_id)`));
  }

  /** Removes at most `limit` rows and stores their provider ids. Returns the number of rows. */
  async remove(provider: string, { kind, id, externalId, which }: PurgedRows, limit: number, db: Queryable): Promise<number> {
    const some = sql`SELECT ${id} FROM ${id.table} WHERE ${which} LIMIT ${limit} FOR UPDATE`;
    const { rows } = await db.execute<{ count: number }>(sql`
      WITH removed AS (DELETE FROM ${id.table} WHERE ${id} IN (${some}) RETURNING ${externalId} AS external_id),
           stored AS (${this.insert(provider, kind, sql`removed`)})
      SELECT count(*)::int AS count FROM removed`);
    return rows[0]!.count;
  }

  async has(provider: string, kind: PurgedKind, externalId: string, db: Queryable = this.db): Promise<boolean> {
    const { rows } = await sendStatement(FIND({ provider, kind, externalId }), db);
    return rows.length > 0;
  }

  private insert(provider: string, kind: PurgedKind, source: SQL): SQL {
    return sql`INSERT INTO ${purgedIds} (provider, kind, external_id)
      SELECT ${provider}, ${kind}, external_id FROM ${source} WHERE external_id IS NOT NULL ON CONFLICT DO NOTHING`;
  }
}
