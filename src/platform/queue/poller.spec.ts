import { jest } from '@jest/globals';
import { Poller } from './poller.js';

const FOR_EVER_MS = 2 ** 30;

/** A round of work that the test lets go on by hand. */
function rounds(pauseMs = FOR_EVER_MS) {
  const begun: ((more: boolean | Error) => void)[] = [];
  const waiting: (() => void)[] = [];
  const errors: unknown[] = [];
  const poller = new Poller(
    () =>
      new Promise<boolean>((resolve, reject) => {
        begun.push((more) => (more instanceof Error ? reject(more) : resolve(more)));
        waiting.shift()?.();
      }),
    { pauseMs, onError: (error) => errors.push(error) },
  );
  return {
    poller,
    errors,
    count: () => begun.length,
    /** Ends the newest round. */
    end: (more: boolean | Error) => begun.at(-1)!(more),
    next: () => new Promise<void>((resolve) => waiting.push(resolve)),
    settle: () => new Promise((resolve) => setImmediate(resolve)),
  };
}

describe('a poller', () => {
  it('continues at once while there is work, and pauses when there is none', async () => {
    const { poller, count, end, next, settle } = rounds();
    poller.start();
    expect(count()).toBe(1);
    const second = next();
    end(true);
    await second;
    end(false);
    await settle();
    expect(count()).toBe(2);
    const third = next();
    poller.wake();
    await third;
    end(false);
    await poller.stop();
    expect(count()).toBe(3);
  });

  it('polls again after the pause', async () => {
    const { poller, count, end, next } = rounds(1);
    poller.start();
    const second = next();
    end(false);
    await second;
    expect(count()).toBe(2);
    end(false);
    await poller.stop();
  });

  describe('of an empty queue', () => {
    beforeEach(() => jest.useFakeTimers({ doNotFake: ['setImmediate'] }));
    afterEach(() => jest.useRealTimers());

    /** The pauses before the next rounds, all of which find nothing. */
    async function pauses({ count, end, settle }: ReturnType<typeof rounds>, wanted: number): Promise<number[]> {
      const lengths: number[] = [];
      for (let index = 0; index < wanted; index += 1) {
        end(false);
        await settle();
        const before = count();
        let waited = 0;
        for (; count() === before; waited += 50) await jest.advanceTimersByTimeAsync(50);
        lengths.push(waited);
      }
      return lengths;
    }

    it('pauses longer and longer, up to four times the first pause', async () => {
      const running = rounds(100);
      running.poller.start();
      expect(await pauses(running, 5)).toEqual([100, 200, 400, 400, 400]);
      running.end(false);
      await running.poller.stop();
    });

    it('pauses briefly again after work, and after a wake-up', async () => {
      const running = rounds(100);
      running.poller.start();
      await pauses(running, 4);
      running.end(true);
      await running.settle();
      expect(await pauses(running, 3)).toEqual([100, 200, 400]);
      running.end(false);
      await running.settle();
      running.poller.wake();
      await running.settle();
      expect(await pauses(running, 2)).toEqual([100, 200]);
      running.end(false);
      await running.poller.stop();
    });
  });

  it('does not miss a wake-up that arrives during a round', async () => {
    const { poller, count, end, next } = rounds();
    poller.start();
    poller.wake();
    const second = next();
    end(false);
    await second;
    expect(count()).toBe(2);
    end(false);
    await poller.stop();
  });

  it('reports a failed round and pauses before the next', async () => {
    const { poller, errors, count, end, next, settle } = rounds();
    poller.start();
    end(new Error('away'));
    await settle();
    expect(errors).toEqual([new Error('away')]);
    expect(count()).toBe(1);
    const second = next();
    poller.wake();
    await second;
    end(false);
    await poller.stop();
  });

  it('waits for the running round when it stops, and starts no other', async () => {
    const { poller, count, end, settle } = rounds();
    poller.start();
    poller.start();
    let stopped = false;
    const stopping = poller.stop().then(() => (stopped = true));
    await settle();
    expect(stopped).toBe(false);
    end(true);
    await stopping;
    poller.start();
    await settle();
    expect(count()).toBe(1);
  });

  it('can be stopped without ever having been started', async () => {
    const { poller, count } = rounds();
    await poller.stop();
    expect(count()).toBe(0);
  });
});
