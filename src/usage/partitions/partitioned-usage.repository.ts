import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { type Month, monthOfPartition, startOf } from './months.js';
import { retentionWatermark } from './retention-watermark.table.js';
import { usage } from '../events/usage-events.table.js';

/** The partitions of `usage`, and from when on they are all there. */
@Injectable()
export class PartitionedUsageRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Until the transaction ends, nobody else makes or drops a partition. No lock is waited for longer than told. */
  async lock(waitMs: number, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT set_config('lock_timeout', ${`${waitMs}ms`}, true)`);
    await db.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('usage_partitions', 0))`);
  }

  /**
   * Until the transaction ends, no partition is dropped. In one with a single snapshot this has to come first: a
   * partition that goes is gone for every snapshot, while the seal that says so would not be seen.
   */
  async keepPartitions(db: Queryable): Promise<void> {
    await db.execute(sql`LOCK TABLE ONLY ${usage} IN ACCESS SHARE MODE`);
  }

  /** In order. */
  async listMonths(db: Queryable = this.db): Promise<Month[]> {
    const { rows } = await db.execute<{ name: string }>(
      sql`SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage'::regclass ORDER BY 1`,
    );
    return rows.map(({ name }) => monthOfPartition(name));
  }

  /** By a function of the tables' owner: the application's role may create and drop no table. */
  async create(month: Month, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT create_usage_partition(${startOf(month).toISOString()}::date)`);
  }

  async drop(month: Month, db: Queryable): Promise<void> {
    await db.execute(sql`SELECT drop_usage_partition(${startOf(month).toISOString()}::date)`);
  }

  async findSealedBefore(db: Queryable = this.db): Promise<Date | undefined> {
    const [seal] = await db.select({ prunedBefore: retentionWatermark.prunedBefore }).from(retentionWatermark);
    return seal?.prunedBefore;
  }

  /** A seal never goes back: what is gone does not return. */
  async seal(before: Date, db: Queryable): Promise<void> {
    await db
      .insert(retentionWatermark)
      .values({ prunedBefore: before })
      .onConflictDoUpdate({
        target: retentionWatermark.only,
        set: { prunedBefore: sql`greatest(${retentionWatermark.prunedBefore}, excluded.sealed_before)` },
      });
  }
}
