import { Inject, Injectable } from '@nestjs/common';
import { and, eq, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
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
import { usage } from '../events/usage-events.table.js';
import { usageHolds } from '../holds/usage-holds.table.js';
import { type QuotaKey, type UsageQuota, usageQuotas } from './usage-quotas.table.js';

export type QuotaUsage = Pick<UsageQuota, 'used' | 'overrun' | 'held'>;

/** Another quota of the same owner that may have counted usage of this period. */
export interface QuotaOverlap {
  ownerId: string;
  /** The start of the period that counted it. */
  from: Date;
  /** The start of the period it belongs to. */
  to: Date;
}

export const QUOTA_KEY: Columns<QuotaKey> = {
  owner_id: ['uuid', (key) => key.ownerId],
  period_start: ['timestamptz', (key) => key.periodStart.getTime()],
};
const NEW_QUOTA: Columns<QuotaKey> = {
  ...QUOTA_KEY,
  period_end: ['timestamptz', (key) => key.periodEnd.getTime()],
  owner_kind: ['owner_kind', (key) => key.ownerKind],
};
const INSERT_QUOTAS = statement(sql`INSERT INTO ${usageQuotas} (owner_id, period_start, period_end, owner_kind)
  SELECT * FROM ${given(NEW_QUOTA)} ORDER BY owner_id, period_start ON CONFLICT DO NOTHING`);
const LIST_OVERLAPPING = statement(sql`SELECT given.owner_id, given.period_start AS new_start, q.period_start FROM ${given(NEW_QUOTA)}
  JOIN ${usageQuotas} AS q ON q.owner_id = given.owner_id AND q.period_start <> given.period_start
   AND q.period_start < given.period_end AND q.period_end > given.period_start
  WHERE q.used > 0 OR q.held > 0`);
// LATERAL locks the rows one after the other in the order of their key.
const LOCK_QUOTAS =
  statement(sql`SELECT ${columnsOf(usageQuotas, 'q')} FROM (SELECT * FROM ${given(QUOTA_KEY)} ORDER BY owner_id, period_start) AS given
  CROSS JOIN LATERAL (SELECT * FROM ${usageQuotas} AS q WHERE q.owner_id = given.owner_id AND q.period_start = given.period_start FOR NO KEY UPDATE) AS q`);
const CHANGED_QUOTA: Columns<UsageQuota> = {
  ...NEW_QUOTA,
  used: ['bigint', (quota) => quota.used],
  overrun: ['bigint', (quota) => quota.overrun],
  held: ['bigint', (quota) => quota.held],
  alerted: ['smallint', (quota) => quota.alerted],
  requests_owed: ['float8', (quota) => quota.requestsOwed],
  tokens_owed: ['float8', (quota) => quota.tokensOwed],
  owed_at: ['float8', (quota) => quota.owedAt],
};
// The rows exist and are locked. As an upsert, the planner must find them by their key, whatever its statistics say.
const UPDATE_QUOTAS = statement(sql`INSERT INTO ${usageQuotas} (${namesOf(CHANGED_QUOTA)}) SELECT * FROM ${given(CHANGED_QUOTA)}
  ON CONFLICT (owner_id, period_start) DO UPDATE SET used = excluded.used, overrun = excluded.overrun, held = excluded.held,
    alerted = excluded.alerted, requests_owed = excluded.requests_owed, tokens_owed = excluded.tokens_owed, owed_at = excluded.owed_at, updated_at = ${NOW}`);

@Injectable()
export class UsageQuotasRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(keys: QuotaKey[], db: Queryable = this.db): Promise<void> {
    await sendStatement(INSERT_QUOTAS(arraysOf(NEW_QUOTA, keys)), db);
  }

  async lock(keys: QuotaKey[], db: Queryable): Promise<UsageQuota[]> {
    const { rows } = await sendStatement(LOCK_QUOTAS(arraysOf(QUOTA_KEY, keys)), db);
    return rowsOf(usageQuotas, rows);
  }

  async update(quotas: UsageQuota[], at: Date, db: Queryable): Promise<void> {
    await sendStatement(UPDATE_QUOTAS({ ...arraysOf(CHANGED_QUOTA, quotas), now: at.toISOString() }), db);
  }

  /** Quotas of the same owners with overlapping periods and counted usage. */
  async listOverlapping(keys: QuotaKey[]): Promise<QuotaOverlap[]> {
    const { rows } = await sendStatement<{ owner_id: string; new_start: string; period_start: string }>(
      LIST_OVERLAPPING(arraysOf(NEW_QUOTA, keys)),
      this.db,
    );
    return rows.map((row) => ({ ownerId: row.owner_id, to: new Date(row.new_start), from: new Date(row.period_start) }));
  }

  /** Moves the usage and holds of a period out of the quota that counted them. Both quotas are locked. */
  async moveUsage({ ownerId, from, to }: QuotaOverlap, end: Date, db: Queryable): Promise<void> {
    const [fromStart, toStart, toEnd] = [from, to, end].map((time) => sql`${time.toISOString()}::timestamptz`);
    const isIn = (column: string) => sql`${sql.raw(column)} >= ${toStart} AND ${sql.raw(column)} < ${toEnd}`;
    const change = (sign: '+' | '-') =>
      sql.raw(['used', 'overrun', 'held'].map((name) => `${name} = q.${name} ${sign} sums.${name}`).join(', '));
    await db.execute(
      sql`WITH events AS (
            UPDATE ${usage} SET period_start = ${toStart} WHERE owner_id = ${ownerId} AND ${isIn('occurred_at')} AND period_start = ${fromStart}
            RETURNING tokens_used, overrun),
          holds AS (
            UPDATE ${usageHolds} SET period_start = ${toStart} WHERE owner_id = ${ownerId} AND ${isIn('created_at')} AND period_start = ${fromStart}
            RETURNING status, tokens),
          sums AS (
            SELECT coalesce(sum(tokens_used), 0) AS used, coalesce(sum(overrun), 0) AS overrun,
                   (SELECT coalesce(sum(tokens), 0) FROM holds WHERE status = 'live') AS held FROM events),
          given AS (
            UPDATE ${usageQuotas} AS q SET ${change('+')} FROM sums WHERE owner_id = ${ownerId} AND period_start = ${toStart})
          UPDATE ${usageQuotas} AS q SET ${change('-')}, period_end = CASE WHEN period_start < ${toStart} THEN least(period_end, ${toStart}) ELSE period_end END
            FROM sums WHERE owner_id = ${ownerId} AND period_start = ${fromStart}`,
    );
  }

  /** Without the tokens of holds that have expired. */
  async list(ownerId: string, starts: Date[], now: Date): Promise<(QuotaUsage & { periodStart: Date })[]> {
    const expired = sql`SELECT coalesce(sum(tokens), 0) FROM ${usageHolds} AS h
      WHERE h.owner_id = ${usageQuotas.ownerId} AND h.period_start = ${usageQuotas.periodStart} AND h.status = 'live' AND h.expires_at <= ${now.toISOString()}::timestamptz`;
    const { periodStart, used, overrun, held } = usageQuotas;
    const rows = await this.db
      .select({ periodStart, used, overrun, held: sql<string>`${held} - (${expired})` })
      .from(usageQuotas)
      .where(and(eq(usageQuotas.ownerId, ownerId), isOneOf(periodStart, starts)));
    return rows.map((row) => ({ ...row, held: Number(row.held) }));
  }
}
