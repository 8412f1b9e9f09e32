import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import type { Actor } from '../access/principal.js';
import { InvitationEnds } from '../invitations/invitation-ends.service.js';
import { OutboxService } from '../outbox/outbox.service.js';
import { DATABASE, type Database, type Queryable } from '../platform/database/database.js';
import { LastAdmin } from './memberships.errors.js';
import { MembershipsRepository } from './memberships.repository.js';
import { MembershipsService } from './memberships.service.js';

/** Organizations that one transaction locks. */
const STEP = 200;
const REST = 'membership.end_rest';

interface Rest {
  userId: string;
  /** The organization of the last step. */
  after: string;
  actor: Actor;
}

/**
 * Ends the memberships of deleted users, and the invitations sent by suspended ones. What the user could do has ended
 * before; of many organizations, the rest follows after the commit, some in a transaction (docs/decisions/0067).
 */
@Injectable()
export class MembershipEnds implements OnModuleInit {
  constructor(
    private readonly repository: MembershipsRepository,
    private readonly memberships: MembershipsService,
    private readonly invitationEnds: InvitationEnds,
    private readonly outbox: OutboxService,
    @Inject(DATABASE) private readonly db: Database,
  ) {}

  onModuleInit(): void {
    this.outbox.handle(REST, (rest) => this.endRest(rest as Rest));
  }

  /** For a user who deletes themselves. The caller has locked the user, so none is added meanwhile. @throws {LastAdmin} */
  async endAllOfUser(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const organizationIds = await this.repository.lockOrganizationsOfUser(userId, { limit: STEP }, db);
    if (await this.repository.isLastAdmin(userId, db)) throw new LastAdmin();
    await this.endMemberships(userId, organizationIds, actor, db);
    await this.continueAfter(organizationIds, { userId, actor }, db);
  }

  /**
   * For a deletion that cannot be refused: the oldest member replaces a last admin. The caller has locked the user.
   * @returns the ids of the organizations that the user has left
   */
  async endAllOfDeletedUser(userId: string, actor: Actor, db: Queryable): Promise<string[]> {
    const organizationIds = await this.repository.lockOrganizationsOfUser(userId, { limit: STEP }, db);
    await this.endMemberships(userId, organizationIds, actor, db);
    await this.continueAfter(organizationIds, { userId, actor }, db);
    return organizationIds;
  }

  /** For a suspended or banned user. The caller has locked the user. */
  async endInvitationsSentByUser(userId: string, actor: Actor, db: Queryable): Promise<void> {
    const organizationIds = await this.repository.lockOrganizationsOfUser(userId, { limit: STEP }, db);
    await this.invitationEnds.endSentBy(sendersIn(organizationIds, userId), actor, db);
    await this.continueAfter(organizationIds, { userId, actor }, db);
  }

  private async endRest({ userId, after, actor }: Rest): Promise<void> {
    for (let last: string | undefined = after; last !== undefined;) {
      const position: string = last;
      last = await this.db.transaction(async (tx) => {
        const user = await this.repository.lockLostUser(userId, tx);
        // They may have been unsuspended or purged since.
        if (user === undefined) return undefined;
        const organizationIds = await this.repository.lockOrganizationsOfUser(userId, { limit: STEP, after: position }, tx);
        if (user.isDeleted) await this.endMemberships(userId, organizationIds, actor, tx);
        else await this.invitationEnds.endSentBy(sendersIn(organizationIds, userId), actor, tx);
        return organizationIds[STEP - 1];
      });
    }
  }

  private async endMemberships(userId: string, organizationIds: string[], actor: Actor, db: Queryable): Promise<void> {
    if (organizationIds.length === 0) return;
    await this.repository.endOfUser(userId, organizationIds, db);
    await this.invitationEnds.endSentBy(sendersIn(organizationIds, userId), actor, db);
    await this.memberships.ensureAdmins(organizationIds, db);
  }

  private async continueAfter(organizationIds: string[], rest: Omit<Rest, 'after'>, db: Queryable): Promise<void> {
    const after = organizationIds[STEP - 1];
    if (after !== undefined) await this.outbox.enqueue(REST, { ...rest, after } satisfies Rest, db);
  }
}

function sendersIn(organizationIds: string[], userId: string): { organizationId: string; userId: string }[] {
  return organizationIds.map((organizationId) => ({ organizationId, userId }));
}
