import { Inject, Injectable } from '@nestjs/common';
import { asc, lt, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { isOneOf } from '../platform/database/statements/lists.js';
import type { JournalPosition } from './journal-files.js';
import { revocationJournals, revocations } from './revocations.table.js';

export type WaitingRevocation = typeof revocations.$inferSelect;

@Injectable()
export class RevocationsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async isEmpty(): Promise<boolean> {
    return (await this.db.select({ id: revocations.id }).from(revocations).limit(1)).length === 0;
  }

  /** One process writes the journal at a time. Returns whether it is this one, until the transaction ends. */
  async tryLock(db: Queryable): Promise<boolean> {
    const { rows } = await db.execute<{ locked: boolean }>(
      sql`SELECT pg_try_advisory_xact_lock(hashtextextended('revocation_journal', 0)) AS locked`,
    );
    return rows[0]!.locked;
  }

  async list(limit: number, db: Queryable): Promise<WaitingRevocation[]> {
    return db.select().from(revocations).orderBy(asc(revocations.id)).limit(limit);
  }

  /** Only the given rows: one with a smaller id may commit later. */
  async remove(ids: bigint[], db: Queryable): Promise<void> {
    await db.delete(revocations).where(isOneOf(revocations.id, ids));
  }

  async findPosition(db: Queryable = this.db): Promise<JournalPosition | undefined> {
    const [row] = await db.select({ journalId: revocationJournals.id, last: revocationJournals.lastNumber }).from(revocationJournals);
    return row;
  }

  async savePosition({ journalId, last }: JournalPosition, db: Queryable): Promise<void> {
    const position = { lastNumber: last, writtenAt: sql`now()` };
    await db
      .insert(revocationJournals)
      .values({ id: journalId, ...position })
      .onConflictDoUpdate({ target: revocationJournals.id, set: position });
  }

  async oldestAgeSeconds(): Promise<number> {
    const { rows } = await this.db.execute<{ seconds: number }>(
      sql`SELECT extract(epoch FROM clock_timestamp() - created_at)::float8 AS seconds FROM ${revocations} ORDER BY id LIMIT 1`,
    );
    return Math.max(0, rows[0]?.seconds ?? 0);
  }

  async deleteBefore(before: Date, limit: number): Promise<number> {
    const old = this.db.select({ id: revocations.id }).from(revocations).where(lt(revocations.createdAt, before)).limit(limit);
    const { rowCount } = await this.db.delete(revocations).where(sql`${revocations.id} IN (${old})`);
    return rowCount ?? 0;
  }
}
