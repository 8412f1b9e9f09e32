import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, getTableColumns, gte, lt, type SQL, sql } from 'drizzle-orm';
import { type PgColumn, unionAll } from 'drizzle-orm/pg-core';
import type { Owner } from '../../owners/owner.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import { usageRollups } from '../rollups/usage-rollups.table.js';
import { retentionWatermark } from '../partitions/retention-watermark.table.js';
import { type UsageRecord, usage } from '../events/usage-events.table.js';
import { userMerges } from '../../users/user-merges.table.js';
import type { Range } from '../../platform/time/moments.js';
import type { UsageSlice } from './usage-summary.js';
import { HOUR_MS } from '../../platform/time/durations.js';

export interface UsageFilters {
  from?: Date;
  to?: Date;
  model?: string;
  userId?: string;
}

/** With all ids of the user, whose rows may have been merged. */
export type RecordFilters = Omit<UsageFilters, 'userId'> & { actorIds?: string[] };

export interface RecordPosition {
  occurredAt: string;
  eventId: string;
  ownerId: string;
}

interface Page {
  limit: number;
  after?: RecordPosition;
}

export interface SumsQuery extends Range {
  /** Starts of the segments; the first one is `from`. */
  segments: Date[];
  byModel: boolean;
  byUser: boolean;
}

const NEWEST_FIRST = [desc(usage.occurredAt), desc(usage.eventId), desc(usage.ownerId)];

@Injectable()
export class UsageReportsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Returns all ids of an owner: the row of a local user may have been merged into another. */
  async listIds({ kind, id }: Owner): Promise<string[]> {
    if (kind === 'organization') return [id];
    const merged = await this.db.select({ id: userMerges.id }).from(userMerges).where(eq(userMerges.intoUserId, id));
    return [id, ...merged.map((row) => row.id)];
  }

  /** Newest first. */
  async listRecords(ownerIds: string[], filters: RecordFilters, { limit, after }: Page): Promise<UsageRecord[]> {
    // One query for each id: an index returns the rows of one owner in order.
    const [first, second, ...others] = ownerIds.map((ownerId) => this.selectPage(ownerId, filters, { limit, after }));
    if (second === undefined) return first!;
    return unionAll(first!, second, ...others)
      .orderBy(...NEWEST_FIRST)
      .limit(limit);
  }

  /**
   * Sums rollups, and single events only in hours that a segment boundary cuts. After retention has dropped the events,
   * such an hour counts as a whole. A single statement, so that a concurrent drop cannot be half visible.
   */
  async sumUp(ownerIds: string[], { from, to, segments, byModel, byUser }: SumsQuery, limit: number): Promise<UsageSlice[]> {
    const cuts = partialHours([from, ...segments, to], { from, to });
    const model = byModel ? sql`model` : sql`NULL::text`;
    const actor = byUser ? sql`actor_user_id` : sql`NULL::uuid`;
    const hours = sql`
      SELECT hour AS at, model, actor_user_id, events, ${SUMMED}
        FROM ${usageRollups}
       WHERE ${isOneOf(usageRollups.ownerId, ownerIds)} AND ${gte(usageRollups.hour, from)} AND ${lt(usageRollups.hour, to)}`;
    const edges = sql`
         AND hour NOT IN (SELECT hour FROM cuts)
       UNION ALL
      SELECT occurred_at, model, actor_user_id, 1, ${SUMMED}
        FROM cuts JOIN ${usage} ON ${isOneOf(usage.ownerId, ownerIds)} AND occurred_at >= since AND occurred_at < until
             -- Says when it is planned which months it does not look at.
             AND ${gte(usage.occurredAt, from)} AND ${lt(usage.occurredAt, to)}`;
    const { rows } = await this.db.execute<SumsRow>(sql`
      ${cuts.length === 0 ? sql`` : withPartialHours(cuts)}
      SELECT segment, model, ${byUser ? personOf(sql`actor_user_id`) : sql`NULL::uuid`} AS user_id, events, ${SUMMED}
        FROM (
          SELECT width_bucket(at, ${sql.param(segments.map((start) => start.toISOString()))}::timestamptz[]) - 1 AS segment,
                 ${model} AS model, ${actor} AS actor_user_id, sum(events) AS events,
                 sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
                 sum(cached_input_tokens) AS cached_input_tokens, sum(reasoning_tokens) AS reasoning_tokens,
                 sum(tokens_used) AS tokens_used, sum(overrun) AS overrun
            FROM (${hours}${cuts.length === 0 ? sql`` : edges}) counted
           GROUP BY 1, 2, 3
           LIMIT ${limit}
        ) summed`);
    return rows.map(partOf);
  }

  private selectPage(ownerId: string, filters: RecordFilters, { limit, after }: Page) {
    const columns = { ...getTableColumns(usage), actorUserId: sql<string | null>`${personOf(usage.actorUserId)}`.as('person_id') };
    const { from, to, model, actorIds } = filters;
    const matches = and(
      eq(usage.ownerId, ownerId),
      from && gte(usage.occurredAt, from),
      to && lt(usage.occurredAt, to),
      model === undefined ? undefined : eq(usage.model, model),
      actorIds && isOneOf(usage.actorUserId, actorIds),
      after &&
        sql`(${usage.occurredAt}, ${usage.eventId}, ${usage.ownerId}) < (${after.occurredAt}::timestamptz, ${after.eventId}, ${after.ownerId}::uuid)`,
    );
    const pageOf = (where: SQL | undefined) =>
      this.db
        .select(columns)
        .from(usage)
        .where(where)
        .orderBy(...NEWEST_FIRST)
        .limit(limit);
    if (model === undefined && actorIds === undefined) return pageOf(matches);
    const hours = this.selectHours(ownerId, filters, { limit, after }).as('hours');
    const inHour = sql`${usage.occurredAt} >= ${hours.hour} AND ${usage.occurredAt} < ${hours.hour} + interval '1 hour'`;
    const page = pageOf(and(matches, inHour)).as('usage');
    const { occurredAt, eventId, ownerId: owner } = page;
    const newest = this.db
      .select(page._.selectedFields)
      .from(hours)
      .crossJoinLateral(page)
      .orderBy(desc(occurredAt), desc(eventId), desc(owner))
      .limit(limit);
    // The same columns, but Drizzle's types know the first table too.
    return newest as unknown as ReturnType<typeof pageOf>;
  }

  /**
   * The newest hours with such events, by the rollups: an index over all events would cost every write. Each rollup has
   * an event, so that as many rollups as the page has rows are enough; only the newest hour may be cut by the cursor.
   */
  private selectHours(ownerId: string, { from, to, model, actorIds }: RecordFilters, { limit, after }: Page) {
    const newest = startOfHour(earliest(to, after && new Date(after.occurredAt)) ?? FAR_FUTURE);
    const [newestHour, oldestHour] = [newest, startOfHour(from ?? new Date(0))].map((hour) => sql`${hour.toISOString()}::timestamptz`);
    const kept = sql`coalesce((SELECT max(${retentionWatermark.prunedBefore}) FROM ${retentionWatermark}), '-infinity')`;
    const newestOf = (actorId: string | undefined) => sql`(
      SELECT hour FROM ${usageRollups}
       WHERE owner_id = ${ownerId} AND hour < ${newestHour} AND hour >= greatest(${oldestHour}, ${kept}) AND events > 0
             ${actorId === undefined ? sql`` : sql`AND actor_user_id = ${actorId}`} ${model === undefined ? sql`` : sql`AND model = ${model}`}
       ORDER BY hour DESC LIMIT ${limit})`;
    const all = sql.join((actorIds ?? [undefined]).map(newestOf), sql` UNION ALL `);
    return this.db.select({ hour: sql<string>`hour`.as('hour') }).from(sql`(SELECT ${newestHour} AS hour UNION (${all})) AS found`);
  }
}

/** Later than any event. */
const FAR_FUTURE = new Date('9999-01-01T00:00:00Z');

function earliest(...moments: (Date | undefined)[]): Date | undefined {
  const times = moments.flatMap((moment) => (moment === undefined ? [] : [moment.getTime()]));
  return times.length === 0 ? undefined : new Date(Math.min(...times));
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

/** An hour of which only a part is counted. */
interface PartialHour {
  hour: Date;
  since: Date;
  until: Date;
}

function partialHours(boundaries: Date[], { from, to }: Range): PartialHour[] {
  const isCut = (moment: Date) => moment.getTime() !== startOfHour(moment).getTime();
  const hours = new Set(boundaries.filter(isCut).map((moment) => startOfHour(moment).getTime()));
  return [...hours].map((hour) => ({
    hour: new Date(hour),
    since: new Date(Math.max(hour, from.getTime())),
    until: new Date(Math.min(hour + HOUR_MS, to.getTime())),
  }));
}

function startOfHour(moment: Date): Date {
  return new Date(Math.floor(moment.getTime() / HOUR_MS) * HOUR_MS);
}

/** Only hours that retention has not reached. */
function withPartialHours(cuts: PartialHour[]): SQL {
  const times = (name: keyof PartialHour) => sql`${sql.param(cuts.map((cut) => cut[name].toISOString()))}::timestamptz[]`;
  return sql`
    WITH cuts AS MATERIALIZED (
      SELECT hour, since, until FROM unnest(${times('hour')}, ${times('since')}, ${times('until')}) AS cut (hour, since, until)
       WHERE hour >= coalesce((SELECT max(sealed_before) FROM ${retentionWatermark}), '-infinity')
    )`;
}

/** The id of the user's row after merges. */
function personOf(userId: SQL | PgColumn): SQL {
  return sql`coalesce((SELECT ${userMerges.intoUserId} FROM ${userMerges} WHERE ${userMerges.id} = ${userId}), ${userId})`;
}
