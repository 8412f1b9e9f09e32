import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { FIRST_ID } from '../platform/crypto/ids.js';
import { DATABASE, type Database } from '../platform/database/database.js';
import type { RowCheck } from './row-checks.js';

const BATCH = 2000;

export interface BrokenRow {
  id: string;
  details: string;
}

@Injectable()
export class VerificationRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Each statement sees one moment and reads at most one batch of the table, beside any traffic. */
  async *listBroken({ table, among = 'true', broken, details }: RowCheck, signal?: AbortSignal): AsyncGenerator<BrokenRow, void> {
    for (let after: string | undefined = FIRST_ID; after !== undefined;) {
      signal?.throwIfAborted();
      const { rows }: { rows: { id: string; details: string | null; is_last: boolean }[] } = await this.db.execute(sql`
        WITH t AS MATERIALIZED (
          SELECT t.* FROM ${sql.identifier(table)} t WHERE t.id > ${after}::uuid AND (${sql.raw(among)}) ORDER BY t.id LIMIT ${BATCH})
        SELECT t.id, ${sql.raw(details)} AS details, false AS is_last FROM t WHERE ${sql.raw(broken)}
        UNION ALL (SELECT t.id, NULL, true FROM t ORDER BY t.id DESC LIMIT 1)`);
      for (const { id, details: why, is_last: isLast } of rows) if (!isLast) yield { id, details: why! };
      after = rows.find((row) => row.is_last)?.id;
    }
  }
}
