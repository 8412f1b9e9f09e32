import { Inject, Injectable } from '@nestjs/common';
import { gte, lt, type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import type { Range } from '../../platform/time/moments.js';
import { userMerges } from '../../users/user-merges.table.js';
import { usage } from '../events/usage-events.table.js';
import { retentionWatermark } from '../partitions/retention-watermark.table.js';
import { usageModelRollups, usageMonthRollups, usageRollups } from '../rollups/usage-rollups.table.js';
import { cutAtMonths, partialHours, type PartialHour } from '../rollups/rollup-spans.js';
import type { UsageSlice } from './usage-summary.js';

export interface SumsQuery extends Range {
  /** Starts of the segments; the first one is `from`. */
  segments: Date[];
  byModel: boolean;
  byUser: boolean;
}

@Injectable()
export class SummedUsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /**
   * Sums rollups, and single events only in hours that a segment boundary cuts. After retention has dropped the events,
   * such an hour counts as a whole. A single statement, so that a concurrent drop cannot be half visible.
   */
  async sumUp(ownerIds: string[], { from, to, segments, byModel, byUser }: SumsQuery, limit: number): Promise<UsageSlice[]> {
    const range = { from, to };
    const boundaries = [...segments, to];
    const cuts = partialHours(boundaries, range);
    const rollups = byUser ? selectByUser(ownerIds, boundaries) : [selectByModel(ownerIds, range)];
    const parts =
      cuts.length === 0
        ? rollups
        : [...rollups.map((part) => sql`${part} AND hour NOT IN (SELECT hour FROM cuts)`), selectCutEvents(ownerIds, range)];
    const { rows } = await this.db.execute<SumsRow>(sql`
      ${cuts.length === 0 ? sql`` : withPartialHours(cuts)}
      SELECT segment, model, ${byUser ? personOf(sql`actor_user_id`) : sql`NULL::uuid`} AS user_id, events, ${SUMMED}
        FROM (
          SELECT width_bucket(at, ${timesOf(segments)}) - 1 AS segment,
                 ${byModel ? sql`model` : sql`NULL::text`} AS model,
                 ${byUser ? sql`actor_user_id` : sql`NULL::uuid`} AS actor_user_id, sum(events) AS events,
                 sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
                 sum(cached_input_tokens) AS cached_input_tokens, sum(reasoning_tokens) AS reasoning_tokens,
                 sum(tokens_used) AS tokens_used, sum(overrun) AS overrun
            FROM (${sql.join(parts, sql` UNION ALL `)}) AS counted (at, model, actor_user_id, events, ${SUMMED})
           GROUP BY 1, 2, 3
          HAVING sum(events) > 0
           LIMIT ${limit}
        ) AS summed`);
    return rows.map(partOf);
  }

  /** Whether the newest month of the range alone has more users: reading all months would take long. Merged users have several ids. */
  async hasMoreUsers(ownerIds: string[], { from, to }: Range, limit: number): Promise<boolean> {
    const { months } = cutAtMonths([from, to]);
    if (months.length === 0) return false;
    const isOfOwner = isOneOf(usageMonthRollups.ownerId, ownerIds);
    const isWithin = sql`${gte(usageMonthRollups.month, months[0]!.from)} AND ${lt(usageMonthRollups.month, months[0]!.to)}`;
    const { rows } = await this.db.execute<{ count: number }>(sql`
      SELECT count(*)::int AS count FROM (
        SELECT DISTINCT actor_user_id FROM ${usageMonthRollups}
         WHERE ${isOfOwner} AND month = (SELECT max(month) FROM ${usageMonthRollups} WHERE ${isOfOwner} AND ${isWithin})
         LIMIT ${2 * limit + 1}
      ) AS found`);
    return rows[0]!.count > 2 * limit;
  }
}

function selectByModel(ownerIds: string[], { from, to }: Range): SQL {
  return sql`
      SELECT hour, model, NULL::uuid, events, ${SUMMED} FROM ${usageModelRollups}
       WHERE ${isOneOf(usageModelRollups.ownerId, ownerIds)} AND ${gte(usageModelRollups.hour, from)} AND ${lt(usageModelRollups.hour, to)}`;
}

/** Whole months, and the hours before and after them. */
function selectByUser(ownerIds: string[], boundaries: Date[]): SQL[] {
  const { months, others } = cutAtMonths(boundaries);
  const hours = sql`SELECT hour, model, actor_user_id, events, ${SUMMED} FROM ${usageRollups}
     WHERE ${isOneOf(usageRollups.ownerId, ownerIds)} AND hour >= since AND hour < until`;
  const ofMonths = sql`SELECT month AS hour, model, actor_user_id, events, ${SUMMED} FROM ${usageMonthRollups}
     WHERE ${isOneOf(usageMonthRollups.ownerId, ownerIds)} AND month >= since AND month < until`;
  return [selectInSpans(hours, others), ...(months.length === 0 ? [] : [selectInSpans(ofMonths, months)])];
}

/** LIMIT ALL keeps the planner from reading all rollups of the owner and comparing each with each span. */
function selectInSpans(rollups: SQL, spans: Range[]): SQL {
  const [since, until] = [spans.map(({ from }) => from), spans.map(({ to }) => to)];
  return sql`
      SELECT hour, model, actor_user_id, events, ${SUMMED}
        FROM unnest(${timesOf(since)}, ${timesOf(until)}) AS span (since, until) CROSS JOIN LATERAL (${rollups} LIMIT ALL) AS rollups
       WHERE true`;
}

function selectCutEvents(ownerIds: string[], { from, to }: Range): SQL {
  return sql`
      SELECT occurred_at, model, actor_user_id, 1, ${SUMMED}
        FROM cuts JOIN ${usage} ON ${isOneOf(usage.ownerId, ownerIds)} AND occurred_at >= since AND occurred_at < until
             -- Lets the planner leave out the partitions of other months.
             AND ${gte(usage.occurredAt, from)} AND ${lt(usage.occurredAt, to)}`;
}

const SUMMED = sql.raw('input_tokens, output_tokens, cached_input_tokens, reasoning_tokens, tokens_used, overrun');

/** `pg` returns sums of bigints as text. */
type SumsRow = Record<
  'events' | 'input_tokens' | 'output_tokens' | 'cached_input_tokens' | 'reasoning_tokens' | 'tokens_used' | 'overrun',
  string
> & {
  segment: number;
  model: string | null;
  user_id: string | null;
};

function partOf({ segment, model, user_id: userId, ...sums }: SumsRow): UsageSlice {
  return {
    segment,
    model,
    userId,
    events: Number(sums.events),
    inputTokens: Number(sums.input_tokens),
    outputTokens: Number(sums.output_tokens),
    cachedInputTokens: Number(sums.cached_input_tokens),
    reasoningTokens: Number(sums.reasoning_tokens),
    tokensUsed: Number(sums.tokens_used),
    overrun: Number(sums.overrun),
  };
}

/** Only hours that retention has not reached. */
function withPartialHours(cuts: PartialHour[]): SQL {
  const hours = cuts.map(({ hour }) => hour);
  const [since, until] = [cuts.map(({ from }) => from), cuts.map(({ to }) => to)];
  return sql`
    WITH cuts AS MATERIALIZED (
      SELECT hour, since, until FROM unnest(${timesOf(hours)}, ${timesOf(since)}, ${timesOf(until)}) AS cut (hour, since, until)
       WHERE hour >= coalesce((SELECT max(sealed_before) FROM ${retentionWatermark}), '-infinity')
    )`;
}

function timesOf(moments: Date[]): SQL {
  return sql`${sql.param(moments.map((moment) => moment.toISOString()))}::timestamptz[]`;
}

/** The id of the user's row after merges. */
export function personOf(userId: SQL | PgColumn): SQL {
  return sql`coalesce((SELECT ${userMerges.intoUserId} FROM ${userMerges} WHERE ${userMerges.id} = ${userId}), ${userId})`;
}
