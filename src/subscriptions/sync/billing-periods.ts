import { LAST_MOMENT } from '../../platform/time/moments.js';
import { type BillingPeriod, type BillingPeriods, periodOf } from './billing-provider.port.js';
import type { Subscription } from '../subscriptions.table.js';
import { SLACK_MS } from '../subscription-state.js';
import { DAY_MS } from '../../platform/time/durations.js';

type Row = Pick<Subscription, 'startedAt' | 'currentPeriodStart' | 'currentPeriodEnd' | 'createdAt' | 'endsAt' | 'cancelAtPeriodEnd'>;

/**
 * All periods of a subscription: the stored ones, the row's current one (versions before decision 0031 stored none), and
 * one from the start of the subscription to its first stored period. A grant has a single period without end.
 */
export function billingPeriodsOf(row: Row, stored: BillingPeriod[]): BillingPeriods {
  const { startedAt, currentPeriodStart, currentPeriodEnd, createdAt } = row;
  const current = periodOf(currentPeriodStart, currentPeriodEnd);
  const byStart = new Map([...stored, ...(current === undefined ? [] : [current])].map((period) => [period.start.getTime(), period]));
  const list = [...byStart.values()].sort((a, b) => a.start.getTime() - b.start.getTime());
  const first = list[0]?.start;
  if (first === undefined)
    return { list: [{ start: startedAt ?? currentPeriodStart ?? createdAt, end: new Date(LAST_MOMENT) }], isLastFinal: false };
  // Providers report the first period a few moments after the start of the subscription.
  if (startedAt !== null && startedAt.getTime() < first.getTime() - DAY_MS) list.unshift({ start: startedAt, end: first });
  return { list, isLastFinal: isFinal(row, list.at(-1)!) };
}

function isFinal({ endsAt, cancelAtPeriodEnd, currentPeriodEnd }: Row, { end }: BillingPeriod): boolean {
  const knownEnd = endsAt ?? (cancelAtPeriodEnd ? currentPeriodEnd : null);
  return knownEnd !== null && knownEnd.getTime() <= end.getTime() + SLACK_MS;
}
