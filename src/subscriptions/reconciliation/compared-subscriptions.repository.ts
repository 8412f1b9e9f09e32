import { Inject, Injectable } from '@nestjs/common';
import { and, asc, count, eq, gt, lte, sql } from 'drizzle-orm';
import { FIRST_ID } from '../../platform/crypto/ids.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isNoneOf, isOneOf } from '../../platform/database/statements/lists.js';
import type { BillingProviderName } from '../../plans/plans.js';
import { type ReconciliationCursor, reconciliationCursors } from './reconciliation-cursors.table.js';
import { LIVE_STATUSES } from './subscription-comparison.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';

/** Sorts before any id. */

@Injectable()
export class ComparedSubscriptionsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async findAll(provider: BillingProviderName, providerSubscriptionIds: string[]): Promise<Subscription[]> {
    if (providerSubscriptionIds.length === 0) return [];
    return this.db
      .select()
      .from(subscriptions)
      .where(and(eq(subscriptions.provider, provider), isOneOf(subscriptions.providerSubscriptionId, providerSubscriptionIds)));
  }

  async listLive(provider: BillingProviderName, { after, limit }: { after: string | null; limit: number }): Promise<Subscription[]> {
    return this.db
      .select()
      .from(subscriptions)
      .where(and(isLive(provider), gt(subscriptions.id, after ?? FIRST_ID)))
      .orderBy(asc(subscriptions.id))
      .limit(limit);
  }

  async countLive(provider: BillingProviderName): Promise<number> {
    const [row] = await this.db.select({ live: count() }).from(subscriptions).where(isLive(provider));
    return row!.live;
  }

  async sampleLive(provider: BillingProviderName, { exceptIds, limit }: { exceptIds: string[]; limit: number }): Promise<string[]> {
    const rows = await this.db
      .select({ id: subscriptions.providerSubscriptionId })
      .from(subscriptions)
      .where(and(isLive(provider), isNoneOf(subscriptions.providerSubscriptionId, exceptIds)))
      .orderBy(sql`random()`)
      .limit(limit);
    return rows.map(({ id }) => id!);
  }

  /** Leases subscriptions that are due for a check, until a later time. */
  async claimDue({ now, until, limit }: { now: Date; until: Date; limit: number }, db: Queryable = this.db): Promise<Subscription[]> {
    const due = db
      .select({ id: subscriptions.id })
      .from(subscriptions)
      .where(lte(subscriptions.checkAt, now))
      .orderBy(asc(subscriptions.checkAt))
      .limit(limit)
      .for('no key update', { skipLocked: true });
    return db
      .update(subscriptions)
      .set({ checkAt: until })
      .where(sql`${subscriptions.id} IN (${due})`)
      .returning();
  }

  /** Sets the next check, unless the row was written since it was leased. */
  async postpone({ id, checkAt: claimedUntil }: Subscription, until: Date, db: Queryable = this.db): Promise<void> {
    await db
      .update(subscriptions)
      .set({ checkAt: until })
      .where(and(eq(subscriptions.id, id), eq(subscriptions.checkAt, claimedUntil!)));
  }

  async findCursor(provider: BillingProviderName, db: Queryable = this.db): Promise<ReconciliationCursor | undefined> {
    const [cursor] = await db.select().from(reconciliationCursors).where(eq(reconciliationCursors.provider, provider));
    return cursor;
  }

  async saveCursor(cursor: Pick<ReconciliationCursor, 'provider' | 'phase' | 'position'>, db: Queryable = this.db): Promise<void> {
    const { phase, position } = cursor;
    await db
      .insert(reconciliationCursors)
      .values(cursor)
      .onConflictDoUpdate({ target: reconciliationCursors.provider, set: { phase, position, updatedAt: sql`now()` } });
  }

  async deleteCursor(provider: BillingProviderName, db: Queryable = this.db): Promise<void> {
    await db.delete(reconciliationCursors).where(eq(reconciliationCursors.provider, provider));
  }
}

function isLive(provider: BillingProviderName) {
  return and(eq(subscriptions.provider, provider), isOneOf(subscriptions.status, LIVE_STATUSES));
}
