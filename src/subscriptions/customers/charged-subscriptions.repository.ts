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

  async listDeletedOwners({ limit, only }: { limit: number; only?: string }, db: Queryable = this.db): Promise<string[]> {
    const ownerId = sql`coalesce(${userMerges.intoUserId}, ${subscriptions.ownerId})`;
    const isAlive = sql`EXISTS (SELECT FROM ${users} WHERE ${users.id} = ${ownerId} AND ${users.deletedAt} IS NULL)
      OR EXISTS (SELECT FROM ${organizations} WHERE ${organizations.id} = ${subscriptions.ownerId} AND ${organizations.deletedAt} IS NULL)`;
    const rows = await db
      .selectDistinct({ ownerId: subscriptions.ownerId })
      .from(subscriptions)
      .leftJoin(userMerges, eq(userMerges.id, subscriptions.ownerId))
      .where(
        and(
          isNotNull(subscriptions.ownerId),
          isNull(subscriptions.endRequestedAt),
          isCharged(),
          sql`NOT (${isAlive})`,
          only === undefined ? undefined : eq(subscriptions.ownerId, only),
        ),
      )
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
