import { Injectable } from '@nestjs/common';
import { and, eq, gt, inArray, isNull, or, sql } from 'drizzle-orm';
import type { Queryable } from '../platform/database/database.js';
import { userMerges } from '../users/user-merges.table.js';
import { type Invitation, invitations } from './invitations.table.js';

@Injectable()
export class EndedInvitationsRepository {
  /** Revokes the open invitations that a user, or an account merged into theirs, sent for these organizations. */
  async revokeOpen(organizationIds: string[], inviterId: string, db: Queryable): Promise<Invitation[]> {
    const merged = sql`${invitations.invitedBy} IN (SELECT ${userMerges.id} FROM ${userMerges} WHERE ${userMerges.intoUserId} = ${inviterId})`;
    return db
      .update(invitations)
      .set({ status: 'revoked' })
      .where(
        and(
          inArray(invitations.organizationId, organizationIds),
          eq(invitations.status, 'pending'),
          gt(invitations.expiresAt, sql`now()`),
          isNull(invitations.clerkInvitationId),
          or(eq(invitations.invitedBy, inviterId), merged),
        ),
      )
      .returning();
  }
}
