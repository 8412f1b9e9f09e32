import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { AuditService } from '../audit/audit.service.js';
import type { Queryable } from '../platform/database/database.js';
import { InvitationsRepository } from './invitations.repository.js';

/** Revokes the invitations of users who may no longer invite (docs/decisions/0030). */
@Injectable()
export class InvitationEnds {
  constructor(
    private readonly repository: InvitationsRepository,
    private readonly audit: AuditService,
  ) {}

  /** The caller has locked the organizations; accepting an invitation takes the same locks. */
  async endSentBy(inviterId: string, organizationIds: string[], actor: Actor, db: Queryable): Promise<number> {
    if (organizationIds.length === 0) return 0;
    const ended = await this.repository.revokeSentBy(inviterId, organizationIds, db);
    const change = { before: { status: 'pending' }, after: { status: 'revoked', reason: 'inviter_lost_role' } };
    for (const { id, organizationId } of ended)
      await this.audit.record({ actor, action: 'invitation.revoked', organizationId, target: { type: 'invitation', id }, ...change }, db);
    return ended.length;
  }
}
