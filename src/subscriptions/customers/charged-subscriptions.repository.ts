import { Inject, Injectable } from '@nestjs/common';
import { and, eq, isNotNull, isNull, sql } from 'drizzle-orm';
import { organizations } from '../../organizations/organizations.table.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import { userMerges } from '../../users/user-merges.table.js';
import { users } from '../../users/users.table.js';
import { CHARGED_STATUSES } from '../subscription-state.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';
import { ownedBy } from './owned-by.js';

/** Subscriptions that their provider goes on charging for, and the requests to cancel them there. */
@Injectable()
export class ChargedSubscriptionsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async list(ownerId: string, db: Queryable = this.db): Promise<Subscription[]> {
    return db
      .select()
      .from(subscriptions)
      .where(and(ownedBy(ownerId, subscriptions.ownerId), isNull(subscriptions.endRequestedAt), isCharged()))
      .orderBy(subscriptions.id);
  }

  /** Owners deleted since then that are charged. A merged user is deleted with the user it was merged into. */
  async listDeletedOwners(
    { since, limit, only }: { since: Date; limit: number; only?: string },
    db: Queryable = this.db,
  ): Promise<string[]> {
    const isDeleted = sql`deleted_at >= ${since.toISOString()}::timestamptz`;
    const isMerged = sql`EXISTS (SELECT FROM ${userMerges} WHERE ${userMerges.id} = ${users.id})`;
    const rows = await db
      .selectDistinct({ ownerId: subscriptions.ownerId })
      .from(
        sql`(SELECT id FROM ${organizations} WHERE ${isDeleted} UNION ALL SELECT id FROM ${users} WHERE ${isDeleted} AND NOT ${isMerged}
             UNION ALL SELECT merge.id FROM ${users} JOIN ${userMerges} merge ON merge.into_user_id = ${users.id} WHERE ${isDeleted}) AS deleted`,
      )
      .innerJoin(subscriptions, sql`${subscriptions.ownerId} = deleted.id`)
      .where(and(isNull(subscriptions.endRequestedAt), isCharged(), only === undefined ? undefined : eq(subscriptions.ownerId, only)))
      .limit(limit);
    return rows.map((row) => row.ownerId!);
  }

  async withdrawEndRequests(ownerId: string, db: Queryable): Promise<void> {
    await db
      .update(subscriptions)
      .set({ endRequestedAt: null })
      .where(and(eq(subscriptions.ownerId, ownerId), isNotNull(subscriptions.endRequestedAt)));
  }

  async isEndRequested({ provider, providerSubscriptionId }: { provider: string; providerSubscriptionId: string }): Promise<boolean> {
    const [row] = await this.db
      .select({ endRequestedAt: subscriptions.endRequestedAt })
      .from(subscriptions)
      .where(and(sql`${subscriptions.provider}::text = ${provider}`, eq(subscriptions.providerSubscriptionId, providerSubscriptionId)));
    return row !== undefined && row.endRequestedAt !== null;
  }
}

function isCharged() {
  return and(
    isNotNull(subscriptions.providerSubscriptionId),
    isOneOf(subscriptions.status, CHARGED_STATUSES),
    eq(subscriptions.cancelAtPeriodEnd, false),
  );
}
