import type { Queryable } from '../platform/database/database.js';

/** How one thing of ours differs from its source. */
export interface Finding {
  /** Only the source has it; both have it, with other values; only we have it. */
  kind: 'missing' | 'stale' | 'extra';
  resource: string;
  /** Mostly the id at the source. */
  id: string;
  /** The fields that differ, and why they cannot be repaired. */
  details: string[];
  /** Writes only if the row has not changed since the comparison. Absent if a repair is not possible. */
  repair?: (tx: Queryable) => Promise<unknown>;
}

export interface Difference extends Omit<Finding, 'repair'> {
  isRepaired: boolean;
}

export interface ReconciliationOptions {
  fix?: boolean;
  /** Repairs even if that would remove most of our rows. */
  force?: boolean;
  /** The name of one provider, or the id of one owner. */
  only?: string;
  /** Continues an interrupted run, where the source can. */
  resume?: boolean;
  signal?: AbortSignal;
  onDifference?: (difference: Difference) => void;
}

export interface ReconciliationSummary {
  found: number;
  repaired: number;
  /** By kind and resource, such as `missing user`. */
  counts: Map<string, { found: number; repaired: number }>;
}

export interface Reconciliation {
  /** Throws the error of a source that is unavailable; finished repairs stay. @throws {CannotReconcile} */
  reconcile(options?: ReconciliationOptions): Promise<ReconciliationSummary>;
}

/** Reads something on both sides again, and returns how it differs now. Ours first: the other side is then newer. */
export type Comparison = (signal?: AbortSignal) => Promise<Finding[]>;

/** What our rows follow, such as the API of a provider. */
export interface ReconciliationSource {
  /** Everything that may differ. Each comparison is finished and repaired before the next one is requested. */
  comparisons(options: ReconciliationOptions): AsyncIterable<Comparison>;
  /** Called after a complete run. */
  onComplete?(counts: ReconciliationSummary['counts']): void;
}

/** Why nothing was compared, or nothing was repaired: a sentence for the operator. */
export class CannotReconcile extends Error {}

export class SourceNotConfigured extends CannotReconcile {}
