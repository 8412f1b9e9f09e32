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

  /** The caller has locked the organizations; accepting an invitation takes the same locks. Returns the number of ended invitations. */
  async endSentBy(senders: { organizationId: string; userId: string }[], actor: Actor, db: Queryable): Promise<number> {
    if (senders.length === 0) return 0;
    const ended = await this.repository.revokeSentBy(senders, db);
    const change = { actor, before: { status: 'pending' }, after: { status: 'revoked', reason: 'inviter_lost_role' } };
    await this.audit.recorderOfMany('invitation')('invitation.revoked', ended, () => change, db);
    return ended.length;
  }
}
