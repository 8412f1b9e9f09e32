import { Inject, Injectable, Logger } from '@nestjs/common';
import { DATABASE, type Database } from '../platform/database/database.js';
import { isRetryable } from '../platform/database/database-errors.js';
import type {
  Comparison,
  Difference,
  Finding,
  Reconciliation,
  ReconciliationOptions,
  ReconciliationSource,
  ReconciliationSummary,
} from './reconciliation.port.js';

/** An event can change the row between a comparison and its repair. */
const MAX_REPAIRS = 3;
/** Up to this many removals are plausible, however few rows we have. */
const FEW = 10;

/**
 * Compares, looks again at what seems to differ, repairs it, and reports it (README.md). Clerk, the billing providers
 * and the usage ledger are its sources.
 */
@Injectable()
export class Reconciler {
  private readonly logger = new Logger(Reconciler.name);

  constructor(@Inject(DATABASE) private readonly db: Database) {}

  async reconcile(sources: ReconciliationSource[], options: ReconciliationOptions = {}): Promise<ReconciliationSummary> {
    const summary: ReconciliationSummary = { found: 0, repaired: 0, counts: new Map() };
    const failures: unknown[] = [];
    for (const source of sources) {
      try {
        for await (const compare of source.comparisons(options)) await this.settle(compare, options, summary);
        source.onComplete?.(summary.counts);
      } catch (error) {
        options.signal?.throwIfAborted();
        // The other sources may be available.
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(String).join('; '));
    return summary;
  }

  /** The nightly job: repairs what differs. Returns the number of differences, also if it is stopped. */
  async runNightly(reconciliation: Reconciliation, signal: AbortSignal): Promise<number> {
    const summary: ReconciliationSummary = { found: 0, repaired: 0, counts: new Map() };
    const onDifference = (difference: Difference) => count(difference, summary);
    try {
      await reconciliation.reconcile({ fix: true, resume: true, signal, onDifference });
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      const { found, repaired, counts } = summary;
      if (found > 0)
        this.logger.warn({ counts: Object.fromEntries(counts) }, `${found} rows differed from their source; ${repaired} were repaired`);
    }
    return summary.found;
  }

  private async settle(compare: Comparison, options: ReconciliationOptions, summary: ReconciliationSummary): Promise<void> {
    const found = await compare(options.signal);
    const left = new Set((options.fix === true ? await this.repairAll(found, compare, options.signal) : found).map(nameOf));
    for (const { repair: _, ...finding } of found) {
      const difference = { ...finding, isRepaired: !left.has(nameOf(finding)) };
      count(difference, summary);
      options.onDifference?.(difference);
    }
  }

  /** Returns the findings that are left. */
  private async repairAll(found: Finding[], compare: Comparison, signal?: AbortSignal): Promise<Finding[]> {
    let left = found;
    for (let tries = 0; tries < MAX_REPAIRS && left.some(({ repair }) => repair !== undefined); tries += 1) {
      await this.repair(left);
      left = await compare(signal);
    }
    return left;
  }

  private async repair(findings: Finding[]): Promise<void> {
    // Findings of one comparison may share a repair.
    for (const repair of new Set(findings.flatMap((finding) => finding.repair ?? []))) {
      try {
        await this.db.transaction(repair);
      } catch (error) {
        // Another transaction was first: both sides are compared again.
        if (!isRetryable(error)) throw error;
      }
    }
  }
}

/** Whether so many removals suggest that the source is the wrong one. */
export function wouldRemoveMost(removed: number, total: number): boolean {
  return removed > FEW && removed > total / 2;
}

function nameOf({ resource, id }: Pick<Finding, 'resource' | 'id'>): string {
  return `${resource} ${id}`;
}

function count({ kind, resource, isRepaired }: Difference, summary: ReconciliationSummary): void {
  const counts = summary.counts.get(`${kind} ${resource}`) ?? { found: 0, repaired: 0 };
  summary.counts.set(`${kind} ${resource}`, counts);
  for (const sum of [summary, counts]) {
    sum.found += 1;
    if (isRepaired) sum.repaired += 1;
  }
}
