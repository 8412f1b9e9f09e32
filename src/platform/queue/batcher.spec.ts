import fc from 'fast-check';
import { ServiceUnavailable } from '../problems/problems.errors.js';
import { Batcher } from './batcher.js';

/** A batch function that waits for `goOn()`, batch by batch. */
class Bench {
  readonly groups: number[][] = [];
  private readonly underWay: (() => void)[] = [];

  readonly work = async (items: number[]) => {
    this.groups.push(items);
    await new Promise<void>((resolve) => this.underWay.push(resolve));
    return this.answer(items);
  };

  constructor(private readonly answer: (items: number[]) => number[] = (items) => items.map((item) => item * 10)) {}

  /** Ends the running batch and waits until the next one starts. */
  async goOn(): Promise<void> {
    this.underWay.shift()!();
    await turn();
    await turn();
  }
}

const turn = async () => new Promise(setImmediate);
const always = { maxBatch: 100, maxPending: 1000, secondBatchThreshold: 1000, failsAll: () => false };

class Bad extends Error {}

describe('the batcher', () => {
  it('batches the items that were added while it was busy, in order, and returns each its own result', async () => {
    const bench = new Bench();
    const groups = new Batcher(bench.work, always);
    const first = groups.add(1);
    await turn();
    const others = Promise.all([2, 3, 4].map(async (item) => groups.add(item)));
    await turn();
    expect(bench.groups).toEqual([[1]]);
    await bench.goOn();
    expect(await first).toBe(10);
    expect(bench.groups).toEqual([[1], [2, 3, 4]]);
    await bench.goOn();
    expect(await others).toEqual([20, 30, 40]);
  });

  it('keeps a batch within its weight limit, and runs a heavier item alone', async () => {
    const bench = new Bench();
    const groups = new Batcher(bench.work, { ...always, maxBatch: 10 });
    const all = [4, 6, 1, 50, 10, 1].map(async (weight) => groups.add(weight, weight));
    await turn();
    for (let group = 1; group < 5; group += 1) await bench.goOn();
    expect(bench.groups).toEqual([[4, 6], [1], [50], [10], [1]]);
    await bench.goOn();
    expect(await Promise.all(all)).toEqual([40, 60, 10, 500, 100, 10]);
  });

  it('runs two batches at a time while many items wait', async () => {
    const bench = new Bench();
    const groups = new Batcher(bench.work, { ...always, maxBatch: 10, secondBatchThreshold: 8 });
    const all = [groups.add(1)];
    await turn();
    all.push(groups.add(7, 7));
    await turn();
    expect(bench.groups).toEqual([[1]]);
    all.push(groups.add(2, 2), groups.add(10, 10));
    await turn();
    expect(bench.groups).toEqual([[1], [7, 2]]);
    for (let group = 2; group < 4; group += 1) await bench.goOn();
    await bench.goOn();
    expect(bench.groups).toEqual([[1], [7, 2], [10]]);
    expect(await Promise.all(all)).toEqual([10, 70, 20, 100]);
  });

  it('refuses items while too many are pending, and accepts them again afterwards', async () => {
    const bench = new Bench();
    const groups = new Batcher(bench.work, { ...always, maxPending: 5 });
    const taken = [groups.add(1, 3)];
    await turn();
    taken.push(groups.add(2, 4), groups.add(3, 4));
    await expect(groups.add(4)).rejects.toThrow(ServiceUnavailable);
    await bench.goOn();
    taken.push(groups.add(5));
    await bench.goOn();
    await bench.goOn();
    expect(await Promise.all(taken)).toEqual([10, 20, 30, 50]);
  });

  it('rejects only the item that makes a batch fail', async () => {
    const tried: number[][] = [];
    const groups = new Batcher<number, number>(async (items) => {
      tried.push(items);
      await turn();
      if (items.includes(2)) throw new Bad();
      return items;
    }, always);
    expect(await Promise.allSettled([1, 2, 3].map(async (item) => groups.add(item)))).toEqual([
      { status: 'fulfilled', value: 1 },
      { status: 'rejected', reason: expect.any(Bad) },
      { status: 'fulfilled', value: 3 },
    ]);
    expect(tried).toEqual([[1, 2, 3], [1, 2], [1], [2], [3]]);
  });

  it('rejects the whole batch after a shared failure, and recovers when it is over', async () => {
    let isAway = true;
    let tries = 0;
    const groups = new Batcher<number, number>(
      async (items) => {
        tries += 1;
        await turn();
        if (isAway) throw new Bad();
        return items;
      },
      { ...always, failsAll: (error) => error instanceof Bad },
    );
    const settled = await Promise.allSettled([1, 2, 3].map(async (item) => groups.add(item)));
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
    expect(tries).toBe(1);
    isAway = false;
    expect(await groups.add(4)).toBe(4);
  });

  it('does not retry a thousand items when a shared failure starts meanwhile', async () => {
    class Away extends Error {}
    let tries = 0;
    const groups = new Batcher<number, number>(
      async () => {
        tries += 1;
        await turn();
        throw tries === 1 ? new Bad() : new Away();
      },
      { ...always, maxBatch: 1000, failsAll: (error) => error instanceof Away },
    );
    const settled = await Promise.allSettled(Array.from({ length: 1000 }, async (_, item) => groups.add(item)));
    expect(settled.every((one) => one.status === 'rejected' && one.reason instanceof Away)).toBe(true);
    expect(tries).toBe(3);
  });

  it('settles every item exactly once with its own result, whatever the order and the failures', async () => {
    const item = fc.record({ isBad: fc.boolean(), weight: fc.integer({ min: 1, max: 12 }), turnsBefore: fc.integer({ min: 0, max: 3 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(item, { maxLength: 40 }), async (items) => {
        const done: number[] = [];
        const groups = new Batcher<number, number>(
          async (group) => {
            await turn();
            if (group.some((index) => items[index]!.isBad)) throw new Bad();
            done.push(...group);
            return group.map((index) => index * 10);
          },
          { ...always, maxBatch: 10 },
        );
        const answers: Promise<number>[] = [];
        for (const [index, { weight, turnsBefore }] of items.entries()) {
          for (let count = 0; count < turnsBefore; count += 1) await turn();
          answers.push(groups.add(index, weight));
        }
        const settled = await Promise.allSettled(answers);
        expect(settled.map((one) => (one.status === 'fulfilled' ? one.value : 'bad'))).toEqual(
          items.map(({ isBad }, index) => (isBad ? 'bad' : index * 10)),
        );
        expect(done).toEqual(items.flatMap(({ isBad }, index) => (isBad ? [] : [index])));
      }),
    );
  });
});
