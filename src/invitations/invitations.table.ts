import { sql } from 'drizzle-orm';
import { check, index, pgEnum, pgTable, text, uniqueIndex, uuid } from 'drizzle-orm/pg-core';
import { eventVersion, time, timestamps } from '../platform/database/columns.js';
import { membershipRole } from '../memberships/organization-memberships.table.js';
import { organizations } from '../organizations/organizations.table.js';

export const INVITATION_STATUSES = ['pending', 'accepted', 'declined', 'revoked', 'expired'] as const;
export type InvitationStatus = (typeof INVITATION_STATUSES)[number];

export const invitationStatus = pgEnum('invitation_status', INVITATION_STATUSES);

export const invitations = pgTable(
  'invitations',
  {
    id: uuid('id').primaryKey(),
    clerkInvitationId: text('clerk_invitation_id').unique('invitations_clerk_invitation_id_key'),
    organizationId: uuid('organization_id')
      .notNull()
      .references(() => organizations.id, { onDelete: 'cascade' }),
    /** Normalised. */
    email: text('email').notNull(),
    role: membershipRole('role').notNull(),
    clerkRole: text('clerk_role'),
    /** SHA-256 in base64url. */
    tokenHash: text('token').unique('invitations_token_key'),
    expiresAt: time('expires_at').notNull(),
    status: invitationStatus('status').notNull().default('pending'),
    /** No foreign key: the user may be purged. */
    invitedBy: uuid('invited_by'),
    /** The user who accepted or declined. The same request by them gets the same response. */
    answeredBy: uuid('answered_by'),
    ...eventVersion(),
    ...timestamps(),
  },
  (table) => [
    uniqueIndex('invitations_pending_key')
      .on(table.organizationId, table.email)
      .where(sql`${table.status} = 'pending'`),
    index('invitations_organization_id_created_at_id_idx').on(table.organizationId, table.createdAt, table.id),
    index('invitations_email_idx').on(table.email),
    index('invitations_answered_by_idx')
      .on(table.answeredBy)
      .where(sql`${table.answeredBy} IS NOT NULL`),
    index('invitations_expires_at_idx')
      .on(table.expiresAt)
      .where(sql`${table.status} = 'pending'`),
    check('invitations_email_ascii_lower_case', sql`${table.email} = lower(${table.email} COLLATE "C")`),
  ],
);

export type Invitation = typeof invitations.$inferSelect;
