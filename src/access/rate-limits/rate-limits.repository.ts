import { Inject, Injectable } from '@nestjs/common';
import { sql } from 'drizzle-orm';
import type { RateLimit } from '../../platform/config/value-types.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { intervalOf } from '../leases/lease-terms.js';
import type { LimitBucket, BucketState } from './buckets.js';

/**
 * GCRA in one statement; the lock on the row makes it exact across replicas. A refused call holds that lock already,
 * so the second read sees what others wrote after the statement began.
 */
const gcra = ({ microseconds, seconds }: { microseconds: string | number; seconds: string | number }) => `
  consumed AS (
    INSERT INTO rate_limits AS r (key, whole_at)
    SELECT key, clock_timestamp() + ${microseconds} * interval '1 microsecond' FROM bucket
    ON CONFLICT (key) DO UPDATE SET whole_at = greatest(r.whole_at, clock_timestamp()) + ${microseconds} * interval '1 microsecond'
      WHERE greatest(r.whole_at, clock_timestamp()) + ${microseconds} * interval '1 microsecond' <= clock_timestamp() + ${seconds} * interval '1 second'
    RETURNING whole_at),
  refused AS (
    SELECT r.whole_at FROM rate_limits r JOIN bucket ON r.key = bucket.key
     WHERE NOT EXISTS (SELECT FROM consumed) FOR NO KEY UPDATE OF r)
  SELECT true AS allowed, extract(epoch FROM whole_at - clock_timestamp())::float8 AS "secondsUntilFull" FROM consumed
  UNION ALL
  SELECT false, extract(epoch FROM whole_at - clock_timestamp())::float8 FROM refused`;

const CONSUME = `WITH bucket AS (SELECT $1::text AS key), ${gcra({ microseconds: '$2', seconds: '$3' })}`;

const REFUND = `UPDATE rate_limits SET whole_at = whole_at - $2 * interval '1 microsecond' WHERE key = $1`;

@Injectable()
export class RateLimitsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async consume({ key, policy }: LimitBucket): Promise<BucketState> {
    const values = [key, intervalOf(policy), policy.windowSeconds];
    return (await this.run('access_spend_key', CONSUME, values)) ?? refusedByNewRow(policy);
  }

  async consumeIn(db: Queryable, { key, policy }: LimitBucket): Promise<BucketState> {
    const numbers = { microseconds: intervalOf(policy), seconds: policy.windowSeconds };
    const { rows } = await db.execute<BucketState & Record<string, unknown>>(
      sql`WITH bucket AS (SELECT ${key}::text AS key), ${sql.raw(gcra(numbers))}`,
    );
    return rows[0] ?? refusedByNewRow(policy);
  }

  async refund({ key, policy }: LimitBucket): Promise<void> {
    await this.run('access_refund', REFUND, [key, intervalOf(policy)]);
  }

  /** Deletes some full buckets in these pages of the table: a missing row means the same. Also returns the pages of the table. */
  async deleteFull({ from, to, limit }: { from: number; to: number; limit: number }): Promise<{ removed: number; pages: number }> {
    const full = sql`SELECT ctid FROM rate_limits WHERE ctid >= ${`(${from},0)`}::tid AND ctid < ${`(${to},0)`}::tid AND whole_at < now()
      LIMIT ${limit} FOR UPDATE SKIP LOCKED`;
    const { rows } = await this.db.execute<{ removed: number; pages: number }>(
      sql`WITH removed AS (DELETE FROM rate_limits WHERE ctid = ANY (ARRAY(${full})) RETURNING key)
          SELECT count(*)::int AS removed, (pg_relation_size('rate_limits') / current_setting('block_size')::int)::int AS pages FROM removed`,
    );
    return rows[0]!;
  }

  private async run(name: string, text: string, values: unknown[]): Promise<BucketState | undefined> {
    const result: Promise<{ rows: BucketState[] }> = this.db.$client.query({ name, text, values });
    return (await result).rows[0];
  }
}

/** No row was returned because a row that another call is inserting refused this one. */
function refusedByNewRow({ windowSeconds }: RateLimit): BucketState {
  return { allowed: false, secondsUntilFull: windowSeconds };
}
