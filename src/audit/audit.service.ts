import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { Cursors, type Page } from '../platform/pagination/cursors.service.js';
import { newId } from '../platform/crypto/ids.js';
import type { Queryable } from '../platform/database/database.js';
import type { AuditEntry, Changes } from './audit-log.table.js';
import { type AuditFilters, AuditRepository, type NewAuditEntry } from './audit.repository.js';
import { AuditSeals } from './seals/audit-seals.service.js';

export interface AuditEvent {
  actor: Actor;
  /** `noun.verb_in_past`: `membership.role_changed`. */
  action: string;
  target: { type: string; id: string };
  organizationId?: string;
  /** Views of the target without secrets. Only the differences are stored. */
  before?: object;
  after?: object;
}

export type RecordChange = (
  action: string,
  target: { id: string; organizationId?: string },
  change: Pick<AuditEvent, 'actor' | 'before' | 'after'>,
  db: Queryable,
) => Promise<void>;

/** As `RecordChange`, in one statement. */
export type RecordChanges = <Target extends { id: string; organizationId: string }>(
  action: string,
  targets: Target[],
  changeOf: (target: Target) => Pick<AuditEvent, 'actor' | 'before' | 'after'>,
  db: Queryable,
) => Promise<void>;

@Injectable()
export class AuditService {
  constructor(
    private readonly repository: AuditRepository,
    private readonly cursors: Cursors,
    private readonly seals: AuditSeals,
  ) {}

  async record(event: AuditEvent, db: Queryable): Promise<void> {
    await this.repository.insert(entryOf(event), db);
  }

  recorderOfMany(targetType: string): RecordChanges {
    return async (action, targets, changeOf, db) => {
      const entries = targets.map((target) =>
        entryOf({ ...changeOf(target), action, target: { type: targetType, id: target.id }, organizationId: target.organizationId }),
      );
      if (entries.length > 0) await this.repository.insertAll(entries, db);
    };
  }

  recorder(targetType: string): RecordChange {
    return async (action, { id, organizationId }, change, db) =>
      this.record(
        { ...change, action, target: { type: targetType, id }, organizationId: targetType === 'organization' ? id : organizationId },
        db,
      );
  }

  async list(
    organizationId: string,
    { limit, cursor, ...filters }: AuditFilters & { limit: number; cursor?: string },
  ): Promise<Page<AuditEntry>> {
    const list = ['audit-log', organizationId, filters];
    const after = this.cursors.readTimeAndId(cursor, list);
    const rows = await this.repository.list(organizationId, filters, { limit: limit + 1, after });
    return this.cursors.page(rows, { limit, list, position: ({ createdAt, id }) => [createdAt.toISOString(), id] });
  }

  /** Erases deleted users from at most `limit` entries. Returns how many. */
  async erase(userIds: string[], limit: number, db: Queryable): Promise<number> {
    const erased = await this.repository.erase(userIds, limit, db);
    await this.seals.replaceEntries(erased, db);
    return erased.length;
  }

  async removeBefore(before: Date, limit: number): Promise<number> {
    return this.repository.deleteBefore(before, limit);
  }
}

function entryOf({ actor, action, target, organizationId, before, after }: AuditEvent): NewAuditEntry {
  return {
    id: newId(),
    organizationId,
    actorKind: actor.kind,
    actorId: actor.id,
    action,
    targetType: target.type,
    targetId: target.id,
    changes: differences(before, after),
    requestId: actor.requestId,
    ipAddress: actor.ipAddress,
  };
}

function differences(before: object | undefined, after: object | undefined): Changes | null {
  const [previous, current] = [before ?? {}, after ?? {}] as [Record<string, unknown>, Record<string, unknown>];
  const changed = [...new Set([...Object.keys(previous), ...Object.keys(current)])]
    .filter((key) => JSON.stringify(previous[key]) !== JSON.stringify(current[key]))
    .map((key) => [key, { ...(key in previous && { before: previous[key] }), ...(key in current && { after: current[key] }) }] as const);
  return changed.length === 0 ? null : Object.fromEntries(changed);
}
