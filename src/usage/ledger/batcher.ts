import { ServiceUnavailable } from '../../platform/problems/problems.errors.js';

interface Waiting<T, R> {
  item: T;
  weight: number;
  resolve: (result: R) => void;
  reject: (error: unknown) => void;
}

/**
 * Does together what comes while other work is under way: the more there is, the larger the groups. What comes alone
 * waits for nobody.
 */
export class Batcher<T, R> {
  private waiting: Waiting<T, R>[] = [];
  private weight = 0;
  private atWork = 0;

  /**
   * @param work answers one result for each item, in their order
   * @param options.group how much weight is done together, at most; a heavier item is done alone
   * @param options.most how much weight may wait
   * @param options.beside how much weight has to wait for a second group to be done beside the first: less is done
   * in one go afterwards, for what a group costs itself
   * @param options.isShared whether a failure is everybody's; after any other one each half is tried, so that nobody
   * suffers from what one item cannot bear
   */
  constructor(
    private readonly work: (items: T[]) => Promise<R[]>,
    private readonly options: { group: number; maxPending: number; secondBatchThreshold: number; isShared: (error: unknown) => boolean },
  ) {}

  /** @throws {ServiceUnavailable} while too much waits */
  async add(item: T, weight = 1): Promise<R> {
    if (this.weight >= this.options.maxPending) throw new ServiceUnavailable({ headers: { 'retry-after': '1' } });
    this.weight += weight;
    return new Promise((resolve, reject) => {
      this.waiting.push({ item, weight, resolve, reject });
      void this.drain();
    });
  }

  private async drain(): Promise<void> {
    if (!this.mayBegin()) return;
    this.atWork += 1;
    // What arrived in the same turn of the event loop goes together.
    await new Promise(setImmediate);
    while (this.waiting.length > 0 && (this.atWork === 1 || this.isMuch())) await this.finish(this.takeGroup());
    this.atWork -= 1;
  }

  private mayBegin(): boolean {
    return this.atWork === 0 || (this.atWork === 1 && this.isMuch());
  }

  private isMuch(): boolean {
    return this.weight >= this.options.secondBatchThreshold;
  }

  private async finish(group: Waiting<T, R>[]): Promise<void> {
    try {
      const results = await this.work(group.map(({ item }) => item));
      for (const [index, { resolve }] of group.entries()) resolve(results[index]!);
    } catch (error) {
      if (group.length > 1 && !this.options.isShared(error)) await this.finishHalves(group);
      else for (const { reject } of group) reject(error);
    }
  }

  /** Not one by one: of two thousand, that would be as many transactions, and each would wait for a database that is gone. */
  private async finishHalves(group: Waiting<T, R>[]): Promise<void> {
    const half = Math.ceil(group.length / 2);
    await this.finish(group.slice(0, half));
    await this.finish(group.slice(half));
  }

  private takeGroup(): Waiting<T, R>[] {
    let weight = 0;
    let count = 0;
    for (const waiting of this.waiting) {
      if (count > 0 && weight + waiting.weight > this.options.group) break;
      weight += waiting.weight;
      count += 1;
    }
    this.weight -= weight;
    return this.waiting.splice(0, count);
  }
}
