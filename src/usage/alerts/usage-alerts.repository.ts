import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { arraysOf, type Columns, columnsOf, given, namesOf, rowsOf, sendStatement, statement } from '../../platform/database/statement.js';
import { type UsageAlert, usageAlerts } from './usage-alerts.table.js';

const ALERT: Columns<UsageAlert> = {
  owner_id: ['uuid', (alert) => alert.ownerId],
  period_start: ['timestamptz', (alert) => alert.periodStart.getTime()],
  threshold: ['smallint', (alert) => alert.threshold],
  owner_kind: ['owner_kind', (alert) => alert.ownerKind],
  used: ['bigint', (alert) => alert.used],
  limit: ['bigint', (alert) => alert.limit],
  created_at: ['timestamptz', (alert) => alert.createdAt.getTime()],
};
const INSERT = statement(sql`INSERT INTO ${usageAlerts} AS a (${namesOf(ALERT)}) SELECT * FROM ${given(ALERT)} ON CONFLICT DO NOTHING
  RETURNING ${columnsOf(usageAlerts, 'a')}`);

@Injectable()
export class UsageAlertsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(alerts: UsageAlert[], db: Queryable): Promise<UsageAlert[]> {
    const { rows } = await sendStatement(INSERT(arraysOf(ALERT, alerts)), db);
    return rowsOf(usageAlerts, rows);
  }

  async list(
    ownerId: string,
    { limit, after }: { limit: number; after?: { periodStart: string; threshold: number } },
  ): Promise<UsageAlert[]> {
    return this.db
      .select()
      .from(usageAlerts)
      .where(
        and(
          eq(usageAlerts.ownerId, ownerId),
          after &&
            sql`(${usageAlerts.periodStart}, ${usageAlerts.threshold}) < (${after.periodStart}::timestamptz, ${after.threshold}::smallint)`,
        ),
      )
      .orderBy(desc(usageAlerts.periodStart), desc(usageAlerts.threshold))
      .limit(limit);
  }
}
