import { Inject, Injectable } from '@nestjs/common';
import { and, count, desc, eq, gt, isNull, lt, lte, or, sql } from 'drizzle-orm';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { rowsOfPeople } from '../platform/database/statements/lists.js';
import { memberships } from '../memberships/organization-memberships.table.js';
import { organizations } from '../organizations/organizations.table.js';
import { userMerges } from '../users/user-merges.table.js';
import { users } from '../users/users.table.js';
import { type Invitation, invitations, type InvitationStatus } from './invitations.table.js';

export interface InvitationWithOrganization extends Invitation {
  organization: { id: string; name: string; slug: string | null; imageUrl: string | null; clerkOrganizationId: string | null };
}

type InvitationKey = { id: string } | { tokenHash: string };

interface Window {
  limit: number;
  after?: { createdAt: string; id: string };
}

const isAfterCursor = (after: Window['after']) =>
  after && sql`(${invitations.createdAt}, ${invitations.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`;

/** By date too, because a job marks expired invitations later. */
const withStatus = (status: InvitationStatus) => {
  const pending = eq(invitations.status, 'pending');
  if (status === 'pending') return and(pending, gt(invitations.expiresAt, sql`now()`));
  if (status === 'expired') return or(eq(invitations.status, 'expired'), and(pending, lte(invitations.expiresAt, sql`now()`)));
  return eq(invitations.status, status);
};

/** Whether the sender of an invitation, or the user they were merged into, may still invite. Clerk decides about its own invitations. */
const mayStillInvite = sql`(${invitations.clerkInvitationId} IS NOT NULL OR EXISTS (
  SELECT 1 FROM ${memberships} JOIN ${users} ON ${users.id} = ${memberships.userId}
   WHERE ${memberships.organizationId} = ${invitations.organizationId} AND ${memberships.role} = 'admin' AND ${memberships.deletedAt} IS NULL
     AND ${users.id} = coalesce((SELECT ${userMerges.intoUserId} FROM ${userMerges} WHERE ${userMerges.id} = ${invitations.invitedBy}), ${invitations.invitedBy})
     AND ${users.deletedAt} IS NULL AND ${users.suspendedAt} IS NULL AND NOT ${users.banned}))`;

const ORGANIZATION = {
  id: organizations.id,
  name: organizations.name,
  slug: organizations.slug,
  imageUrl: organizations.imageUrl,
  clerkOrganizationId: organizations.clerkOrganizationId,
};

@Injectable()
export class InvitationsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async list(
    organizationId: string,
    { status }: { status?: InvitationStatus },
    { limit, after }: Window,
    db: Queryable = this.db,
  ): Promise<Invitation[]> {
    return db
      .select()
      .from(invitations)
      .where(
        and(eq(invitations.organizationId, organizationId), status === undefined ? undefined : withStatus(status), isAfterCursor(after)),
      )
      .orderBy(desc(invitations.createdAt), desc(invitations.id))
      .limit(limit);
  }

  async listOpenForEmail(email: string, { limit, after }: Window, db: Queryable = this.db): Promise<InvitationWithOrganization[]> {
    const rows = await db
      .select({ invitation: invitations, organization: ORGANIZATION })
      .from(invitations)
      .innerJoin(organizations, eq(organizations.id, invitations.organizationId))
      .where(
        and(
          eq(invitations.email, email),
          eq(invitations.status, 'pending'),
          gt(invitations.expiresAt, sql`now()`),
          isNull(organizations.deletedAt),
          mayStillInvite,
          isAfterCursor(after),
        ),
      )
      .orderBy(desc(invitations.createdAt), desc(invitations.id))
      .limit(limit);
    return rows.map(({ invitation, organization }) => ({ ...invitation, organization }));
  }

  async find(by: InvitationKey, db: Queryable): Promise<InvitationWithOrganization | undefined> {
    const [row] = await this.select(by, db);
    return row && { ...row.invitation, organization: row.organization };
  }

  async lock(by: InvitationKey, db: Queryable): Promise<InvitationWithOrganization | undefined> {
    const [row] = await this.select(by, db).for('update', { of: invitations });
    return row && { ...row.invitation, organization: row.organization };
  }

  async mayStillInvite(id: string, db: Queryable): Promise<boolean> {
    const [row] = await db
      .select({ id: invitations.id })
      .from(invitations)
      .where(and(eq(invitations.id, id), mayStillInvite));
    return row !== undefined;
  }

  async countOpen(organizationId: string, db: Queryable): Promise<number> {
    const [row] = await db
      .select({ open: count() })
      .from(invitations)
      .where(and(eq(invitations.organizationId, organizationId), withStatus('pending')));
    return row!.open;
  }

  async isMember(organizationId: string, email: string, db: Queryable): Promise<boolean> {
    const [row] = await db
      .select({ id: memberships.id })
      .from(memberships)
      .innerJoin(users, eq(users.id, memberships.userId))
      .where(
        and(
          eq(memberships.organizationId, organizationId),
          isNull(memberships.deletedAt),
          eq(users.email, email),
          eq(users.emailVerified, true),
        ),
      );
    return row !== undefined;
  }

  /** Returns undefined when the email has a pending invitation. */
  async insert(invitation: typeof invitations.$inferInsert, db: Queryable): Promise<Invitation | undefined> {
    const [inserted] = await db
      .insert(invitations)
      .values(invitation)
      .onConflictDoNothing({ target: [invitations.organizationId, invitations.email], where: sql`status = 'pending'` })
      .returning();
    return inserted;
  }

  async update(id: string, changes: Partial<typeof invitations.$inferInsert>, db: Queryable): Promise<Invitation> {
    const [updated] = await db.update(invitations).set(changes).where(eq(invitations.id, id)).returning();
    return updated!;
  }

  /** Revokes the open invitations that these users, or accounts merged into theirs, sent for the organizations. */
  async revokeSentBy(
    senders: { organizationId: string; userId: string }[],
    db: Queryable,
  ): Promise<Pick<Invitation, 'id' | 'organizationId'>[]> {
    const merged = sql`SELECT ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = sender.user_id`;
    return db
      .update(invitations)
      .set({ status: 'revoked' })
      .from(sql`${rowsOfPeople(senders)} AS sender (organization_id, user_id)`)
      .where(
        and(
          eq(invitations.organizationId, sql`sender.organization_id`),
          withStatus('pending'),
          isNull(invitations.clerkInvitationId),
          sql`(${invitations.invitedBy} = sender.user_id OR ${invitations.invitedBy} IN (${merged}))`,
        ),
      )
      .returning({ id: invitations.id, organizationId: invitations.organizationId });
  }

  async expirePendingOf(organizationId: string, email: string, db: Queryable): Promise<void> {
    await db
      .update(invitations)
      .set({ status: 'expired' })
      .where(
        and(
          eq(invitations.organizationId, organizationId),
          eq(invitations.email, email),
          eq(invitations.status, 'pending'),
          lte(invitations.expiresAt, sql`now()`),
        ),
      );
  }

  private select(by: InvitationKey, db: Queryable) {
    return db
      .select({ invitation: invitations, organization: ORGANIZATION })
      .from(invitations)
      .innerJoin(organizations, eq(organizations.id, invitations.organizationId))
      .where(and('id' in by ? eq(invitations.id, by.id) : eq(invitations.tokenHash, by.tokenHash), isNull(organizations.deletedAt)));
  }

  async expire(limit: number, db: Queryable = this.db): Promise<number> {
    const due = db
      .select({ id: invitations.id })
      .from(invitations)
      .where(and(eq(invitations.status, 'pending'), lt(invitations.expiresAt, sql`now()`)))
      .orderBy(invitations.expiresAt)
      .limit(limit)
      .for('update', { skipLocked: true });
    const { rowCount } = await db
      .update(invitations)
      .set({ status: 'expired' })
      .where(sql`${invitations.id} IN (${due})`);
    return rowCount ?? 0;
  }
}
