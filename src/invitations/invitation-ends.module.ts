import { Module } from '@nestjs/common';
import { AuditModule } from '../audit/audit.module.js';
import { InvitationEnds } from './invitation-ends.service.js';
import { InvitationsRepository } from './invitations.repository.js';

/** Apart from `InvitationsModule`, which imports `MembershipsModule`, which imports this. */
@Module({ imports: [AuditModule], providers: [InvitationsRepository, InvitationEnds], exports: [InvitationEnds] })
export class InvitationEndsModule {}
