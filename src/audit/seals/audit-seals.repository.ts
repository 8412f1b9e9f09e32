import { Inject, Injectable } from '@nestjs/common';
import { and, asc, desc, eq, gt, lt, lte, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { auditLog } from '../audit-log.table.js';
import { type AuditSeal, auditSealKeys, auditSeals } from './audit-seals.table.js';
import type { SealedEntry } from './seal-macs.js';

const utc = (time: string) => `to_char(${time} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** As text, because JavaScript changes some JSON and times. */
export const SEALED_ENTRY = sql.raw(`id, organization_id AS "organizationId", actor_kind AS "actorKind", actor_id AS "actorId", action,
  target_type AS "targetType", target_id AS "targetId", changes::text, request_id AS "requestId", ip_address AS "ipAddress",
  ${utc('created_at')} AS "createdAt"`);

@Injectable()
export class AuditSealsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  /** Two processes must not write the same seal. */
  async lock(db: Queryable): Promise<void> {
    await db.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('audit_seals', 0))`);
  }

  /**
   * Entries from before this moment are all committed: it is earlier than the start of every client's open transaction,
   * which is what `created_at` holds. An autovacuum, which may take hours, writes none.
   */
  async findSettledMoment(delaySeconds: number, db: Queryable): Promise<Date> {
    const settled = `least(now() - interval '${delaySeconds} seconds', min(xact_start) FILTER (WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) - interval '1 second')`;
    const { rows } = await db.execute<{ settled: string }>(
      sql.raw(`SELECT ${utc(settled)} AS settled FROM pg_stat_activity WHERE datname = current_database()`),
    );
    return new Date(rows[0]!.settled);
  }

  async findNewest(db: Queryable = this.db): Promise<AuditSeal | undefined> {
    const [seal] = await db.select().from(auditSeals).orderBy(desc(auditSeals.number)).limit(1);
    return seal;
  }

  async list(afterNumber: number, limit: number, db: Queryable = this.db): Promise<AuditSeal[]> {
    return db.select().from(auditSeals).where(gt(auditSeals.number, afterNumber)).orderBy(asc(auditSeals.number)).limit(limit);
  }

  async findCovering(moment: string, db: Queryable): Promise<AuditSeal | undefined> {
    const covers = and(lte(auditSeals.from, sql`${moment}::timestamptz`), gt(auditSeals.until, sql`${moment}::timestamptz`));
    const [seal] = await db.select().from(auditSeals).where(covers);
    return seal;
  }

  async insert(seal: Omit<AuditSeal, 'createdAt'>, db: Queryable): Promise<void> {
    await db.insert(auditSeals).values(seal);
  }

  async updateSum(number: number, { sum, sumMac }: Pick<AuditSeal, 'sum' | 'sumMac'>, db: Queryable): Promise<void> {
    await db.update(auditSeals).set({ sum, sumMac }).where(eq(auditSeals.number, number));
  }

  async deleteBefore(before: Date, limit: number): Promise<number> {
    const old = this.db.select({ number: auditSeals.number }).from(auditSeals).where(lt(auditSeals.until, before)).limit(limit);
    const { rowCount } = await this.db.delete(auditSeals).where(sql`${auditSeals.number} IN (${old})`);
    return rowCount ?? 0;
  }

  /** In the order of their times. @param after the last entry of the page before */
  async listEntries(
    { from, until }: { from: Date; until: Date },
    { after, limit }: { after?: SealedEntry; limit: number },
    db: Queryable = this.db,
  ): Promise<SealedEntry[]> {
    const isAfter = after && sql`AND (created_at, id) > (${after.createdAt}::timestamptz, ${after.id}::uuid)`;
    const { rows } = await db.execute<SealedEntry>(
      sql`SELECT ${SEALED_ENTRY} FROM ${auditLog} WHERE created_at >= ${from.toISOString()}::timestamptz AND created_at < ${until.toISOString()}::timestamptz
          ${isAfter ?? sql``} ORDER BY created_at, id LIMIT ${limit}`,
    );
    return rows;
  }

  async findKey(db: Queryable = this.db): Promise<string | undefined> {
    const [row] = await db.select({ key: auditSealKeys.key }).from(auditSealKeys);
    return row?.key;
  }

  async insertKey(key: string, db: Queryable): Promise<void> {
    await db.insert(auditSealKeys).values({ key }).onConflictDoNothing();
  }

  async updateKey(key: string, db: Queryable = this.db): Promise<void> {
    await db.update(auditSealKeys).set({ key });
  }
}
