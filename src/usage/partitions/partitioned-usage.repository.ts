import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { type Month, monthOfPartition, startOf } from './months.js';
import { retentionWatermark } from './retention-watermark.table.js';
import { usage } from '../events/usage-events.table.js';

/** The partitions of `usage`, and the watermark before which they were dropped. */
@Injectable()
export class PartitionedUsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Takes the lock for creating and dropping partitions, until the transaction ends. */
  async lock(waitMs: number, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT set_config('lock_timeout', ${`${waitMs}ms`}, true)`);
    await db.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('usage_partitions', 0))`);
  }

  /**
   * Blocks drops until the transaction ends. A repeatable-read transaction calls it first: a dropped partition
   * disappears from every snapshot, but the advanced watermark is not visible in an older one.
   */
  async preventDrops(db: Queryable): Promise<void> {
    await db.execute(sql`LOCK TABLE ONLY ${usage} IN ACCESS SHARE MODE`);
  }

  /** Sorted. */
  async listMonths(db: Queryable = this.db): Promise<Month[]> {
    const { rows } = await db.execute<{ name: string }>(
      sql`SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage'::regclass ORDER BY 1`,
    );
    return rows.map(({ name }) => monthOfPartition(name));
  }

  /** Calls a function of the tables' owner, because the application's role may not create tables. */
  async create(month: Month, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT create_usage_partition(${startOf(month).toISOString()}::date)`);
  }

  async drop(month: Month, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT drop_usage_partition(${startOf(month).toISOString()}::date)`);
  }

  async findPrunedBefore(db: Queryable = this.db): Promise<Date | undefined> {
    const [watermark] = await db.select({ prunedBefore: retentionWatermark.prunedBefore }).from(retentionWatermark);
    return watermark?.prunedBefore;
  }

  /** The watermark never moves back. */
  async advanceWatermark(before: Date, db: Queryable): Promise<void> {
    await db
      .insert(retentionWatermark)
      .values({ prunedBefore: before })
      .onConflictDoUpdate({
        target: retentionWatermark.only,
        set: { prunedBefore: sql`greatest(${retentionWatermark.prunedBefore}, excluded.sealed_before)` },
      });
  }
}
