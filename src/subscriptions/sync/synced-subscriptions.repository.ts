import { Injectable } from '@nestjs/common';
import { and, eq, getTableColumns, sql } from 'drizzle-orm';
import type { Queryable } from '../../platform/database/database.js';
import { queries, rowsOf, sendStatement, sendWrite, statement, statementByColumns } from '../../platform/database/statement.js';
import {
  type EventVersion,
  isNewer,
  isSame,
  VERSION,
  versionColumns,
  versionPlaceholders,
  versionValues,
} from '../../sync/event-version.js';
import { payments } from '../payments/payments.table.js';
import { type Subscription, subscriptions } from '../subscriptions.table.js';
import type { BillingPeriod } from './billing-provider.port.js';
import { subscriptionPeriods } from './subscription-periods.table.js';
import { subscriptionProducts } from './subscription-products.table.js';

const EXPECTED = 'expected ';

const LOCK_FOR_SYNC = statement(
  queries
    .select({
      ...getTableColumns(subscriptions),
      isNewer: isNewer(VERSION, subscriptions).as('is_newer'),
      isSame: isSame(versionPlaceholders(EXPECTED), subscriptions).as('is_same'),
    })
    .from(subscriptions)
    .where(
      and(
        eq(subscriptions.provider, sql.placeholder('provider')),
        eq(subscriptions.providerSubscriptionId, sql.placeholder('providerSubscriptionId')),
      ),
    )
    .for('no key update'),
);
const UPSERT_PRODUCT = statement(
  queries
    .insert(subscriptionProducts)
    .values({ subscriptionId: sql.placeholder('subscriptionId'), productId: sql.placeholder('productId'), ...versionColumns(VERSION) })
    .onConflictDoUpdate({
      target: [subscriptionProducts.subscriptionId, subscriptionProducts.productId],
      set: versionColumns(VERSION),
      setWhere: isNewer(VERSION, subscriptionProducts),
    }),
);
const UPSERT_PERIOD = statement(
  queries
    .insert(subscriptionPeriods)
    .values({
      subscriptionId: sql.placeholder('subscriptionId'),
      startsAt: sql.placeholder('start'),
      endsAt: sql.placeholder('end'),
      ...versionColumns(VERSION),
    })
    .onConflictDoUpdate({
      target: [subscriptionPeriods.subscriptionId, subscriptionPeriods.startsAt],
      set: { endsAt: sql`excluded.ends_at`, ...versionColumns(VERSION) },
      setWhere: isNewer(VERSION, subscriptionPeriods),
    }),
);
const UPSERT_PAYMENT = statementByColumns<typeof payments.$inferInsert>(({ id, ...fields }) =>
  queries
    .insert(payments)
    .values({ id, ...fields, ...versionColumns(VERSION) })
    .onConflictDoUpdate({
      target: [payments.provider, payments.kind, payments.providerPaymentId],
      set: { ...fields, ...versionColumns(VERSION), updatedAt: sql`now()` },
      setWhere: isNewer(VERSION, payments),
    }),
);

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
    const versions = { ...versionValues(version), ...versionValues(expectedVersion ?? version, EXPECTED) };
    const query = LOCK_FOR_SYNC({ provider, providerSubscriptionId, ...versions });
    const { rows } = await sendStatement<{ is_newer: boolean; is_same: boolean }>(query, db);
    const [row] = rowsOf(subscriptions, rows);
    return row && { row, isNewer: rows[0]!.is_newer, isSame: rows[0]!.is_same };
  }

  async upsertProduct(subscriptionId: string, productId: string, version: EventVersion, db: Queryable): Promise<void> {
    await sendWrite(UPSERT_PRODUCT({ subscriptionId, productId, ...versionValues(version) }), db);
  }

  async upsertPeriod(subscriptionId: string, { start, end }: BillingPeriod, version: EventVersion, db: Queryable): Promise<void> {
    await sendWrite(UPSERT_PERIOD({ subscriptionId, start, end, ...versionValues(version) }), db);
  }

  /** Returns whether it changed the row. */
  async upsertPayment(row: typeof payments.$inferInsert, version: EventVersion, db: Queryable): Promise<boolean> {
    const { rowCount } = await sendStatement(UPSERT_PAYMENT(row, versionValues(version)), db);
    return rowCount === 1;
  }
}
