import { Inject, Injectable } from '@nestjs/common';
import { and, eq, isNull, or, sql, type SQL } from 'drizzle-orm';
import { type EventVersion, isNewer, versionColumns } from '../sync/event-version.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { type Invitation, invitations } from './invitations.table.js';

export interface ClerkInvitationKey {
  organizationId: string;
  email: string;
  clerkInvitationId: string;
  createdAt: Date;
}

/** Queries on invitations that are synced from Clerk. */
@Injectable()
export class SyncedInvitationsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findByClerkId(clerkInvitationId: string, db: Queryable = this.db): Promise<Invitation | undefined> {
    const [invitation] = await db.select().from(invitations).where(eq(invitations.clerkInvitationId, clerkInvitationId));
    return invitation;
  }

  async insert(invitation: typeof invitations.$inferInsert, db: Queryable): Promise<Invitation> {
    const [inserted] = await db.insert(invitations).values(invitation).returning();
    return inserted!;
  }

  async updateIfNewer(
    id: string,
    changes: Partial<typeof invitations.$inferInsert>,
    version: EventVersion,
    db: Queryable,
  ): Promise<Invitation | undefined> {
    const [updated] = await db
      .update(invitations)
      .set({ ...changes, ...versionColumns(version) })
      .where(and(eq(invitations.id, id), isNewer(version, invitations)))
      .returning();
    return updated;
  }

  /** Inviter and answerer never change, and some events lack them, so even an old event may fill them in. */
  async fillInPeople(id: string, { invitedBy, answeredBy }: { invitedBy?: string; answeredBy?: string }, db: Queryable): Promise<void> {
    const isUnknown = or(
      invitedBy === undefined ? undefined : isNull(invitations.invitedBy),
      answeredBy === undefined ? undefined : isNull(invitations.answeredBy),
    );
    if (isUnknown === undefined) return;
    await db
      .update(invitations)
      .set({
        invitedBy: sql`coalesce(${invitations.invitedBy}, ${invitedBy ?? null}::uuid)`,
        answeredBy: sql`coalesce(${invitations.answeredBy}, ${answeredBy ?? null}::uuid)`,
      })
      .where(and(eq(invitations.id, id), isUnknown));
  }

  /** Whether the address was invited again later, in any status. */
  async hasNewerInvitation(invitation: ClerkInvitationKey, db: Queryable): Promise<boolean> {
    const [newer] = await db
      .select({ id: invitations.id })
      .from(invitations)
      .where(and(otherInvitationsOf(invitation), sql`${orderKey} > (${invitation.createdAt}, ${invitation.clerkInvitationId})`))
      .limit(1);
    return newer !== undefined;
  }

  async revokePending(scope: { organizationId: string } | { olderThan: ClerkInvitationKey }, db: Queryable): Promise<void> {
    const condition =
      'organizationId' in scope
        ? eq(invitations.organizationId, scope.organizationId)
        : and(otherInvitationsOf(scope.olderThan), sql`${orderKey} < (${scope.olderThan.createdAt}, ${scope.olderThan.clerkInvitationId})`);
    await db
      .update(invitations)
      .set({ status: 'revoked' })
      .where(and(condition, eq(invitations.status, 'pending')));
  }
}

const orderKey = sql`(${invitations.createdAt}, ${invitations.clerkInvitationId})`;

/** Excludes the invitation itself, because its creation time may differ between events. */
function otherInvitationsOf({ organizationId, email, clerkInvitationId }: ClerkInvitationKey): SQL | undefined {
  const isOther = sql`${invitations.clerkInvitationId} IS DISTINCT FROM ${clerkInvitationId}`;
  return and(eq(invitations.organizationId, organizationId), eq(invitations.email, email), isOther);
}
