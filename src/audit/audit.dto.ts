import { IsOptional, IsString, IsUUID, MaxLength } from 'class-validator';
import type { Page } from '../platform/pagination/cursors.service.js';
import { IsTime } from '../platform/time/is-time.js';
import { ListQuery } from '../platform/pagination/list.dto.js';
import { ACTOR_KINDS, type ActorKind, type AuditEntry } from './audit-log.table.js';
import { ApiProperty, ApiSchema } from '@nestjs/swagger';

export class ListAuditLogQuery extends ListQuery {
  /** Only entries with this action. @example "membership.role_changed" */
  @IsOptional()
  @IsString()
  @MaxLength(100)
  action?: string;

  /** Only entries of this user or API key. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @IsOptional()
  @IsUUID()
  actorId?: string;

  /** Only entries about this object. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  targetId?: string;

  /** At this time or later. A day alone starts at midnight UTC. @example "2026-01-01T00:00:00Z" */
  @IsOptional()
  @IsTime()
  createdFrom?: Date;

  /** Before this time. A day alone starts at midnight UTC. @example "2027-01-01T00:00:00Z" */
  @IsOptional()
  @IsTime()
  createdBefore?: Date;
}

@ApiSchema({ description: 'One recorded action.' })
export class AuditEntryResponse {
  /** The entry. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  @ApiProperty({ format: 'uuid' })
  id!: string;

  /** The kind of the actor. */
  @ApiProperty({ enum: ACTOR_KINDS, example: 'user' })
  actorKind!: ActorKind;

  /** The user or API key; null for the system. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  actorId!: string | null;

  /** The action. @example "membership.role_changed" */
  action!: string;

  /** The kind of the changed object. @example "membership" */
  targetType!: string;

  /** The id of the changed object. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  targetId!: string;

  /** The changes, by field. */
  @ApiProperty({
    type: 'object',
    nullable: true,
    additionalProperties: { type: 'object', properties: { before: {}, after: {} } },
    example: { role: { before: 'member', after: 'admin' } },
  })
  changes!: Record<string, { before?: unknown; after?: unknown }> | null;

  /** The `X-Request-Id` of the request. @example "01980a3e-7c1d-7f6a-b1c2-3d4e5f607182" */
  requestId!: string | null;

  /** The network address of the caller. @example "203.0.113.7" */
  ipAddress!: string | null;

  /** When the entry was written. */
  createdAt!: Date;

  static of({
    id,
    actorKind,
    actorId,
    action,
    targetType,
    targetId,
    changes,
    requestId,
    ipAddress,
    createdAt,
  }: AuditEntry): AuditEntryResponse {
    return { id, actorKind, actorId, action, targetType, targetId, changes, requestId, ipAddress, createdAt };
  }
}

@ApiSchema({ description: 'A page of the audit log.' })
export class AuditLogResponse {
  /** The page. */
  data!: AuditEntryResponse[];

  /** Ask for the next page with it; null on the last one. @example "WyIyMDI2LTAxLTE1Il0.q83vEjRWeJCrze8SNFZ4kA" */
  nextCursor!: string | null;

  static of({ data, nextCursor }: Page<AuditEntry>): AuditLogResponse {
    return { data: data.map(AuditEntryResponse.of), nextCursor };
  }
}
