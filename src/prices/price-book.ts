import type { Price, TokenClass } from './prices.table.js';

/** The four classes do not overlap. */
export interface TokenCounts {
  inputTokens: number;
  outputTokens: number;
  cachedInputTokens: number;
  reasoningTokens: number;
  /** Exceeds the sum of the classes if only a total is known. */
  tokensUsed: number;
}

/** Kept unrounded, so that a sum is rounded once. */
export interface Cost {
  /** Millionths of a micro-unit: tokens times the micro-units of a million of them. */
  exact: bigint;
  unpricedTokens: number;
}

const MILLION = 1_000_000n;

/** Half up. */
export function roundedMicros(exact: bigint): number {
  return Number((exact + MILLION / 2n) / MILLION);
}

export class PriceBook {
  private readonly histories: Map<string, Price[]>;
  private readonly prices: Price[];

  constructor(prices: Price[]) {
    this.prices = prices.toSorted((a, b) => a.effectiveFrom.getTime() - b.effectiveFrom.getTime());
    this.histories = Map.groupBy(this.prices, ({ model, tokenClass }) => historyKey(model, tokenClass));
  }

  get currency(): string | null {
    return this.prices[0]?.currency ?? null;
  }

  changesBetween(from: Date, to: Date): Date[] {
    const starts = new Set(this.prices.map(({ effectiveFrom }) => effectiveFrom.getTime()));
    return [...starts].filter((start) => start > from.getTime() && start < to.getTime()).map((start) => new Date(start));
  }

  costOf(model: string, counts: TokenCounts, at: Date): Cost {
    const cost: Cost = { exact: 0n, unpricedTokens: 0 };
    for (const [tokenClass, tokens] of classesOf(counts)) {
      if (tokens === 0) continue;
      const price = this.histories.get(historyKey(model, tokenClass))?.findLast(({ effectiveFrom }) => effectiveFrom <= at);
      if (price === undefined) cost.unpricedTokens += tokens;
      else cost.exact += BigInt(tokens) * BigInt(price.microsPerMillion);
    }
    return cost;
  }
}

function classesOf({ inputTokens, outputTokens, cachedInputTokens, reasoningTokens, tokensUsed }: TokenCounts): [TokenClass, number][] {
  return [
    ['input', inputTokens],
    ['output', outputTokens],
    ['cached_input', cachedInputTokens],
    ['reasoning', reasoningTokens],
    ['total', tokensUsed - inputTokens - outputTokens - cachedInputTokens - reasoningTokens],
  ];
}

function historyKey(model: string, tokenClass: TokenClass): string {
  return `${tokenClass} ${model}`;
}
