import { sweepInBatches } from './sweep.js';

describe('a sweep in batches', () => {
  const running = () => new AbortController().signal;

  /** So many rows to remove; keeps what each batch was asked for. */
  function table(rows: number): { remove: (limit: number) => Promise<number>; asked: number[] } {
    const asked: number[] = [];
    const remove = async (limit: number) => {
      asked.push(limit);
      const removed = Math.min(limit, rows);
      rows -= removed;
      return Promise.resolve(removed);
    };
    return { remove, asked };
  }

  it.each([
    [0, 1],
    [1, 1],
    [9, 1],
    [10, 2],
    [25, 3],
  ])('removes all of %i rows in %i batches of ten', async (rows, batches) => {
    const { remove, asked } = table(rows);
    expect(await sweepInBatches(running(), remove, 10)).toBe(rows);
    expect(asked).toEqual(Array<number>(batches).fill(10));
  });

  it('stops after the current batch when it is aborted, and returns the number of rows removed', async () => {
    const stop = new AbortController();
    const { remove, asked } = table(100);
    const removed = await sweepInBatches(
      stop.signal,
      (limit) => {
        if (asked.length === 2) stop.abort();
        return remove(limit);
      },
      10,
    );
    expect(removed).toBe(30);
    expect(await sweepInBatches(stop.signal, remove, 10)).toBe(0);
  });

  it('rethrows a failure', async () => {
    await expect(sweepInBatches(running(), () => Promise.reject(new Error('away')))).rejects.toThrow('away');
  });
});
