import { Inject, Injectable } from '@nestjs/common';
import { and, lt, ne, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { usageHolds } from './usage-holds.table.js';
import { usageQuotas } from '../quotas/usage-quotas.table.js';

/** The holds that nobody ends. */
@Injectable()
export class HeldUsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /**
   * Locks the quotas of the holds that have been over for longest. Passes over those that somebody is writing to,
   * who looks for such holds too.
   *
   * @returns ids of the holds
   */
  async lockExpired(now: Date, limit: number, db: Queryable): Promise<{ ownerId: string; id: string }[]> {
    const due = sql`SELECT owner_id, period_start, id FROM ${usageHolds} WHERE status = 'live' AND expires_at <= ${now.toISOString()}::timestamptz ORDER BY expires_at LIMIT ${limit}`;
    const { rows } = await db.execute<{ owner_id: string; id: string }>(
      sql`WITH due AS MATERIALIZED (${due}), locked AS MATERIALIZED (
            SELECT owner_id, period_start FROM ${usageQuotas} WHERE (owner_id, period_start) IN (SELECT owner_id, period_start FROM due)
            ORDER BY owner_id, period_start FOR NO KEY UPDATE SKIP LOCKED)
          SELECT owner_id, id FROM due JOIN locked USING (owner_id, period_start)`,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, id: row.id }));
  }

  /** Ends those of them that are still live, and gives back what they held. Their quotas are locked. Answers how many. */
  async expire(holds: { ownerId: string; id: string }[], now: Date, db: Queryable): Promise<number> {
    const [ownerIds, ids] = [sql.param(holds.map(({ ownerId }) => ownerId)), sql.param(holds.map(({ id }) => id))];
    const { rows } = await db.execute<{ count: string }>(
      sql`WITH expired AS (
            UPDATE ${usageHolds} AS h SET status = 'expired', updated_at = ${now.toISOString()}::timestamptz
              FROM unnest(${ownerIds}::uuid[], ${ids}::uuid[]) AS given (owner_id, id)
             WHERE h.owner_id = given.owner_id AND h.id = given.id AND h.status = 'live'
            RETURNING h.owner_id, h.period_start, h.tokens),
          sums AS (SELECT owner_id, period_start, sum(tokens) AS tokens FROM expired GROUP BY owner_id, period_start),
          given_back AS (
            UPDATE ${usageQuotas} AS q SET held = q.held - sums.tokens, updated_at = ${now.toISOString()}::timestamptz
              FROM sums WHERE q.owner_id = sums.owner_id AND q.period_start = sums.period_start)
          SELECT count(*) AS count FROM expired`,
    );
    return Number(rows[0]!.count);
  }

  async deleteEnded(before: Date, limit: number, db: Queryable = this.db): Promise<number> {
    const old = db
      .select({ ownerId: usageHolds.ownerId, id: usageHolds.id })
      .from(usageHolds)
      .where(and(ne(usageHolds.status, 'live'), lt(usageHolds.updatedAt, before)))
      .orderBy(usageHolds.updatedAt)
      .limit(limit);
    const { rowCount } = await db.delete(usageHolds).where(sql`(${usageHolds.ownerId}, ${usageHolds.id}) IN (${old})`);
    return rowCount ?? 0;
  }
}
