import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { EndedInvitationsRepository } from './ended-invitations.repository.js';
import { InvitationEnds } from './invitation-ends.service.js';

/** Apart from `InvitationsModule`, which imports `MembershipsModule`, which imports this. */
@Module({ imports: [AuditModule], providers: [EndedInvitationsRepository, InvitationEnds], exports: [InvitationEnds] })
export class InvitationEndsModule {}
