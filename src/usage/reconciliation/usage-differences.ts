import { type Counts, COUNTS, type HourDifference, type QuotaCounts } from './compared-usage.repository.js';

export interface Difference {
  kind: 'rollup' | 'quota' | 'id' | 'ids';
  /** Which one: the owner first. */
  name: string;
  /** What is there instead of what should be. */
  what: string[];
}

export interface QuotaDifference {
  periodStart: Date;
  /** Undefined where there is no quota. */
  told: QuotaCounts | undefined;
  counted: QuotaCounts;
}

/** All that differs of one owner, at one moment. */
export interface Findings {
  hours: HourDifference[];
  quotas: QuotaDifference[];
  /** Of events that would be recorded again if they came again. */
  missingIds: string[];
  /** Of all events that were ever recorded, beside the missing ones. */
  ids: { told: number; counted: number };
}

const QUOTA_COUNTS = ['used', 'overrun', 'held'] as const;

interface OfPeriod {
  periodStart: Date;
}

/** Compares the quotas with what events and live holds come to; of a period there may be several sums. */
export function compareQuotas(quotas: (OfPeriod & QuotaCounts)[], sums: (OfPeriod & Partial<QuotaCounts>)[]): QuotaDifference[] {
  const periods = new Map<number, QuotaDifference>();
  const periodOf = ({ periodStart }: OfPeriod): QuotaDifference => {
    const known = periods.get(periodStart.getTime());
    const period = known ?? { periodStart, told: undefined, counted: { used: 0, overrun: 0, held: 0 } };
    periods.set(periodStart.getTime(), period);
    return period;
  };
  for (const quota of quotas) periodOf(quota).told = quota;
  for (const sum of sums) for (const name of QUOTA_COUNTS) periodOf(sum).counted[name] += sum[name] ?? 0;
  return [...periods.values()]
    .filter(({ told, counted }) => told === undefined || differing(QUOTA_COUNTS, told, counted).length > 0)
    .sort((a, b) => a.periodStart.getTime() - b.periodStart.getTime());
}

export function describe(ownerId: string, { hours, quotas, missingIds, ids }: Findings): Difference[] {
  return [
    ...hours.map(({ hour, model, actorUserId, told, counted }) => ({
      kind: 'rollup' as const,
      name: `${ownerId} ${hour.toISOString()} ${model} ${actorUserId ?? '-'}`,
      what: describeCounts(Object.keys(COUNTS) as (keyof Counts)[], told, counted),
    })),
    ...quotas.map(({ periodStart, told, counted }) => ({
      kind: 'quota' as const,
      name: `${ownerId} ${periodStart.toISOString()}`,
      what: describeCounts(QUOTA_COUNTS, told, counted),
    })),
    ...missingIds.map((eventId) => ({ kind: 'id' as const, name: `${ownerId} ${eventId}`, what: ['missing'] })),
    ...(ids.told === ids.counted ? [] : [{ kind: 'ids' as const, name: ownerId, what: [insteadOf(ids.told, ids.counted)] }]),
  ];
}

/** Nobody knows which events an id too many, or a sealed hour that was changed, is of. */
export function isRepairable({ kind }: Difference): boolean {
  return kind !== 'ids';
}

/** What has to be added to what is there. */
export function missingOf<Name extends string>(
  told: Record<Name, number> | undefined,
  counted: Record<Name, number>,
): Record<Name, number> {
  const names = Object.keys(counted) as Name[];
  return Object.fromEntries(names.map((name) => [name, counted[name] - (told?.[name] ?? 0)])) as Record<Name, number>;
}

function describeCounts<Name extends string>(
  names: readonly Name[],
  told: Record<Name, number> | undefined,
  counted: Record<Name, number>,
): string[] {
  const there = told ?? (Object.fromEntries(names.map((name) => [name, 0])) as Record<Name, number>);
  const list = differing(names, there, counted).map((name) => `${name} ${insteadOf(there[name], counted[name])}`);
  return told === undefined ? ['missing', ...list] : list;
}

function differing<Name extends string>(names: readonly Name[], told: Record<Name, number>, counted: Record<Name, number>): Name[] {
  return names.filter((name) => told[name] !== counted[name]);
}

function insteadOf(told: number, counted: number): string {
  return `${told} instead of ${counted}`;
}
