import { Injectable } from '@nestjs/common';
import { type SQL, sql } from 'drizzle-orm';
import type { Queryable } from '../../platform/database/database.js';
import type { Range } from '../../platform/time/moments.js';
import { monthOf, startOf } from '../partitions/months.js';
import { usageModelRollups, usageMonthRollups, usageRollups } from '../rollups/usage-rollups.table.js';
import {
  actualCounts,
  BOTH_SUMS,
  COLUMNS,
  columns,
  type ComparedRow,
  type CountsDifference,
  DIFFERS,
  storedCounts,
  within,
  ZEROS,
} from './compared-counts.js';

export type SumsSource = 'model' | 'month';

export interface SumsDifference extends CountsDifference {
  source: SumsSource;
  /** The start of the hour or of the month. */
  at: Date;
}

type SumsRow = ComparedRow & { source: SumsSource; at: string; model: string; actor_user_id: string | null };

/** Compares the sums of rollups with the rollups, and repairs them. */
@Injectable()
export class RollupReconciliationRepository {
  /** Whole UTC months with all rollups of an owner. */
  async listMonths(ownerId: string, db: Queryable): Promise<Range[]> {
    const ends = [
      sql`SELECT hour AS at FROM ${usageRollups} WHERE owner_id = ${ownerId}`,
      sql`SELECT hour FROM ${usageModelRollups} WHERE owner_id = ${ownerId}`,
      sql`SELECT month FROM ${usageMonthRollups} WHERE owner_id = ${ownerId}`,
    ];
    const { rows } = await db.execute<{ first: string | null; last: string | null }>(
      sql`SELECT min(at) AS first, max(at) AS last FROM (${sql.join(ends, sql` UNION ALL `)}) AS ends`,
    );
    const { first, last } = rows[0]!;
    if (first === null || last === null) return [];
    const [from, to] = [monthOf(new Date(first)), monthOf(new Date(last))];
    return Array.from({ length: to - from + 1 }, (_, index) => ({ from: startOf(from + index), to: startOf(from + index + 1) }));
  }

  async compare(ownerId: string, month: Range, db: Queryable): Promise<SumsDifference[]> {
    const { rows } = await db.execute<SumsRow>(
      sql`SELECT * FROM (${selectCompared(ownerId, month)}) AS sums WHERE ${DIFFERS} ORDER BY source, at, model, actor_user_id`,
    );
    return rows.map((row) => ({
      source: row.source,
      at: new Date(row.at),
      model: row.model,
      actorUserId: row.actor_user_id,
      stored: storedCounts(row),
      actual: actualCounts(row),
    }));
  }

  /** Adds the differences. One statement a table reads both sides, so that a concurrent write changes both or neither. */
  async repair(ownerId: string, month: Range, db: Queryable): Promise<void> {
    const missing = (source: SumsSource) =>
      sql`(SELECT * FROM (${selectCompared(ownerId, month)}) AS sums WHERE source = ${source} AND ${DIFFERS}) AS missing`;
    const difference = columns((name) => `actual_${name} - stored_${name}`);
    const add = columns((name) => `${name} = r.${name} + excluded.${name}`);
    await db.execute(
      sql`INSERT INTO ${usageModelRollups} AS r (owner_id, hour, model, ${COLUMNS})
          SELECT owner_id, at, model, ${difference} FROM ${missing('model')} ORDER BY owner_id, at, model
          ON CONFLICT (owner_id, hour, model) DO UPDATE SET ${add}`,
    );
    await db.execute(
      sql`INSERT INTO ${usageMonthRollups} AS r (owner_id, month, actor_user_id, model, ${COLUMNS})
          SELECT owner_id, at, actor_user_id, model, ${difference} FROM ${missing('month')} ORDER BY owner_id, at, actor_user_id, model
          ON CONFLICT (owner_id, month, actor_user_id, model) DO UPDATE SET ${add}`,
    );
    for (const [table, time] of [
      [usageModelRollups, sql`hour`],
      [usageMonthRollups, sql`month`],
    ] as const)
      await db.execute(sql`DELETE FROM ${table} WHERE owner_id = ${ownerId} AND ${within(time, month)} AND (${COLUMNS}) = (${ZEROS})`);
  }
}

function selectCompared(ownerId: string, month: Range): SQL {
  const isOfOwner = sql`owner_id = ${ownerId}`;
  const bothSides = selectBothSides(isOfOwner, (time) => within(time, month));
  return sql`SELECT owner_id, source, at, model, actor_user_id, ${BOTH_SUMS} FROM (${bothSides}) AS both_sides GROUP BY 1, 2, 3, 4, 5`;
}

/** The stored sums of rollups, and the rollups under the same keys. */
export function selectBothSides(isOfOwner: SQL, isWithin: (time: SQL) => SQL = () => sql`true`): SQL {
  const [hour, month] = [sql`hour`, sql`month`];
  return sql`
    SELECT 'model' AS source, owner_id, hour AS at, model, NULL::uuid AS actor_user_id, true AS is_stored, ${COLUMNS}
      FROM ${usageModelRollups} WHERE ${isOfOwner} AND ${isWithin(hour)}
    UNION ALL SELECT 'model', owner_id, hour, model, NULL, false, ${COLUMNS} FROM ${usageRollups} WHERE ${isOfOwner} AND ${isWithin(hour)}
    UNION ALL SELECT 'month', owner_id, month, model, actor_user_id, true, ${COLUMNS} FROM ${usageMonthRollups} WHERE ${isOfOwner} AND ${isWithin(month)}
    UNION ALL SELECT 'month', owner_id, date_trunc('month', hour, 'UTC'), model, actor_user_id, false, ${COLUMNS}
      FROM ${usageRollups} WHERE ${isOfOwner} AND ${isWithin(hour)}`;
}
