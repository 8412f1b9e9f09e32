import { Inject, Injectable } from '@nestjs/common';
import { and, lt, ne, type SQL, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import {
  arraysOf,
  type Columns,
  columnsOf,
  given,
  namesOf,
  NOW,
  rowsOf,
  sendStatement,
  statement,
} from '../../platform/database/statement.js';
import { QUOTA_KEY } from '../quotas/usage-quotas.repository.js';
import { type QuotaKey, usageQuotas } from '../quotas/usage-quotas.table.js';
import { type UsageHold, usageHolds } from './usage-holds.table.js';

/** Of each kind, so that a scrape costs the same however many holds are open. */
export const MOST_COUNTED_HOLDS = 10_000;

export type HoldKey = Pick<UsageHold, 'ownerId' | 'id'>;

const EXPIRE_HOLDS = statement(sql`UPDATE ${usageHolds} AS h SET status = 'expired', updated_at = ${NOW}
  FROM ${usageQuotas} AS q JOIN ${given(QUOTA_KEY)} ON given.owner_id = q.owner_id AND given.period_start = q.period_start
  WHERE q.held > 0 AND h.owner_id = q.owner_id AND h.period_start = q.period_start AND h.status = 'live' AND h.expires_at <= ${NOW}
  RETURNING h.owner_id, h.period_start, h.tokens`);
const HOLD_KEY: Columns<HoldKey> = { owner_id: ['uuid', (hold) => hold.ownerId], id: ['uuid', (hold) => hold.id] };
const LIST_HOLDS = statement(
  sql`SELECT ${columnsOf(usageHolds, 'h')} FROM ${usageHolds} AS h WHERE (h.owner_id, h.id) IN (SELECT * FROM ${given(HOLD_KEY)})`,
);
const NEW_HOLD: Columns<UsageHold> = {
  ...HOLD_KEY,
  period_start: ['timestamptz', (hold) => hold.periodStart.getTime()],
  tokens: ['bigint', (hold) => hold.tokens],
  model: ['text', (hold) => hold.model],
  actor_user_id: ['uuid', (hold) => hold.actorUserId],
  status: ['hold_status', (hold) => hold.status],
  expires_at: ['timestamptz', (hold) => hold.expiresAt.getTime()],
  event_id: ['text', (hold) => hold.eventId],
};
const INSERT_HOLDS = statement(sql`INSERT INTO ${usageHolds} (${namesOf(NEW_HOLD)}, created_at, updated_at)
  SELECT given.*, ${NOW}, ${NOW} FROM ${given(NEW_HOLD)}`);
const ENDED_HOLD: Columns<UsageHold> = {
  ...HOLD_KEY,
  status: ['hold_status', (hold) => hold.status],
  event_id: ['text', (hold) => hold.eventId],
};
const END_HOLDS = statement(sql`UPDATE ${usageHolds} AS h SET status = given.status, event_id = given.event_id, updated_at = ${NOW}
  FROM ${given(ENDED_HOLD)} WHERE h.owner_id = given.owner_id AND h.id = given.id`);

@Injectable()
export class UsageHoldsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async find(ownerId: string, id: string): Promise<UsageHold | undefined> {
    const [hold] = await this.list([{ ownerId, id }], this.db);
    return hold;
  }

  async list(keys: HoldKey[], db: Queryable): Promise<UsageHold[]> {
    const { rows } = await sendStatement(LIST_HOLDS(arraysOf(HOLD_KEY, keys)), db);
    return rowsOf(usageHolds, rows);
  }

  async insert(holds: UsageHold[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(INSERT_HOLDS({ ...arraysOf(NEW_HOLD, holds), now: at.toISOString() }), db);
  }

  async end(holds: UsageHold[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(END_HOLDS({ ...arraysOf(ENDED_HOLD, holds), now: at.toISOString() }), db);
  }

  /** Marks the expired holds of locked quotas and returns their reserved tokens. */
  async expireOfQuotas(keys: QuotaKey[], at: Date, db: Queryable): Promise<Pick<UsageHold, 'ownerId' | 'periodStart' | 'tokens'>[]> {
    const { rows } = await sendStatement<{ owner_id: string; period_start: string; tokens: string }>(
      EXPIRE_HOLDS({ ...arraysOf(QUOTA_KEY, keys), now: at.toISOString() }),
      db,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, periodStart: new Date(row.period_start), tokens: Number(row.tokens) }));
  }

  /** Locks the quotas of the oldest expired holds. Skips locked quotas: their transaction expires holds itself. */
  async lockExpired(now: Date, limit: number, db: Queryable): Promise<HoldKey[]> {
    const due = sql`SELECT owner_id, period_start, id FROM ${usageHolds} WHERE status = 'live' AND expires_at <= ${now.toISOString()}::timestamptz ORDER BY expires_at LIMIT ${limit}`;
    const { rows } = await db.execute<{ owner_id: string; id: string }>(
      sql`WITH due AS MATERIALIZED (${due}), locked AS MATERIALIZED (
            SELECT owner_id, period_start FROM ${usageQuotas} WHERE (owner_id, period_start) IN (SELECT owner_id, period_start FROM due)
            ORDER BY owner_id, period_start FOR NO KEY UPDATE SKIP LOCKED)
          SELECT owner_id, id FROM due JOIN locked USING (owner_id, period_start)`,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, id: row.id }));
  }

  /** Expires those that are still live and frees their tokens. Their quotas are locked. Returns how many. */
  async expire(holds: HoldKey[], now: Date, db: Queryable): Promise<number> {
    const [ownerIds, ids] = [sql.param(holds.map(({ ownerId }) => ownerId)), sql.param(holds.map(({ id }) => id))];
    const { rows } = await db.execute<{ count: string }>(
      sql`WITH expired AS (
            UPDATE ${usageHolds} AS h SET status = 'expired', updated_at = ${now.toISOString()}::timestamptz
              FROM unnest(${ownerIds}::uuid[], ${ids}::uuid[]) AS given (owner_id, id)
             WHERE h.owner_id = given.owner_id AND h.id = given.id AND h.status = 'live'
            RETURNING h.owner_id, h.period_start, h.tokens),
          sums AS (SELECT owner_id, period_start, sum(tokens) AS tokens FROM expired GROUP BY owner_id, period_start),
          freed AS (
            UPDATE ${usageQuotas} AS q SET held = q.held - sums.tokens, updated_at = ${now.toISOString()}::timestamptz
              FROM sums WHERE q.owner_id = sums.owner_id AND q.period_start = sums.period_start)
          SELECT count(*) AS count FROM expired`,
    );
    return Number(rows[0]!.count);
  }

  async countLive(db: Queryable = this.db): Promise<{ current: number; overdue: number }> {
    const live = (when: SQL) => sql`SELECT FROM ${usageHolds} WHERE status = 'live' AND ${when} LIMIT ${MOST_COUNTED_HOLDS}`;
    const { rows } = await db.execute<{ current: number; overdue: number }>(
      sql`SELECT (SELECT count(*) FROM (${live(sql`expires_at > now()`)}) AS live)::int AS current,
                 (SELECT count(*) FROM (${live(sql`expires_at <= now()`)}) AS live)::int AS overdue`,
    );
    return rows[0]!;
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
