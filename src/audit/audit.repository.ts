import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gte, inArray, lt, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../database/database.js';
import { invitations } from '../invitations/invitations.table.js';
import { type AuditEntry, auditLog } from './audit-log.table.js';

export interface AuditFilters {
  action?: string;
  actorId?: string;
  targetId?: string;
  createdFrom?: Date;
  createdBefore?: Date;
}

@Injectable()
export class AuditRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(entry: typeof auditLog.$inferInsert, db: Queryable): Promise<void> {
    await db.insert(auditLog).values(entry);
  }

  async list(
    organizationId: string,
    filters: AuditFilters,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
    db: Queryable = this.db,
  ): Promise<AuditEntry[]> {
    const { action, actorId, targetId, createdFrom, createdBefore } = filters;
    return db
      .select()
      .from(auditLog)
      .where(
        and(
          eq(auditLog.organizationId, organizationId),
          action === undefined ? undefined : eq(auditLog.action, action),
          actorId === undefined ? undefined : eq(auditLog.actorId, actorId),
          targetId === undefined ? undefined : eq(auditLog.targetId, targetId),
          createdFrom && gte(auditLog.createdAt, createdFrom),
          createdBefore && lt(auditLog.createdAt, createdBefore),
          after && sql`(${auditLog.createdAt}, ${auditLog.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
        ),
      )
      .orderBy(desc(auditLog.createdAt), desc(auditLog.id))
      .limit(limit);
  }

  /** Lets the rest of this transaction change what is otherwise append-only. */
  async allowMaintenance(db: Queryable): Promise<void> {
    await db.execute(sql`SELECT set_config('tenantry.audit_maintenance', 'on', true)`);
  }

  async deleteBefore(before: Date, limit: number, db: Queryable): Promise<number> {
    const old = db
      .select({ id: auditLog.id })
      .from(auditLog)
      .where(lt(auditLog.createdAt, before))
      .orderBy(auditLog.createdAt)
      .limit(limit);
    const { rowCount } = await db.delete(auditLog).where(sql`${auditLog.id} IN (${old})`);
    return rowCount ?? 0;
  }

  /** Forgets what the entries about these users, their accounts and their invitations told of them; that they happened stays. */
  async erase(userIds: string[], db: Queryable): Promise<void> {
    const ownInvitations = db
      .select({ id: sql`${invitations.id}::text` })
      .from(invitations)
      .where(inArray(invitations.answeredBy, userIds));
    const byThem = inArray(auditLog.actorId, userIds);
    const forget = { changes: null };
    await db.update(auditLog).set(forget).where(inArray(auditLog.targetId, userIds));
    await db
      .update(auditLog)
      .set(forget)
      .where(and(byThem, eq(auditLog.targetType, 'account')));
    await db
      .update(auditLog)
      .set(forget)
      .where(sql`${auditLog.targetId} IN (${ownInvitations})`);
    await db.update(auditLog).set({ ipAddress: null }).where(byThem);
  }
}
