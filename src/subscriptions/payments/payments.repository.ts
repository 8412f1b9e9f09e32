import { Inject, Injectable } from '@nestjs/common';
import { and, count, desc, eq, type SQL, sql } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import type { Owner } from '../../owners/owner.js';
import { DATABASE, type Database, type Queryable } from '../../platform/database/database.js';
import { isOneOf } from '../../platform/database/statements/lists.js';
import { ownedBy } from '../customers/owned-by.js';
import { type Payment, payments, type PaymentState, type PaymentStatus } from './payments.table.js';
import type { ReturnReason } from '../subscription-state.js';
import { subscriptions } from '../subscriptions.table.js';

export type SubscriptionPayment = Payment & { subscriptionId: string | null };

const PAID_STATUSES = ['succeeded', 'partially_refunded', 'refunded'] as const satisfies PaymentStatus[];
/** States of payments that went back, in part or in full. */
export const RETURNED_PAYMENT_STATES = ['partially_refunded', 'refunded', 'disputed', 'dispute_lost'] as const satisfies PaymentState[];
export type ReturnedPaymentState = (typeof RETURNED_PAYMENT_STATES)[number];

@Injectable()
export class PaymentsRepository {
  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async list(
    { kind, id }: Owner,
    state: PaymentState | undefined,
    { limit, after }: { limit: number; after?: { createdAt: string; id: string } },
  ): Promise<SubscriptionPayment[]> {
    // First the page, then the joins: an owner may have many payments.
    const page = this.db
      .select()
      .from(payments)
      .where(
        and(
          // One id, so that an index returns the payments in order.
          kind === 'organization' ? eq(payments.ownerId, id) : ownedBy(id, payments.ownerId),
          state === undefined ? undefined : eq(payments.state, state),
          after && sql`(${payments.occurredAt}, ${payments.id}) < (${after.createdAt}::timestamptz, ${after.id}::uuid)`,
        ),
      )
      .orderBy(desc(payments.occurredAt), desc(payments.id))
      .limit(limit)
      .as('page');
    // A refund or dispute without a subscription takes that of its payment.
    const originals = alias(payments, 'originals');
    const isOriginal = and(
      eq(originals.provider, page.provider),
      eq(originals.kind, 'payment'),
      eq(originals.providerPaymentId, page.ofProviderPaymentId),
    );
    const paidFor = sql`coalesce(${page.providerSubscriptionId}, ${originals.providerSubscriptionId})`;
    const rows = await this.db
      .select({ payment: page._.selectedFields, subscriptionId: subscriptions.id })
      .from(page)
      .leftJoin(originals, isOriginal)
      .leftJoin(subscriptions, and(eq(subscriptions.provider, page.provider), eq(subscriptions.providerSubscriptionId, paidFor)))
      .orderBy(desc(page.occurredAt), desc(page.id));
    return rows.map(({ payment, subscriptionId }) => ({ ...payment, subscriptionId }));
  }

  /**
   * The subscriptions whose payments for the current period all went back. Payments from a day before the period count, since providers
   * charge early; without any, the latest one counts. Payments of zero are ignored: replacing a card makes one.
   */
  async findReturned(subscriptionIds: string[], db: Queryable = this.db): Promise<Map<string, ReturnReason>> {
    const { rows } = await db.execute<{ id: string; how: ReturnReason }>(sql`
      SELECT s.id, CASE WHEN bool_or(paid.state = 'dispute_lost') THEN 'dispute_lost' ELSE 'refunded' END AS how
        FROM subscriptions s
        JOIN LATERAL (
          SELECT ${payments.amount} AS amount, ${payments.occurredAt} AS at, max(${payments.occurredAt}) OVER () AS latest, ${payments.state} AS state
            FROM ${payments}
           WHERE ${isPaymentFor(sql`s`)} AND ${payments.kind} = 'payment' AND ${isOneOf(payments.status, PAID_STATUSES)}
        ) paid ON paid.at >= least(s.current_period_start - interval '1 day', paid.latest)
       WHERE s.id = ANY (${sql.param(subscriptionIds)}::uuid[])
       GROUP BY s.id
      HAVING bool_and(paid.state IN ('refunded', 'dispute_lost')) FILTER (WHERE paid.amount IS DISTINCT FROM 0)`);
    return new Map(rows.map(({ id, how }) => [id, how]));
  }

  /** Counts the payments that went back, by state. */
  async countReturned(): Promise<Map<ReturnedPaymentState, number>> {
    const rows = await this.db
      .select({ state: sql<ReturnedPaymentState>`${payments.state}`, count: count() })
      .from(payments)
      .where(isOneOf(payments.state, RETURNED_PAYMENT_STATES))
      .groupBy(payments.state);
    return new Map(rows.map((row) => [row.state, row.count]));
  }
}

export function hasPaymentInState(state: PaymentState): SQL {
  return sql`EXISTS (SELECT FROM ${payments} WHERE ${isPaymentFor(sql`${subscriptions}`)} AND ${payments.state} = ${state})`;
}

function isPaymentFor(subscription: SQL): SQL {
  return sql`${payments.provider} = ${subscription}.provider AND ${payments.providerSubscriptionId} = ${subscription}.provider_subscription_id`;
}
