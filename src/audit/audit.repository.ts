import { Inject, Injectable } from '@nestjs/common';
import { and, desc, eq, gte, lt, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import {
  arraysOf,
  type Columns,
  given,
  namesOf,
  queries,
  sendWrite,
  statement,
  statementByColumns,
} from '../platform/database/statement.js';
import { type AuditEntry, auditLog } from './audit-log.table.js';
import { SEALED_ENTRY } from './seals/audit-seals.repository.js';
import type { SealedEntry } from './seals/seal-macs.js';

export interface AuditFilters {
  action?: string;
  actorId?: string;
  targetId?: string;
  createdFrom?: Date;
  createdBefore?: Date;
}

export type NewAuditEntry = typeof auditLog.$inferInsert;

const INSERT = statementByColumns<NewAuditEntry>((entry) => queries.insert(auditLog).values(entry));
const ENTRY: Columns<NewAuditEntry> = {
  id: ['uuid', ({ id }) => id],
  organization_id: ['uuid', ({ organizationId }) => organizationId ?? null],
  actor_kind: ['actor_kind', ({ actorKind }) => actorKind],
  actor_id: ['uuid', ({ actorId }) => actorId ?? null],
  action: ['text', ({ action }) => action],
  target_type: ['text', ({ targetType }) => targetType],
  target_id: ['text', ({ targetId }) => targetId],
  changes: ['jsonb', ({ changes }) => (changes == null ? null : JSON.stringify(changes))],
  request_id: ['text', ({ requestId }) => requestId ?? null],
  ip_address: ['text', ({ ipAddress }) => ipAddress ?? null],
};
const INSERT_ALL = statement(sql`INSERT INTO ${auditLog} (${namesOf(ENTRY)}) SELECT * FROM ${given(ENTRY)}`);

@Injectable()
export class AuditRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async insert(entry: NewAuditEntry, db: Queryable): Promise<void> {
    await sendWrite(INSERT(entry), db);
  }

  async insertAll(entries: NewAuditEntry[], db: Queryable): Promise<void> {
    await sendWrite(INSERT_ALL(arraysOf(ENTRY, entries)), db);
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

  async deleteBefore(before: Date, limit: number, db: Queryable = this.db): Promise<number> {
    const { rows } = await db.execute<{ removed: string }>(
      sql`SELECT prune_audit_log(${before.toISOString()}::timestamptz, ${limit}) AS removed`,
    );
    return Number(rows[0]!.removed);
  }

  /** Keeps the entries, but clears the personal data of these users, their accounts and invitations in them. */
  async erase(userIds: string[], limit: number, db: Queryable): Promise<{ before: SealedEntry; after: SealedEntry }[]> {
    const { rows: before } = await db.execute<SealedEntry>(
      sql`SELECT ${SEALED_ENTRY} FROM erase_audit_entries(${sql.param(userIds)}::uuid[], ${limit})`,
    );
    const ids = sql.param(before.map(({ id }) => id));
    const { rows: after } = await db.execute<SealedEntry>(sql`SELECT ${SEALED_ENTRY} FROM ${auditLog} WHERE id = ANY (${ids}::uuid[])`);
    const byId = new Map(after.map((entry) => [entry.id, entry]));
    // The function returns an entry twice if it erased both the changes and the address: the first is how it was.
    return [...new Map(before.toReversed().map((entry) => [entry.id, entry])).values()].map((entry) => ({
      before: entry,
      after: byId.get(entry.id)!,
    }));
  }
}
