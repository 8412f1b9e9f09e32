import { Inject, Injectable } from '@nestjs/common';
import { and, eq, gt, gte, lte, sql } from 'drizzle-orm';
import { FIRST_ID } from '../../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { organizations } from '../../organizations/organizations.table.js';
import type { OwnerKind } from '../../owners/owner.js';
import type { Range } from '../../platform/time/moments.js';
import { subscriptions } from '../../subscriptions/subscriptions.table.js';
import { usage } from '../events/usage-events.table.js';
import { usageEventIds } from '../events/usage-event-ids.table.js';
import { usageHolds } from '../holds/usage-holds.table.js';
import { usageQuotas } from '../quotas/usage-quotas.table.js';
import { usageRollups } from '../rollups/usage-rollups.table.js';
import {
  actualCounts,
  BOTH_SUMS,
  COLUMNS,
  type ComparedRow,
  type CountsDifference,
  DIFFERS,
  storedCounts,
  within,
  ZEROS,
} from './compared-counts.js';

type HourRow = ComparedRow & { hour: string; model: string; actor_user_id: string | null; is_stored: boolean };

export interface HourDifference extends CountsDifference {
  hour: Date;
}

export interface QuotaCounts {
  used: number;
  overrun: number;
  held: number;
}

/** The quota of a period that has begun and not ended. */
export interface CurrentQuota extends Omit<QuotaCounts, 'held'> {
  ownerId: string;
  ownerKind: OwnerKind;
  periodStart: Date;
  /** Whether a subscription of the owner was written since the period began. */
  subscriptionChanged: boolean;
}

/** Reads the events of an owner and the values derived from them, and repairs these values. */
@Injectable()
export class ComparedUsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** The number of events in the rollups of each hour, sorted by hour. */
  async listHours(ownerId: string, from: Date, db: Queryable): Promise<{ hour: Date; events: number }[]> {
    const rows = await db
      .select({ hour: usageRollups.hour, events: sql<string>`sum(${usageRollups.events})` })
      .from(usageRollups)
      .where(and(eq(usageRollups.ownerId, ownerId), gte(usageRollups.hour, from)))
      .groupBy(usageRollups.hour)
      .orderBy(usageRollups.hour);
    return rows.map(({ hour, events }) => ({ hour, events: Number(events) }));
  }

  async countSealed(ownerId: string, before: Date, db: Queryable): Promise<number> {
    const { rows } = await db.execute<{ events: string }>(
      sql`SELECT coalesce(sum(events), 0) AS events FROM ${usageRollups} WHERE owner_id = ${ownerId} AND hour < ${before.toISOString()}::timestamptz`,
    );
    return Number(rows[0]!.events);
  }

  async compareHours(ownerId: string, range: Range, db: Queryable): Promise<HourDifference[]> {
    const { rows } = await db.execute<HourRow>(
      sql`SELECT * FROM (
            SELECT hour, model, actor_user_id, bool_or(is_stored) AS is_stored, ${BOTH_SUMS} FROM (
              SELECT hour, model, actor_user_id, true AS is_stored, ${COLUMNS} FROM ${usageRollups}
               WHERE owner_id = ${ownerId} AND ${within(sql`hour`, range)}
              UNION ALL
              SELECT date_trunc('hour', occurred_at, 'UTC'), model, actor_user_id, false, ${COLUMNS} FROM (SELECT *, 1 AS events FROM ${usage}) AS events
               WHERE owner_id = ${ownerId} AND ${within(sql`occurred_at`, range)}
            ) AS both_sides GROUP BY hour, model, actor_user_id
          ) AS hours WHERE ${DIFFERS} ORDER BY hour, model, actor_user_id`,
    );
    return rows.map((row) => ({
      hour: new Date(row.hour),
      model: row.model,
      actorUserId: row.actor_user_id,
      stored: row.is_stored ? storedCounts(row) : undefined,
      actual: actualCounts(row),
    }));
  }

  async sumPeriods(
    ownerId: string,
    range: Range,
    db: Queryable,
  ): Promise<{ periodStart: Date; events: number; used: number; overrun: number }[]> {
    const { rows } = await db.execute<Record<'period_start' | 'events' | 'used' | 'overrun', string>>(
      sql`SELECT period_start, count(*) AS events, sum(tokens_used) AS used, sum(overrun) AS overrun FROM ${usage}
           WHERE owner_id = ${ownerId} AND ${within(sql`occurred_at`, range)} GROUP BY period_start`,
    );
    return rows.map((row) => ({
      periodStart: new Date(row.period_start),
      events: Number(row.events),
      used: Number(row.used),
      overrun: Number(row.overrun),
    }));
  }

  async listQuotas(ownerId: string, from: Date, db: Queryable): Promise<(QuotaCounts & { periodStart: Date })[]> {
    const { periodStart, used, overrun, held } = usageQuotas;
    return db
      .select({ periodStart, used, overrun, held })
      .from(usageQuotas)
      .where(and(eq(usageQuotas.ownerId, ownerId), gte(periodStart, from)));
  }

  /** Sorted by owner. */
  async listCurrentQuotas(now: Date, { after = FIRST_ID, limit }: { after?: string; limit: number }): Promise<CurrentQuota[]> {
    const { ownerId, ownerKind, periodStart, periodEnd, used, overrun } = usageQuotas;
    const ofOwner = sql`${subscriptions.ownerId} = ${ownerId} AND ${subscriptions.updatedAt} > ${periodStart}`;
    return this.db
      .select({
        ownerId,
        ownerKind,
        periodStart,
        used,
        overrun,
        subscriptionChanged: sql<boolean>`EXISTS (SELECT FROM ${subscriptions} WHERE ${ofOwner})`,
      })
      .from(usageQuotas)
      .where(and(gt(ownerId, after), lte(periodStart, now), gt(periodEnd, now)))
      .orderBy(ownerId)
      .limit(limit);
  }

  async sumLiveHolds(ownerId: string, from: Date, db: Queryable): Promise<{ periodStart: Date; held: number }[]> {
    const rows = await db
      .select({ periodStart: usageHolds.periodStart, held: sql<string>`sum(${usageHolds.tokens})` })
      .from(usageHolds)
      .where(and(eq(usageHolds.ownerId, ownerId), eq(usageHolds.status, 'live'), gte(usageHolds.periodStart, from)))
      .groupBy(usageHolds.periodStart);
    return rows.map(({ periodStart, held }) => ({ periodStart, held: Number(held) }));
  }

  /** Events that would be recorded a second time: their number, and some of their ids. */
  async findMissingIds(ownerId: string, range: Range, limit: number, db: Queryable): Promise<{ count: number; some: string[] }> {
    const { rows } = await db.execute<{ event_id: string; count: string }>(
      sql`SELECT event_id, count(*) OVER () AS count FROM ${usage} AS u WHERE owner_id = ${ownerId} AND ${within(sql`occurred_at`, range)}
             AND ${HAS_NO_ID} ORDER BY occurred_at, event_id LIMIT ${limit}`,
    );
    return { count: Number(rows[0]?.count ?? 0), some: rows.map((row) => row.event_id) };
  }

  async countIds(
    ownerId: string,
    { after, limit }: { after: string; limit: number },
    db: Queryable,
  ): Promise<{ count: number; last: string | null }> {
    const next = sql`SELECT event_id FROM ${usageEventIds} WHERE owner_id = ${ownerId} AND event_id > ${after} ORDER BY event_id LIMIT ${limit}`;
    const { rows } = await db.execute<{ count: string; last: string | null }>(
      sql`SELECT count(*) AS count, max(event_id) AS last FROM (${next}) AS next_ids`,
    );
    return { count: Number(rows[0]!.count), last: rows[0]!.last };
  }

  /** Two concurrent repairs of an owner would add the difference twice. */
  async lockRepairs(ownerId: string, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`usage_repairs:${ownerId}`}, 0))`);
  }

  /**
   * Adds to a quota. A missing quota is created for one month from its start. If no event names the owner's kind, the
   * owner is an organization if one has this id.
   */
  async addToQuota(ownerId: string, periodStart: Date, { used, overrun, held }: QuotaCounts, now: Date, db: Queryable): Promise<void> {
    const start = sql`${periodStart.toISOString()}::timestamptz`;
    const kind = sql`coalesce((SELECT owner_kind FROM ${usage} WHERE owner_id = ${ownerId} LIMIT 1),
      CASE WHEN EXISTS (SELECT FROM ${organizations} WHERE id = ${ownerId}) THEN 'organization' ELSE 'user' END::owner_kind)`;
    await db.execute(
      sql`INSERT INTO ${usageQuotas} AS q (owner_id, period_start, period_end, owner_kind, used, overrun, held)
          VALUES (${ownerId}, ${start}, (${start} AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC', ${kind}, ${used}, ${overrun}, ${held})
          ON CONFLICT (owner_id, period_start) DO UPDATE SET used = q.used + excluded.used, overrun = q.overrun + excluded.overrun,
            held = q.held + excluded.held, updated_at = ${now.toISOString()}::timestamptz`,
    );
  }

  async deleteEmptyRollups(ownerId: string, hours: Date[], db: Queryable): Promise<void> {
    const given = sql`${sql.param(hours.map((hour) => hour.toISOString()))}::timestamptz[]`;
    await db.execute(sql`DELETE FROM ${usageRollups} WHERE owner_id = ${ownerId} AND hour = ANY (${given}) AND (${COLUMNS}) = (${ZEROS})`);
  }

  /** The content of the events is unknown, so their fingerprint is empty. */
  async insertMissingIds(ownerId: string, from: Date, now: Date, db: Queryable): Promise<void> {
    await db.execute(
      sql`INSERT INTO ${usageEventIds} (owner_id, event_id, fingerprint, created_at)
          SELECT owner_id, event_id, '', ${now.toISOString()}::timestamptz FROM ${usage} AS u
           WHERE owner_id = ${ownerId} AND occurred_at >= ${from.toISOString()}::timestamptz AND ${HAS_NO_ID} ORDER BY event_id
          ON CONFLICT DO NOTHING`,
    );
  }
}

const HAS_NO_ID = sql`NOT EXISTS (SELECT FROM ${usageEventIds} AS i WHERE i.owner_id = u.owner_id AND i.event_id = u.event_id)`;
