import { Inject, Injectable } from '@nestjs/common';
import { and, eq, isNull, lt, ne, not, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { outbox } from './outbox.table.js';

export interface ClaimedEntry {
  id: string;
  kind: string;
  payload: string;
  attempts: number;
  traceparent: string | null;
}

const isDead = sql`${outbox.nextAttemptAt} IS NULL AND ${outbox.doneAt} IS NULL`;

@Injectable()
export class OutboxRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(
    kind: string,
    entries: { id: string; payload: string }[],
    traceparent: string | null,
    db: Queryable = this.db,
  ): Promise<void> {
    const [ids, payloads] = [entries.map(({ id }) => id), entries.map(({ payload }) => payload)];
    await db.execute(
      sql`INSERT INTO ${outbox} (id, kind, payload, traceparent) SELECT id, ${kind}, payload, ${traceparent}::text
          FROM unnest(${sql.param(ids)}::uuid[], ${sql.param(payloads)}::text[]) AS given (id, payload)`,
    );
  }

  /** Leases due entries. The attempt counts at once, even if the process dies. */
  async claim(limit: number, leaseSeconds: number, db: Queryable = this.db): Promise<ClaimedEntry[]> {
    const due = sql`SELECT ${outbox.id} FROM ${outbox} WHERE ${outbox.nextAttemptAt} <= now() ORDER BY ${outbox.nextAttemptAt} LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    return db
      .update(outbox)
      .set({ attempts: sql`${outbox.attempts} + 1`, nextAttemptAt: sql`now() + ${leaseSeconds} * interval '1 second'` })
      .where(sql`${outbox.id} IN (${due})`)
      .returning({ id: outbox.id, kind: outbox.kind, payload: outbox.payload, attempts: outbox.attempts, traceparent: outbox.traceparent });
  }

  /** Keeps the row and erases its content. */
  async markDone(id: string, db: Queryable = this.db): Promise<void> {
    await db
      .update(outbox)
      .set({ doneAt: sql`now()`, nextAttemptAt: null, payload: '', lastError: null })
      .where(eq(outbox.id, id));
  }

  /** @param retryInSeconds null for an entry without attempts left */
  async markFailed(id: string, error: string, retryInSeconds: number | null, db: Queryable = this.db): Promise<void> {
    const nextAttemptAt = retryInSeconds === null ? null : sql`now() + ${retryInSeconds} * interval '1 second'`;
    await db
      .update(outbox)
      .set({ lastError: error, nextAttemptAt })
      .where(and(eq(outbox.id, id), isNull(outbox.doneAt)));
  }

  async lockUnderOlderKeys(keyId: string, limit: number, db: Queryable): Promise<{ id: string; payload: string }[]> {
    return db
      .select({ id: outbox.id, payload: outbox.payload })
      .from(outbox)
      .where(and(ne(outbox.payload, ''), not(sql`starts_with(${outbox.payload}, ${`${keyId}.`})`)))
      .limit(limit)
      .for('update');
  }

  async updatePayload(id: string, payload: string, db: Queryable): Promise<void> {
    await db.update(outbox).set({ payload }).where(eq(outbox.id, id));
  }

  async requeueDead(limit: number, db: Queryable = this.db): Promise<number> {
    const some = db.select({ id: outbox.id }).from(outbox).where(isDead).limit(limit).for('update', { skipLocked: true });
    const { rowCount } = await db
      .update(outbox)
      .set({ nextAttemptAt: sql`now()`, attempts: 0 })
      .where(sql`${outbox.id} IN (${some})`);
    return rowCount ?? 0;
  }

  async count(db: Queryable = this.db): Promise<{ pending: number; dead: number }> {
    // Apart, so that each uses its own partial index.
    const { rows } = await db.execute<{ pending: number; dead: number }>(
      sql`SELECT (SELECT count(*) FROM ${outbox} WHERE next_attempt_at IS NOT NULL)::int AS pending,
                 (SELECT count(*) FROM ${outbox} WHERE ${isDead})::int AS dead`,
    );
    return rows[0]!;
  }

  async deleteDone(before: Date, limit: number, db: Queryable = this.db): Promise<number> {
    const old = db.select({ id: outbox.id }).from(outbox).where(lt(outbox.doneAt, before)).limit(limit).for('update', { skipLocked: true });
    const { rowCount } = await db.delete(outbox).where(sql`${outbox.id} IN (${old})`);
    return rowCount ?? 0;
  }
}
