import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { type UsageAlert, usageAlerts } from './usage-alerts.table.js';

@Injectable()
export class UsageAlertsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(alerts: UsageAlert[], db: Queryable): Promise<UsageAlert[]> {
    return db.insert(usageAlerts).values(alerts).onConflictDoNothing().returning();
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
