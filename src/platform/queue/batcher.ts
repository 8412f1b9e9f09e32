import { ServiceUnavailable } from '../problems/problems.errors.js';

interface PendingItem<T, R> {
  item: T;
  weight: number;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

interface BatcherOptions {
  /** Maximum weight of a batch. A heavier item gets a batch of its own. */
  maxBatch: number;
  maxPending: number;
  /** Waiting weight from which a second batch runs beside the first. Larger batches cost less each, so it is high. */
  secondBatchThreshold: number;
  /** Whether an error fails all items. After any other error each half is tried again, so that one item fails alone. */
  failsAll: (error: unknown) => boolean;
}

/** Collects the items that arrive while a batch runs and processes them together. Nothing waits for a timer. */
export class Batcher<T, R> {
  private pending: PendingItem<T, R>[] = [];
  private pendingWeight = 0;
  private running = 0;

  /** @param work returns one result for each item, in the order of the items */
  constructor(
    private readonly work: (items: T[]) => Promise<R[]>,
    private readonly options: BatcherOptions,
  ) {}

  /** @throws {ServiceUnavailable} while too much is pending */
  async add(item: T, weight = 1): Promise<R> {
    if (this.pendingWeight >= this.options.maxPending) throw new ServiceUnavailable({ headers: { 'retry-after': '1' } });
    this.pendingWeight += weight;
    return new Promise((resolve, reject) => {
      this.pending.push({ item, weight, resolve, reject });
      void this.drain();
    });
  }

  private async drain(): Promise<void> {
    if (!this.mayStart()) return;
    this.running += 1;
    // Items of the same turn of the event loop share a batch.
    await new Promise(setImmediate);
    while (this.pending.length > 0 && (this.running === 1 || this.needsSecondBatch())) await this.run(this.takeBatch());
    this.running -= 1;
  }

  private mayStart(): boolean {
    return this.running === 0 || (this.running === 1 && this.needsSecondBatch());
  }

  private needsSecondBatch(): boolean {
    return this.pendingWeight >= this.options.secondBatchThreshold;
  }

  private async run(batch: PendingItem<T, R>[]): Promise<void> {
    try {
      const results = await this.work(batch.map(({ item }) => item));
      for (const [index, { resolve }] of batch.entries()) resolve(results[index]!);
    } catch (error) {
      if (batch.length > 1 && !this.options.failsAll(error)) await this.runHalves(batch);
      else for (const { reject } of batch) reject(error);
    }
  }

  /** Halves, not single items: two thousand items would become as many transactions. */
  private async runHalves(batch: PendingItem<T, R>[]): Promise<void> {
    const half = Math.ceil(batch.length / 2);
    await this.run(batch.slice(0, half));
    await this.run(batch.slice(half));
  }

  private takeBatch(): PendingItem<T, R>[] {
    let weight = 0;
    let count = 0;
    for (const pending of this.pending) {
      if (count > 0 && weight + pending.weight > this.options.maxBatch) break;
      weight += pending.weight;
      count += 1;
    }
    this.pendingWeight -= weight;
    return this.pending.splice(0, count);
  }
}
