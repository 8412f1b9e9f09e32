import { type PriceBook, roundedMicros, type TokenCounts } from '../../prices/prices.service.js';
import type { Bucket } from './calendar.js';

export interface UsageSums extends TokenCounts {
  events: number;
  /** The part of the tokens that no hold had reserved. */
  overrun: number;
}

/** Sums of a segment, for a model and a user if they are separated. */
export interface UsageSlice extends UsageSums {
  segment: number;
  /** Null if models are summed up. */
  model: string | null;
  /** Null if users are summed up, or for usage without a user. */
  userId: string | null;
}

export interface UsageCost {
  /** Millionths of the currency's unit. */
  micros: number;
  /** Null if nothing has a price. */
  currency: string | null;
  unpricedTokens: number;
}

export interface UsageGroup extends UsageSums {
  /** The bucket's key, the model or the user; null for usage without a user. */
  key: string | null;
  start: Date | null;
  end: Date | null;
  cost?: UsageCost;
}

export type UsageTotal = Omit<UsageGroup, 'key' | 'start' | 'end'>;

const ZERO_SUMS: UsageSums = {
  events: 0,
  inputTokens: 0,
  outputTokens: 0,
  cachedInputTokens: 0,
  reasoningTokens: 0,
  tokensUsed: 0,
  overrun: 0,
};

const NAMES = Object.keys(ZERO_SUMS) as (keyof UsageSums)[];

/** Adds slices up. Costs are rounded once, at the end. */
class Tally {
  private readonly sums = { ...ZERO_SUMS };
  private exact = 0n;
  private unpricedTokens = 0;

  constructor(private readonly book: PriceBook | undefined) {}

  add(part: UsageSlice, at: Date): void {
    for (const name of NAMES) this.sums[name] += part[name];
    const cost = part.model === null ? undefined : this.book?.costOf(part.model, part, at);
    this.exact += cost?.exact ?? 0n;
    this.unpricedTokens += cost?.unpricedTokens ?? 0;
  }

  get total(): UsageTotal {
    if (this.book === undefined) return { ...this.sums };
    const cost = { micros: roundedMicros(this.exact), currency: this.book.currency, unpricedTokens: this.unpricedTokens };
    return { ...this.sums, cost };
  }
}

/** A time span without a bucket boundary or a price change. */
export interface Segment {
  start: Date;
  /** The key of its bucket. */
  bucket: string | null;
}

export function segmentsOf(buckets: Pick<Bucket, 'key' | 'start'>[], changes: Date[]): Segment[] {
  const starts = [...new Set([...buckets.map(({ start }) => start), ...changes].map((start) => start.getTime()))].sort((a, b) => a - b);
  let next = 0;
  return starts.map((start) => {
    if (buckets[next]?.start.getTime() === start) next += 1;
    return { start: new Date(start), bucket: buckets[next - 1]!.key };
  });
}

export interface Grouping {
  segments: Segment[];
  keyOf: (part: UsageSlice) => string | null;
  /** Adds costs. Each slice must then have a model. */
  book?: PriceBook;
}

export function sumGroups(
  parts: UsageSlice[],
  { segments, keyOf, book }: Grouping,
): { byKey: Map<string | null, UsageTotal>; total: UsageTotal } {
  const total = new Tally(book);
  const tallies = new Map<string | null, Tally>();
  for (const part of parts) {
    const tally = tallies.get(keyOf(part)) ?? new Tally(book);
    tallies.set(keyOf(part), tally);
    for (const one of [tally, total]) one.add(part, segments[part.segment]!.start);
  }
  return { byKey: new Map([...tallies].map(([key, tally]) => [key, tally.total])), total: total.total };
}

/** Includes buckets without usage. */
export function calendarGroups(buckets: Bucket[], byKey: Map<string | null, UsageTotal>, nothing: UsageTotal): UsageGroup[] {
  return buckets.map((bucket) => ({ ...bucket, ...(byKey.get(bucket.key) ?? nothing) }));
}

/** Sorted by tokens, descending. */
export function keyedGroups(byKey: Map<string | null, UsageTotal>): UsageGroup[] {
  const groups = [...byKey].map(([key, total]) => ({ key, start: null, end: null, ...total }));
  return groups.sort((a, b) => b.tokensUsed - a.tokensUsed || compare(a.key, b.key));
}

/** By code units, independent of the locale. Null comes last. */
function compare(a: string | null, b: string | null): number {
  if (a === b) return 0;
  return b === null || (a !== null && a < b) ? -1 : 1;
}
