import { type PriceBook, roundedMicros, type TokenCounts } from '../../prices/prices.service.js';
import type { Bucket } from './calendar.js';

/** What was used, together. */
export interface UsageSums extends TokenCounts {
  events: number;
  /** Of the tokens: what no hold had reserved. */
  overrun: number;
}

/** Sums of a part of the time in which no bucket begins and no price changes. */
export interface UsagePart extends UsageSums {
  segment: number;
  /** Null where the models are summed up. */
  model: string | null;
  /** Null where the users are summed up, and for what nobody caused. */
  userId: string | null;
}

export interface UsageCost {
  /** In millionths of the currency's unit. */
  micros: number;
  /** Null where nothing has a price. */
  currency: string | null;
  unpricedTokens: number;
}

export interface UsageGroup extends UsageSums {
  /** The calendar's, the model, or the user; null for what no user caused. */
  key: string | null;
  start: Date | null;
  end: Date | null;
  cost?: UsageCost;
}

export type UsageTotal = Omit<UsageGroup, 'key' | 'start' | 'end'>;

const NOTHING: UsageSums = {
  events: 0,
  inputTokens: 0,
  outputTokens: 0,
  cachedInputTokens: 0,
  reasoningTokens: 0,
  tokensUsed: 0,
  overrun: 0,
};

const NAMES = Object.keys(NOTHING) as (keyof UsageSums)[];

/** Adds parts up. What they cost is rounded once, at the end. */
class Tally {
  private readonly sums = { ...NOTHING };
  private exact = 0n;
  private unpricedTokens = 0;

  constructor(private readonly book: PriceBook | undefined) {}

  add(part: UsagePart, at: Date): void {
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

/** A stretch of time in which no bucket begins and no price changes. */
export interface Segment {
  start: Date;
  /** The key of the bucket that it is in. */
  bucket: string | null;
}

/** Cuts at the starts of the buckets and where prices change. */
export function segmentsOf(buckets: Pick<Bucket, 'key' | 'start'>[], changes: Date[]): Segment[] {
  const starts = [...new Set([...buckets.map(({ start }) => start), ...changes].map((start) => start.getTime()))].sort((a, b) => a - b);
  let next = 0;
  return starts.map((start) => {
    if (buckets[next]?.start.getTime() === start) next += 1;
    return { start: new Date(start), bucket: buckets[next - 1]!.key };
  });
}

/** How parts become groups. */
export interface Grouping {
  segments: Segment[];
  keyOf: (part: UsagePart) => string | null;
  /** Adds what everything cost; parts are then of one model each. */
  book?: PriceBook;
}

/** What was used under each key, and altogether. */
export function addUp(
  parts: UsagePart[],
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

/** All buckets in their order, also those in which nothing was used. */
export function groupsOfTime(buckets: Bucket[], byKey: Map<string | null, UsageTotal>, nothing: UsageTotal): UsageGroup[] {
  return buckets.map((bucket) => ({ ...bucket, ...(byKey.get(bucket.key) ?? nothing) }));
}

/** Those with most tokens first. */
export function groupsOfKeys(byKey: Map<string | null, UsageTotal>): UsageGroup[] {
  const groups = [...byKey].map(([key, total]) => ({ key, start: null, end: null, ...total }));
  return groups.sort((a, b) => b.tokensUsed - a.tokensUsed || compare(a.key, b.key));
}

/** By code units, which are the same everywhere; nobody comes last. */
function compare(a: string | null, b: string | null): number {
  if (a === b) return 0;
  return b === null || (a !== null && a < b) ? -1 : 1;
}
