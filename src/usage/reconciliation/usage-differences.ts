import type { Finding } from '../../sync/reconciliation.port.js';
import { type Counts, COUNTS } from './compared-counts.js';
import type { SumsDifference } from './rollup-reconciliation.repository.js';
import type { HourDifference, QuotaCounts } from './compared-usage.repository.js';

export interface QuotaDifference {
  periodStart: Date;
  /** Undefined if there is no quota. */
  stored: QuotaCounts | undefined;
  actual: QuotaCounts;
}

export interface OwnerDifferences {
  hours: HourDifference[];
  sums: SumsDifference[];
  quotas: QuotaDifference[];
  /** Their number, and the first of them. */
  missingIds: { count: number; some: string[] };
  /** The number of ids with the missing ones, and of all events ever recorded. */
  ids: { stored: number; actual: number };
}

interface OfPeriod {
  periodStart: Date;
}

const QUOTA_COUNTS = ['used', 'overrun', 'held'] as const;

/** Compares quotas with the sums of events and live holds. A period can have several sums. */
export function compareQuotas(quotas: (OfPeriod & QuotaCounts)[], sums: (OfPeriod & Partial<QuotaCounts>)[]): QuotaDifference[] {
  const periods = new Map<number, QuotaDifference>();
  const periodOf = ({ periodStart }: OfPeriod): QuotaDifference => {
    const known = periods.get(periodStart.getTime());
    const period = known ?? { periodStart, stored: undefined, actual: { used: 0, overrun: 0, held: 0 } };
    periods.set(periodStart.getTime(), period);
    return period;
  };
  for (const quota of quotas) periodOf(quota).stored = quota;
  for (const sum of sums) for (const name of QUOTA_COUNTS) periodOf(sum).actual[name] += sum[name] ?? 0;
  return [...periods.values()]
    .filter(({ stored, actual }) => stored === undefined || QUOTA_COUNTS.some((name) => stored[name] !== actual[name]))
    .sort((a, b) => a.periodStart.getTime() - b.periodStart.getTime());
}

export function describe(
  ownerId: string,
  { hours, sums, quotas, missingIds, ids }: OwnerDifferences,
  repair: NonNullable<Finding['repair']>,
): Finding[] {
  const countNames = Object.keys(COUNTS) as (keyof Counts)[];
  return [
    ...hours.map(({ hour, model, actorUserId, stored, actual }) => {
      const id = `${ownerId} ${hour.toISOString()} ${model} ${actorUserId ?? '-'}`;
      return { ...describeCounts(countNames, stored, actual), resource: 'rollup', id, repair };
    }),
    ...sums.map(({ source, at, model, actorUserId, stored, actual }) => {
      const id = `${ownerId} ${at.toISOString()} ${model}${source === 'month' ? ` ${actorUserId ?? '-'}` : ''}`;
      return { ...describeCounts(countNames, stored, actual), resource: `${source} rollup`, id, repair };
    }),
    ...quotas.map(({ periodStart, stored, actual }) => {
      const id = `${ownerId} ${periodStart.toISOString()}`;
      return { ...describeCounts(QUOTA_COUNTS, stored, actual), resource: 'quota', id, repair };
    }),
    ...missingIds.some.map((eventId) => ({
      kind: 'missing' as const,
      resource: 'event id',
      id: `${ownerId} ${eventId}`,
      details: [],
      repair,
    })),
    ...describeOthers(ownerId, missingIds.count - missingIds.some.length, repair),
    ...describeIds(ownerId, ids),
  ];
}

function describeOthers(ownerId: string, count: number, repair: Finding['repair']): Finding[] {
  return count === 0 ? [] : [{ kind: 'missing', resource: 'event id', id: `${ownerId} others`, details: [`${count} more`], repair }];
}

/** The difference that has to be added to the stored value. */
export function missingFrom<Name extends string>(
  stored: Record<Name, number> | undefined,
  actual: Record<Name, number>,
): Record<Name, number> {
  const names = Object.keys(actual) as Name[];
  return Object.fromEntries(names.map((name) => [name, actual[name] - (stored?.[name] ?? 0)])) as Record<Name, number>;
}

function describeCounts<Name extends string>(
  names: readonly Name[],
  stored: Record<Name, number> | undefined,
  actual: Record<Name, number>,
): Pick<Finding, 'kind' | 'details'> {
  const details = names
    .map((name) => ({ name, from: stored?.[name] ?? 0, to: actual[name] }))
    .filter(({ from, to }) => from !== to)
    .map(({ name, from, to }) => `${name} ${from} instead of ${to}`);
  return { kind: stored === undefined ? 'missing' : 'stale', details };
}

/** Not repairable: nobody knows the event of a surplus id, or what a pruned hour has counted. */
function describeIds(ownerId: string, { stored, actual }: OwnerDifferences['ids']): Finding[] {
  return stored === actual ? [] : [{ kind: 'stale', resource: 'id count', id: ownerId, details: [`${stored} instead of ${actual}`] }];
}
