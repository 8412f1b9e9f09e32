import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { ApiKeysService } from '../api-keys/api-keys.service.js';
import type { Queryable } from '../platform/database/database.js';
import { InvitationEnds } from '../invitations/invitation-ends.service.js';
import { MailService } from '../mail/mail.service.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { UsersRepository } from './users.repository.js';

/**
 * Ends the access that an account set up before its address was verified, once the owner of the address takes over:
 * API keys, invitations, and memberships of the people it invited (docs/decisions/0040).
 */
@Injectable()
export class Takeovers {
  constructor(
    private readonly repository: UsersRepository,
    private readonly apiKeys: ApiKeysService,
    private readonly memberships: MembershipsService,
    private readonly invitationEnds: InvitationEnds,
    private readonly mail: MailService,
  ) {}

  async endGrantsOfUnverified(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const user = await this.repository.lock(userId, db);
    if (user === undefined || user.emailVerified || user.email === null) return;
    await this.endGrantsAndNotify(userId, user.email, actor, db);
  }

  async endGrants(userId: string, actor: Actor, db: Queryable): Promise<{ keys: number; invitations: number; members: number }> {
    const organizationIds = await this.repository.listOrganizationIds(userId, db);
    await this.memberships.lockOrganizations(organizationIds, db);
    const people = await this.repository.listInvitedBy(userId, organizationIds, db);
    const keys = await this.apiKeys.revokeCreatedBy(people, actor, db);
    const invitations = await this.invitationEnds.endSentBy(people, actor, db);
    const others = people.filter((person) => person.userId !== userId);
    const members = await this.memberships.removeInvitedMembers(others, actor, db);
    return { keys, invitations, members };
  }

  /** The caller has locked the account, whose address is unverified. */
  async endGrantsAndNotify(userId: string, email: string, actor: Actor, db: Queryable): Promise<void> {
    const { keys, invitations, members } = await this.endGrants(userId, actor, db);
    if (keys + invitations + members === 0) return;
    await this.mail.send(
      {
        kind: 'account_recovered',
        to: email,
        subject: 'Access from before you confirmed your address has ended',
        text:
          `Hello,\n\nAn account used this email address before it was confirmed. You have confirmed it now, so the access that the account gave to others has ended:\n\n` +
          `- API keys: ${keys}\n- open invitations: ${invitations}\n- memberships of other people: ${members}\n\n` +
          `If that account was yours, create new API keys and invite those people again. If it was not, delete the organizations that you do not know.\n`,
      },
      db,
    );
  }
}
