import { Injectable } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { ApiKeysService } from '../api-keys/api-keys.service.js';
import type { Queryable } from '../platform/database/database.js';
import { MailService } from '../mail/mail.service.js';
import { MembershipsService } from '../memberships/memberships.service.js';
import { UsersRepository } from './users.repository.js';

/**
 * An account that never proved its address has lost it, or itself, to the address's owner. Ends what that account
 * made for others: API keys, invitations, and memberships of people whom it let in (docs/decisions/0040).
 */
@Injectable()
export class Takeovers {
  constructor(
    private readonly repository: UsersRepository,
    private readonly apiKeys: ApiKeysService,
    private readonly memberships: MembershipsService,
    private readonly mail: MailService,
  ) {}

  /** As `endMadeBy`, for the account of somebody who proves its address now; nothing for one that was proved before. */
  async endMadeByUnproved(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const user = await this.repository.lock(userId, db);
    if (user === undefined || user.emailVerified || user.email === null) return;
    await this.endMadeBy(userId, user.email, actor, db);
  }

  /** Ends what an account made for others, and counts it. The caller holds the lock of the account's row. */
  async endAllMadeBy(userId: string, actor: Actor, db: Queryable): Promise<{ keys: number; invitations: number; members: number }> {
    const organizationIds = await this.repository.listOrganizationIds(userId, db);
    await this.memberships.lockOrganizations(organizationIds, db);
    const people = await this.repository.listLetInBy(userId, organizationIds, db);
    const keys = await this.apiKeys.revokeMadeBy(people, actor, db);
    const invitations = await this.memberships.endInvitationsSentBy(people, actor, db);
    const others = people.filter((one) => one.userId !== userId);
    const members = await this.memberships.endUnproved(others, actor, db);
    return { keys, invitations, members };
  }

  /**
   * The caller holds the lock of the account's row, and has found its address to be unproved.
   *
   * @param email whose owner is told what ended
   */
  async endMadeBy(userId: string, email: string, actor: Actor, db: Queryable): Promise<void> {
    const { keys, invitations, members } = await this.endAllMadeBy(userId, actor, db);
    if (keys + invitations + members === 0) return;
    await this.mail.send(
      {
        kind: 'account_recovered',
        to: email,
        subject: 'Access from before you confirmed your address has ended',
        text:
          `Hello,\n\nan account used this email address before anybody had confirmed it. You have confirmed it now, so what that account set up for others has ended:\n\n` +
          `- API keys: ${keys}\n- open invitations: ${invitations}\n- memberships of other people: ${members}\n\n` +
          `If that account was yours, create new API keys and invite those people again. If it was not, delete the organizations that you do not know.\n`,
      },
      db,
    );
  }
}
