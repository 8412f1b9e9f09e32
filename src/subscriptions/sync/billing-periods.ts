import { LAST_MOMENT } from '../../platform/time/moments.js';
import { type BillingPeriod, type BillingPeriods, periodOf } from './billing-provider.port.js';
import type { Subscription } from '../subscriptions.table.js';
import { SLACK_MS } from '../subscription-state.js';
import { DAY_MS } from '../../platform/time/durations.js';

type Row = Pick<Subscription, 'startedAt' | 'currentPeriodStart' | 'currentPeriodEnd' | 'createdAt' | 'endsAt' | 'cancelAtPeriodEnd'>;

/**
 * All periods of a subscription, from those stored and from its row.
 *
 * A process of a version before 0031 writes the row and no period, so the row's current period is added here. The time
 * from the start of the subscription to its first stored period counts as one period. Without any, as for a grant, one
 * period goes on for ever.
 */
export function billingPeriodsOf(row: Row, stored: BillingPeriod[]): BillingPeriods {
  const { startedAt, currentPeriodStart, currentPeriodEnd, createdAt } = row;
  const current = periodOf(currentPeriodStart, currentPeriodEnd);
  const byStart = new Map([...stored, ...(current === undefined ? [] : [current])].map((period) => [period.start.getTime(), period]));
  const list = [...byStart.values()].sort((a, b) => a.start.getTime() - b.start.getTime());
  const first = list[0]?.start;
  if (first === undefined)
    return { list: [{ start: startedAt ?? currentPeriodStart ?? createdAt, end: new Date(LAST_MOMENT) }], isLastFinal: false };
  // Providers write the start of the first period some moments after the start of the subscription.
  if (startedAt !== null && startedAt.getTime() < first.getTime() - DAY_MS) list.unshift({ start: startedAt, end: first });
  return { list, isLastFinal: isFinal(row, list.at(-1)!) };
}

function isFinal({ endsAt, cancelAtPeriodEnd, currentPeriodEnd }: Row, { end }: BillingPeriod): boolean {
  const knownEnd = endsAt ?? (cancelAtPeriodEnd ? currentPeriodEnd : null);
  return knownEnd !== null && knownEnd.getTime() <= end.getTime() + SLACK_MS;
}
