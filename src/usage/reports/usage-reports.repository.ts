import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, getTableColumns, gte, lt, type SQL, sql } from 'drizzle-orm';
import { unionAll } from 'drizzle-orm/pg-core';
import type { Owner } from '../../owners/owner.js';
import { DATABASE, type Database } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import { usageModelRollups, usageRollups } from '../rollups/usage-rollups.table.js';
import { retentionWatermark } from '../partitions/retention-watermark.table.js';
import { type UsageRecord, usage } from '../events/usage-events.table.js';
import { userMerges } from '../../users/user-merges.table.js';
import { startOfHour } from '../rollups/rollup-spans.js';
import { personOf } from './summed-usage.repository.js';

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
      SELECT hour FROM ${actorId === undefined ? usageModelRollups : usageRollups}
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
