import { sql } from 'drizzle-orm';
import { index, jsonb, pgEnum, pgTable, text, uuid } from 'drizzle-orm/pg-core';
import { createdAt } from '../platform/database/columns.js';

export const ACTOR_KINDS = ['user', 'api_key', 'system'] as const;
export type ActorKind = (typeof ACTOR_KINDS)[number];

export const actorKind = pgEnum('actor_kind', ACTOR_KINDS);

export type Changes = Record<string, { before?: unknown; after?: unknown }>;

/** Only two database functions may change entries (docs/decisions/0036). No foreign keys, because entries outlive their targets. */
export const auditLog = pgTable(
  'audit_log',
  {
    id: uuid('id').primaryKey(),
    organizationId: uuid('organization_id'),
    actorKind: actorKind('actor_kind').notNull(),
    actorId: uuid('actor_id'),
    action: text('action').notNull(),
    targetType: text('target_type').notNull(),
    targetId: text('target_id').notNull(),
    changes: jsonb('changes').$type<Changes>(),
    requestId: text('request_id'),
    ipAddress: text('ip_address'),
    createdAt: createdAt(),
  },
  (table) => [
    index('audit_log_organization_id_created_at_id_idx').on(table.organizationId, table.createdAt, table.id),
    index('audit_log_target_id_idx').on(table.targetId),
    index('audit_log_organization_id_action_created_at_id_idx')
      .on(table.organizationId, table.action, table.createdAt, table.id)
      .where(sql`${table.organizationId} IS NOT NULL`),
    // By actor first, because a purge erases an actor from the entries of all organizations.
    index('audit_log_actor_id_organization_id_created_at_id_idx').on(table.actorId, table.organizationId, table.createdAt, table.id),
    index('audit_log_created_at_idx').on(table.createdAt),
  ],
);

export type AuditEntry = typeof auditLog.$inferSelect;
