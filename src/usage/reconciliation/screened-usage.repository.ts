import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { FIRST_ID } from '../../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { usage } from '../events/usage-events.table.js';
import { usageEventIds } from '../events/usage-event-ids.table.js';
import { usageHolds } from '../holds/usage-holds.table.js';
import { usageQuotas } from '../quotas/usage-quotas.table.js';
import { usageRollups } from '../rollups/usage-rollups.table.js';
import { COLUMNS, columns, ZEROS } from './compared-counts.js';
import { selectBothSides } from './rollup-reconciliation.repository.js';

/** Finds the owners of usage, and among many those where anything differs. */
@Injectable()
export class ScreenedUsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** The next owners in order, with the number of their events that rollups count. Each costs a few index entries, however many events it has. */
  async listOwners(after: string | undefined, limit: number, db: Queryable = this.db): Promise<{ id: string; events: number }[]> {
    const firsts = [usage, usageRollups, usageQuotas, usageHolds, usageEventIds].map(
      (table) => sql`(SELECT owner_id FROM ${table} WHERE owner_id > owners.id ORDER BY owner_id LIMIT 1)`,
    );
    const start = sql`${after ?? FIRST_ID}::uuid`;
    const next = sql`SELECT owner_id FROM (${sql.join(firsts, sql` UNION ALL `)}) AS firsts ORDER BY owner_id LIMIT 1`;
    const { rows } = await db.execute<{ id: string; events: string }>(sql`
      WITH RECURSIVE owners (id) AS (
        SELECT ${start}
        UNION ALL SELECT (${next}) FROM owners WHERE id IS NOT NULL
      )
      SELECT id, (SELECT coalesce(sum(events), 0) FROM ${usageRollups} WHERE owner_id = owners.id) AS events
        FROM (SELECT id FROM owners WHERE id > ${start} LIMIT ${limit}) AS owners`);
    return rows.map(({ id, events }) => ({ id, events: Number(events) }));
  }

  /** The owners with rollups, quotas or ids that differ from their events, sorted. Reads all events of the given owners, twice. */
  async listDiffering(ownerIds: string[], prunedBefore: Date, db: Queryable): Promise<string[]> {
    const isOfThem = sql`owner_id = ANY (${sql.param(ownerIds)}::uuid[])`;
    const from = sql`${prunedBefore.toISOString()}::timestamptz`;
    const sums = columns((name) => `${name === 'events' ? 'count(*)' : `sum(${name})`} AS ${name}`);
    const { rows } = await db.execute<{ owner_id: string }>(sql`
      WITH actual AS MATERIALIZED (
        SELECT owner_id, date_trunc('hour', occurred_at, 'UTC') AS hour, model, actor_user_id, period_start, ${sums}
          FROM ${usage} WHERE ${isOfThem} AND occurred_at >= ${from} GROUP BY 1, 2, 3, 4, 5
      ), ids AS MATERIALIZED (SELECT owner_id, event_id FROM ${usageEventIds} WHERE ${isOfThem})
      SELECT owner_id FROM (
        SELECT owner_id, hour, model, actor_user_id, ${COLUMNS} FROM ${usageRollups} WHERE ${isOfThem} AND hour >= ${from}
        UNION ALL SELECT owner_id, hour, model, actor_user_id, ${columns((name) => `-${name}`)} FROM actual
      ) AS hours GROUP BY owner_id, hour, model, actor_user_id HAVING (${columns((name) => `sum(${name})`)}) <> (${ZEROS})
      UNION SELECT owner_id FROM (${selectBothSides(isOfThem)}) AS sums
       GROUP BY owner_id, source, at, model, actor_user_id HAVING (${columns((name) => `sum(CASE WHEN is_stored THEN ${name} ELSE -${name} END)`)}) <> (${ZEROS})
      UNION SELECT owner_id FROM (
        SELECT owner_id, period_start, used, overrun, held, true AS is_stored FROM ${usageQuotas} WHERE ${isOfThem} AND period_start >= ${from}
        UNION ALL SELECT owner_id, period_start, -tokens_used, -overrun, 0, false FROM actual WHERE period_start >= ${from}
        UNION ALL SELECT owner_id, period_start, 0, 0, -tokens, false FROM ${usageHolds} WHERE ${isOfThem} AND status = 'live' AND period_start >= ${from}
      ) AS periods GROUP BY owner_id, period_start HAVING NOT bool_or(is_stored) OR (sum(used), sum(overrun), sum(held)) <> (0, 0, 0)
      UNION SELECT owner_id FROM (
        SELECT owner_id, count(*) AS ids FROM ids GROUP BY owner_id
        UNION ALL SELECT owner_id, -events FROM actual
        UNION ALL SELECT owner_id, -events FROM ${usageRollups} WHERE ${isOfThem} AND hour < ${from}
      ) AS counts GROUP BY owner_id HAVING sum(ids) <> 0
      UNION SELECT owner_id FROM (
        SELECT owner_id, event_id FROM ${usage} WHERE ${isOfThem} AND occurred_at >= ${from} EXCEPT ALL SELECT owner_id, event_id FROM ids
      ) AS missing
      ORDER BY owner_id`);
    return rows.map((row) => row.owner_id);
  }
}
