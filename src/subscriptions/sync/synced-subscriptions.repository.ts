import { Injectable } from '@nestjs/common';
import { and, eq, sql } from 'drizzle-orm';
import type { Queryable } from '../../platform/database/database.js';
import { type EventVersion, isNewer, isSame, versionColumns } from '../../sync/event-version.js';
import { payments } from '../payments/payments.table.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';
import type { BillingPeriod } from './billing-provider.port.js';
import { subscriptionPeriods } from './subscription-periods.table.js';
import { subscriptionProducts } from './subscription-products.table.js';

/** A locked row, compared with the version of a snapshot. */
export interface LockedSubscription {
  row: Subscription;
  isNewer: boolean;
  /** The row still has the version that the repair expects. */
  isSame: boolean;
}

/** Writes of what billing providers report. Writers hold the lock of the customer. */
@Injectable()
export class SyncedSubscriptionsRepository {
  async lockForSync(
    { provider, providerSubscriptionId }: { provider: Subscription['provider']; providerSubscriptionId: string },
    version: EventVersion,
    expectedVersion: EventVersion | undefined,
    db: Queryable,
  ): Promise<LockedSubscription | undefined> {
    const [locked] = await db
      .select({
        row: subscriptions,
        isNewer: sql<boolean>`${isNewer(version, subscriptions)}`,
        isSame: sql<boolean>`${isSame(expectedVersion ?? version, subscriptions)}`,
      })
      .from(subscriptions)
      .where(and(eq(subscriptions.provider, provider), eq(subscriptions.providerSubscriptionId, providerSubscriptionId)))
      .for('no key update');
    return locked;
  }

  async upsertProduct(subscriptionId: string, productId: string, version: EventVersion, db: Queryable): Promise<void> {
    await db
      .insert(subscriptionProducts)
      .values({ subscriptionId, productId, ...versionColumns(version) })
      .onConflictDoUpdate({
        target: [subscriptionProducts.subscriptionId, subscriptionProducts.productId],
        set: versionColumns(version),
        setWhere: isNewer(version, subscriptionProducts),
      });
  }

  async upsertPeriod(subscriptionId: string, { start, end }: BillingPeriod, version: EventVersion, db: Queryable): Promise<void> {
    await db
      .insert(subscriptionPeriods)
      .values({ subscriptionId, startsAt: start, endsAt: end, ...versionColumns(version) })
      .onConflictDoUpdate({
        target: [subscriptionPeriods.subscriptionId, subscriptionPeriods.startsAt],
        set: { endsAt: end, ...versionColumns(version) },
        setWhere: isNewer(version, subscriptionPeriods),
      });
  }

  /** Returns whether it changed the row. */
  async upsertPayment(row: typeof payments.$inferInsert, version: EventVersion, db: Queryable): Promise<boolean> {
    const { id: _, ...fields } = row;
    const { rowCount } = await db
      .insert(payments)
      .values({ ...row, ...versionColumns(version) })
      .onConflictDoUpdate({
        target: [payments.provider, payments.kind, payments.providerPaymentId],
        set: { ...fields, ...versionColumns(version), updatedAt: sql`now()` },
        setWhere: isNewer(version, payments),
      });
    return rowCount === 1;
  }
}
